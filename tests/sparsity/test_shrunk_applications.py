"""Networks that people have, shrunk: exact for random zeros. By name: -m slow."""

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.sparsity import apply_selection, random_selection, select_by_norms, shrink_model
from tests.applications import make_nontrivial
from tests.conftest import to_numpy
from tests.sparsity.zeros import check_shrink, set_zero

NAMES = ("ResNet50", "MobileNetV2", "VGG16")


def build(name):
    model = sn.models.build(name, 12, (64, 64, 3))
    make_nontrivial(model, np.random.default_rng(0))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_half_of_the_channels(name):
    model = build(name)
    selection = random_selection(model, keep=0.5, seed=1)
    apply_selection(model, selection)
    shrunk = check_shrink(model)
    assert shrunk.changes.left == ()
    for space in selection.spaces:
        assert shrunk.selection.space(space.name).indices == space.indices
    assert shrunk.changes.total("multiply_adds", True) < (
        0.6 * shrunk.changes.total("multiply_adds", False)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_zeros_of_all_kinds(name):
    """Filters whose bias and norm stay, positions of windows, whole branches."""
    model, rng = build(name), np.random.default_rng(2)
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Conv2D):
            continue
        kernel = to_numpy(layer.kernel).copy()
        kernel[..., rng.random(kernel.shape[-1]) < 0.3] = 0
        if kernel.shape[0] == 3 and rng.random() < 0.3:
            kernel[0] = 0
        layer.kernel.assign(kernel)
    gone = select_by_norms(model, "depth", keep=0.7).layers if name != "VGG16" else ()
    for layer in gone:
        set_zero(model.get_layer(layer).kernel, ...)
    shrunk = check_shrink(model)
    stuck = any("padded with zeros" in sentence for sentence in shrunk.changes.left)
    assert set(gone) <= set(shrunk.selection.layers) or stuck
    freed = shrunk.changes.total("weights", False) - shrunk.changes.total("weights", True)
    assert freed > 0


@pytest.mark.slow
def test_blocks_of_a_resnet_go():
    model = build("ResNet50")
    blocks = ("conv2_block2", "conv3_block1", "conv4_block5")
    for block in blocks:
        set_zero(model.get_layer(f"{block}_3_conv").kernel, ...)
    shrunk = check_shrink(model)
    names = {layer.name for layer in shrunk.model.layers}
    for block in blocks:
        assert not {f"{block}_{i}_conv" for i in (1, 2, 3)} & names
    assert "conv3_block1_0_conv" in names  # the projection stays
    assert shrink_model(shrunk.model).model.count_params() == shrunk.model.count_params()
