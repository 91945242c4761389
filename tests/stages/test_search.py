"""The search for the smallest tree within a loss of accuracy."""

import dataclasses

import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.errors import ArgumentError, RunError
from splitnet_tf.runs.names import CONFIG
from splitnet_tf.stages.search import FINETUNING, LEARNING, Search, Trial, search_cuts
from tests.stages.conftest import make_network

RECIPE = dataclasses.replace(LEARNING, epochs=1, rate=0.05, final_rate=0.05)
PHASE = dataclasses.replace(FINETUNING, epochs=1, rate=0.05)


@pytest.fixture(scope="module")
def trained(arrays):
    network = make_network()
    sn.finetune(network, *arrays[:2], sn.Phase(epochs=5, rate=0.1, l2=0.0))
    return network


@pytest.mark.slow
def test_the_smallest_tree_within_the_drop(trained, arrays, tmp_path):
    arrays = [(x[:160], y[:160]) for x, y in arrays]
    before = trained.get_weights()
    how = {"recipe": RECIPE, "phase": PHASE, "run": tmp_path, "max_accuracy_drop": 0.5}
    found = search_cuts(trained, *arrays[:2], **how)
    for one, other in zip(before, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [t.start for t in found.trials] == ["logits", "conv2", "conv1"]
    for trial in found.trials:
        plan = sn.SplitPlan.from_sections(trained, [(trial.start, 2)])
        assert trial.params == sn.cost(trained, plan).params
    # What is said of the tree is what Keras says of it.
    images, labels = arrays[1]
    answers = found.tree.model.predict(images, verbose=0).argmax(axis=1)
    assert found.best.accuracy == pytest.approx(np.mean(answers == labels), abs=1e-6)
    assert found.best.params == sn.cost(found.tree.model).params
    printed = str(found)
    assert f"cut from {found.best.start} ({tmp_path}" in printed
    found.draw(tmp_path / "search.png")
    assert (tmp_path / "search.png").stat().st_size > 5000


def test_the_best_of_trials():
    def trial(start, accuracy, params):
        return Trial(start, 2, accuracy, params, 10 * params, None)

    whole = dataclasses.replace(trial("whole", 0.9, 100), num_groups=1)
    trials = trial("c", 0.899, 80), trial("b", 0.895, 60), trial("a", 0.8, 40)
    found = Search(whole, trials, 0.01)
    assert found.best.start == "b" and found.to_document()["best"] == "b"
    assert Search(whole, trials, 0.2).best.start == "a"
    assert 0.91 - 0.9 > 0.01  # by rounding
    limit = Search(dataclasses.replace(whole, accuracy=0.91), (trial("a", 0.9, 40),), 0.01)
    assert limit.best.start == "a"
    none = Search(whole, trials[2:], 0.01)
    assert none.best is None and "No tree is within the drop" in str(none)


def test_the_search_ends_with_the_first_that_loses_too_much(trained, arrays):
    """Labels that are shifted after the training: what is finetuned on them loses everything."""
    (x, y), valid = arrays[0], arrays[1]
    wrong = (x[:320], (y[:320] + 1) % 8)
    phase = dataclasses.replace(PHASE, epochs=3)
    budget = {"max_params": "1x", "max_flops": "1x"}
    found = search_cuts(trained, wrong, valid, recipe=RECIPE, phase=phase, **budget)
    assert len(found.trials) == 1 and found.best is None and found.tree is None


def test_budgets(trained, arrays):
    with pytest.raises(ArgumentError, match="`max_params=10`: no cut in 2 groups keeps the"):
        search_cuts(trained, *arrays[:2], max_params="10")
    with pytest.raises(ArgumentError, match="A budget must be a number above 0"):
        search_cuts(trained, *arrays[:2], max_flops="much")
    with pytest.raises(ArgumentError, match="`max_accuracy_drop` must be from 0 to 1; got 3"):
        search_cuts(trained, *arrays[:2], max_accuracy_drop=3)


def several_labels(arrays):
    both = np.eye(8) + np.roll(np.eye(8), 1, axis=1)
    return [(x[:64], both[y[:64]]) for x, y in arrays[:2]]


def test_several_labels_an_image_need_their_loss(trained, arrays):
    with pytest.raises(ArgumentError, match="`train` has labels that softmax cross entropy does"):
        search_cuts(trained, *several_labels(arrays))


@pytest.mark.slow
def test_a_search_with_several_labels_an_image(trained, arrays):
    """The share of right answers counts."""
    train, valid = several_labels(arrays)
    how = {"recipe": RECIPE, "phase": PHASE, "loop": sn.Loop(max_steps=1), "max_flops": "0.7x"}
    found = search_cuts(trained, train, valid, loss=sn.BinaryCrossEntropy(), **how)
    right = (trained.predict(valid[0], verbose=0) > 0) == (valid[1] == 1)
    assert found.whole.accuracy == pytest.approx(right.mean(), abs=1e-6) and found.trials


def test_the_folder_of_another_run_is_refused(trained, arrays, tmp_path):
    (tmp_path / CONFIG).touch()
    with pytest.raises(RunError, match="is the folder of another run"):
        search_cuts(trained, *arrays[:2], run=tmp_path)
