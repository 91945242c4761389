"""Small models of the kinds that people bring to pruning tools: split exactly, or refused.

Each goes through suggest, plan, group, start, read, split and a ``.keras`` file, at its lowest and
its highest cut (those of ``models_reported`` at the lowest alone), in uneven random groups. Beside
each: its lowest cut, or the sentence that refuses it.
"""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from tests.conftest import random_grouping, scramble, to_numpy
from tests.masked import masked_outputs
from tests.splitting import models_of_users, models_reported

EXACT = models_of_users.EXACT | models_reported.EXACT
REFUSED = models_of_users.REFUSED | models_reported.REFUSED


def feeds(model):
    """Three examples of each input, in the model's structure."""
    rng = np.random.default_rng(1)

    def feed(x):
        shape = (3, *(d or 8 for d in x.shape[1:]))
        return rng.integers(0, 4, shape) if "int" in x.dtype else rng.normal(size=shape)

    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(lambda x: feed(x).astype(x.dtype), inputs)


def check_equal(found, wanted, tolerance):
    pairs = zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=True)
    for a, b in pairs:
        a, b = to_numpy(a), to_numpy(b)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


def cut_trees(name):
    """Yields, for the lowest and highest cut, the model, what it must answer and the tree."""
    make, lowest = EXACT[name]
    model = scramble(make())
    starts = [cut.start for cut in sn.suggest_cuts(model, input_size=8).cuts]
    assert starts[0] == lowest
    x, rng = feeds(model), np.random.default_rng(len(name))
    for start in dict.fromkeys((starts[0], starts[-1])):
        grouped = sn.group_model(model, [(start, 2)])
        sn.start_from_clusters(grouped)
        sn.read_grouping(grouped, method="balanced")
        plan = sn.plan_of(grouped)
        grouping = random_grouping(plan, rng)
        yield (
            model,
            grouped,
            masked_outputs(model, plan, grouping, x),
            (sn.split_model(grouped, grouping)),
        )


@pytest.mark.parametrize("name", EXACT)
def test_models_that_are_split_exactly(name, tmp_path):
    tolerance = 3e-3 if name == "mixed_float16" else 1e-5
    lowest_alone = 1 if name in models_reported.EXACT else None
    for model, grouped, wanted, tree in itertools.islice(cut_trees(name), lowest_alone):
        x = feeds(model)
        check_equal(grouped(x, training=False), model(x, training=False), tolerance)
        check_equal(tree.model(x, training=False), wanted, tolerance)
        tree.save(tmp_path / "tree.keras")
        loaded = keras.models.load_model(tmp_path / "tree.keras")
        check_equal(loaded(x, training=False), wanted, tolerance)


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_are_refused(name):
    make, reason = REFUSED[name]
    with pytest.raises(sn.PlanError, match=reason):
        model = make()
        found = sn.suggest_cuts(model)
        for cut in found.cuts:
            sn.group_model(model, [(cut.start, 2)])
        raise sn.PlanError(found.refused[0].reason)


@pytest.mark.slow
def test_files_of_all_of_them_in_a_process_without_this_package(tmp_path):
    for name in EXACT:
        model, _, wanted, tree = next(cut_trees(name))
        folder = tmp_path / name
        folder.mkdir()
        tree.save(folder / "tree.keras")
        tree.model.export(folder / "tree", verbose=False)
        flat = {f"x{j}": v for j, v in enumerate(keras.tree.flatten(feeds(model)))}
        flat |= {f"y{j}": v for j, v in enumerate(keras.tree.flatten(wanted))}
        np.savez(folder / "arrays.npz", **flat)
    script = f"""
import pathlib, sys, keras, numpy as np
for folder in sorted(pathlib.Path({str(tmp_path)!r}).iterdir()):
    arrays = dict(np.load(folder / "arrays.npz"))
    x = [v for k, v in arrays.items() if k[0] == "x"]
    y = [v for k, v in arrays.items() if k[0] == "y"]
    model = keras.models.load_model(folder / "tree.keras")
    x = keras.tree.pack_sequence_as(model.input, x)
    served = keras.layers.TFSMLayer(folder / "tree", call_endpoint="serve")
    tolerance = 3e-3 if "float16" in folder.name else 1e-5
    for answer in (model(x, training=False), served(x)):
        for a, b in zip(keras.tree.flatten(answer), y, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())
assert "splitnet_tf" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
