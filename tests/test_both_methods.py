"""One method after the other: shrunk first, then split, exactly."""

import pytest

import splitnet_tf as sn
from splitnet_tf.sparsity import random_selection, shrink_model
from tests.sparsity.zeros import difference, set_zero, settle
from tests.splitting.test_split_model import check_split


@pytest.mark.parametrize(
    "build, sections",
    [
        (lambda: sn.models.lenet(6, filters=(6, 8), hidden=12), [("fc1", 2), ("logits", 2)]),
        (lambda: sn.models.wide_resnet(10, 1, 6, (8, 8, 3)), [("unit_3_0", 2), ("logits", 3)]),
        (
            lambda: sn.models.resnet_cifar(14, 0.5, 6, (8, 8, 3), shortcut="projection"),
            [("unit_3_0", 2), ("logits", 2)],
        ),
    ],
)
def test_what_was_shrunk_is_split(build, sections):
    model = settle(build(), 1)
    selection = random_selection(model, keep=0.7, seed=2)
    sn.apply_selection(model, selection)
    for name in ("unit_1_0_conv_2", "unit_3_1_conv_2"):  # a dead branch leaves its offset
        if name in {layer.name for layer in model.layers}:
            set_zero(model.get_layer(name).kernel, ...)
    small = shrink_model(model).model
    assert small.count_params() < model.count_params()
    assert difference(model, small) <= 1e-5
    check_split(small, sections, seed=3)
