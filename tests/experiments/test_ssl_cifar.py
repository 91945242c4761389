"""Rows of structured sparsity on CIFAR-10: blocks that go, and the tables."""

import dataclasses

import keras
import numpy as np
import pytest

from experiments.ssl_cifar import cifar_section
from experiments.ssl_rows import BY_NAME, Phases
from experiments.ssl_run import run_row
from experiments.ssl_selection import at_most, block_norms, random_blocks
from splitnet_tf import models
from splitnet_tf.data import Dataset, Split
from splitnet_tf.graph import plain_copy
from splitnet_tf.recipe import Phase
from splitnet_tf.sparsity import apply_selection, read_selection, shrink_model
from splitnet_tf.storage.models import load_model
from tests.conftest import to_numpy
from tests.sparsity.zeros import settle

BLOCKS = ["unit_1_0", "unit_2_0", "unit_3_0"]


@pytest.fixture(scope="module")
def net():
    return settle(models.resnet_cifar(8, width=0.25, input_shape=(8, 8, 3)), 1)


def kernels(model):
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def test_the_blocks_of_the_largest_norms_are_kept(net):
    norms = {
        block: min(
            np.linalg.norm(to_numpy(net.get_layer(f"{block}_conv_{k}").kernel)) for k in (1, 2)
        )
        for block in BLOCKS
    }
    assert block_norms(net) == pytest.approx(norms, rel=1e-5)
    selection = at_most(net, read_selection(net), {"blocks": 1})
    zeros = plain_copy(net)
    apply_selection(zeros, selection)
    small = shrink_model(zeros, selection).model
    best = max(norms, key=norms.get)
    assert kernels(small) == ["init_conv", f"{best}_conv_1", f"{best}_conv_2"]
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(to_numpy(zeros(x)), to_numpy(small(x)), atol=1e-5)


def test_a_block_without_one_of_its_convolutions_goes_as_a_whole(net):
    model = plain_copy(net)
    kernel = model.get_layer("unit_3_0_conv_1").kernel
    kernel.assign(np.zeros(kernel.shape))
    selection = at_most(model, read_selection(model), {"blocks": 3})
    assert set(selection.layers) == {"unit_3_0_conv_1", "unit_3_0_conv_2"}
    assert at_most(net, read_selection(net), {"blocks": 3}) == read_selection(net)


def test_random_blocks_are_a_function_of_the_seed(net):
    found = [random_blocks(net, 2, seed) for seed in range(8)]
    assert found == [random_blocks(net, 2, seed) for seed in range(8)]
    gone = {selection.layers for selection in found}
    assert gone == {(f"{block}_conv_1", f"{block}_conv_2") for block in BLOCKS}


def made(row, seed, error, units, **more):
    more = {"error_shrunk": error + 2, "error_narrow": error + 1} | more
    return {"row": row, "seed": seed, "error": error, "units": units, "minutes": 3.0} | more


def cells(text, start):
    (line,) = [x for x in text.splitlines() if x.startswith(f"| {start} |")]
    return [c.strip() for c in line.strip("|").split("|")]


def test_errors_stand_beside_the_baseline_of_the_same_seed():
    whole = {"conv1": [75, 32], "conv2": [800, 32], "conv3": [800, 64], "logits": [1024, 10]}
    small = {"conv1": [75, 16], "conv2": [326, 23], "conv3": [519, 63], "logits": [1008, 10]}
    deep = {f"unit_{s}_{i}_conv_{k}": [9, 9] for s, i in [(1, 0), (1, 1), (3, 2)] for k in (1, 2)}
    text = "\n".join(
        cifar_section(
            [
                *(made("convnet-1", s, e, whole, whole=100.0) for s, e in ((0, 25.0), (1, 26.0))),
                *(made("convnet-2", s, e, small, whole=40.0) for s, e in ((0, 24.5), (1, 25.0))),
                made("convnet-3", 2, 24.0, whole, whole=60.0),
                made("resnet-20", 0, 12.0, {}, whole=100.0),
                made(
                    "resnet-14",
                    0,
                    12.5,
                    deep,
                    whole=50.0,
                    error_random=14.0,
                    layers_zero=["a", "b"],
                ),
            ]
        )
    )
    found = cells(text, "convnet-2")
    assert found[1:4] == ["2", "24.75 ± 0.35", "-0.75 ± 0.35"]
    assert found[5:7] == ["50.0-28.1-1.6", "0-59.2-35.1"]
    assert cells(text, "convnet-3")[3] == "-" and cells(text, "convnet-1")[3] == "-"
    found = cells(text, "resnet-14")
    assert found[2:4] == ["12.50", "+0.50"] and found[5:8] == ["6", "1", "2-0-1"]
    assert found[9:11] == ["14.00", "13.50"] and found[12:14] == ["8.54", "-0.28"]
    assert "baseline than the paper's: resnet-14 (+0.50 against -0.28)." in text
    assert cifar_section([made("lenet-1", 0, 1.0, {})]) == []


@pytest.mark.slow
def test_a_row_loses_blocks_and_has_controls(tmp_path):
    rng = np.random.default_rng(0)
    splits = (
        Split(rng.integers(0, 256, (n, 8, 8, 3), np.uint8), rng.integers(0, 4, n))
        for n in (32, 8, 8)
    )
    data = Dataset("small pictures", *splits, ("a", "b", "c", "d"))
    short = Phase(1, 0.1, final_rate=0.1)
    strengths = {f"{block}_conv_{k}": 0.5 for block in BLOCKS for k in (1, 2)}
    row = dataclasses.replace(
        BY_NAME["resnet-14"],
        model="resnet-8",
        strengths={"layers": strengths},
        most={"blocks": 1},
        batch_size=8,
        controls=("random", "narrow"),
        phases=Phases(short, short, Phase(1, 0.1)),
    )
    found = run_row(row, 0, data, tmp_path)
    (folder,) = tmp_path.glob("resnet-14-seed0-*")
    for path in ("small/small.keras", "random/small.keras", "narrow/model.keras"):
        assert len(kernels(load_model(folder / path))) == 3
    assert len(found["units"]) == 4 and {"error_random", "error_narrow"} <= set(found)
    assert found["phases"]["plain"] == [1, 0.1, 5e-4, {"final_rate": 0.1}]
