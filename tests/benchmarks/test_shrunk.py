"""Times of a shrunk network: sizes of its products against kernels, speeds against times."""

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.benchmarks.shrunk import LayerTiming, measure_shrunk
from splitnet_tf.errors import PlanError
from splitnet_tf.parallel import Timing
from splitnet_tf.sparsity import random_selection, shrink_model
from tests.sparsity.zeros import settle

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the benchmark is TensorFlow's"
)


def test_each_layer_and_the_network_are_timed():
    whole = settle(sn.models.lenet(4, (20, 20, 1), filters=(4, 6), hidden=8), 1)
    selection = random_selection(whole, keep=0.5, seed=2)
    zeros = sn.plain_copy(whole)
    sn.apply_selection(zeros, selection)
    single = sn.plain_copy(whole)
    kernel = np.array(single.get_layer("conv2").kernel)
    kernel[..., ::2, :] = 0  # two channels of four
    single.get_layer("conv2").kernel.assign(kernel)
    found = measure_shrunk(whole, shrink_model(zeros).model, single, batches=(2,), repeats=3)
    names = ["conv1", "conv2", "fc1", "logits", "network"]
    assert [layer.layer for layer in found.layers] == names
    conv1, conv2, fc1, _, network = found.layers
    assert conv1.before == (4, 25, 2 * 16 * 16) and conv1.after == (2, 25, 2 * 16 * 16)
    assert conv2.before == (6, 100, 2 * 4 * 4) and conv2.after == (3, 50, 2 * 4 * 4)
    assert fc1.before == (8, 24, 2) and fc1.after == (4, 12, 2)
    assert conv2.share == 0.25 and conv2.left == 0.5 and conv1.left == 1.0
    for layer in (conv1, conv2, fc1):
        assert set(layer.timings) == {"whole", "shrunk", "l1"} and layer.speed("l1") > 0
    assert set(network.timings) == {"whole", "shrunk"} and network.speed("l1") is None
    assert "6x100x32" in str(found) and found.to_document()["layers"][1]["share"] == 0.25


def test_speed_is_the_median_ratio():
    times = {"whole": Timing((4.0, 6.0, 8.0)), "shrunk": Timing((1.0, 3.0, 2.0))}
    assert LayerTiming("fc1", 1, (1, 2, 3), (1, 1, 3), 0.5, times).speed("shrunk") == 4.0


def test_another_network_is_refused():
    other = sn.models.convnet()
    with pytest.raises(PlanError, match="has a layer 'conv3' that model 'lenet' lacks"):
        measure_shrunk(sn.models.lenet(), other)
