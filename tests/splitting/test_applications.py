"""Promise 2 for networks that people have; all of keras.applications: ``make applications``."""

import numpy as np
import pytest

import splitnet_tf as sn
from tests.applications import apart, make_nontrivial

CUTS = {
    "ResNet50": [
        [("conv5_block1", 3)],
        [("conv3_block1", 2), ("conv4_block3", 3), ("predictions", 4)],
    ],
    "VGG16": [[("block5_conv2", 2)], [("block4", 2), ("fc1", 3), ("predictions", 4)]],
    "MobileNetV2": [[("block_15", 4)], [("block_6", 2), ("block_12", 3), ("Conv_1", 4)]],
}


@pytest.mark.parametrize(
    "name",
    ["ResNet50", *(pytest.param(n, marks=pytest.mark.slow) for n in ("VGG16", "MobileNetV2"))],
)
def test_networks_of_keras_split_exactly(name):
    rng = np.random.default_rng(0)
    model = sn.models.build(name, 12, (64, 64, 3))
    make_nontrivial(model, rng)
    for sections in CUTS[name]:
        assert apart(model, sections, rng) <= 1e-5
