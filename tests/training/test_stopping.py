"""Training that stops by itself: when, what it says, and the same when it was cut off before."""

import numpy as np
import pytest

from splitnet_tf.grouping.convergence import GroupingConverged
from splitnet_tf.training import Hook
from tests.training.small_run import Killed, at, kill, run_training

LONG = 60  # steps, of which none of these runs needs all
# Validation accuracies by step: the best at 12, none better at 18, 24 and 30.
SCORES = {6: 0.2, 12: 0.5, 18: 0.4, 24: 0.5, 30: 0.3}
UNDECIDED = np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.9]])
DECIDED = np.array([[0.999, 0.999, 0.001], [0.001, 0.001, 0.999]])


class Grouping(Hook):
    """Converged, or not, by memberships that depend on the step alone."""

    def __init__(self):
        self._step = 0
        self._converged = GroupingConverged(self._memberships, lambda: 0.0, hold=2)

    def _memberships(self):
        # Decided after six steps, in groups that still change; the last change is seen at 18.
        p = UNDECIDED if self._step <= 6 else DECIDED
        return [p, p[::-1] if self._step <= 12 else p]

    @property
    def state(self):
        return self._converged.state

    @state.setter
    def state(self, state):
        self._converged.state = state

    def stop(self, step):
        self._step = step
        return "converged" if self._converged(step) else ""


class Stops:
    """Runs with one stop condition."""

    def __init__(self, reason, dataset):
        self.reason = reason
        self._dataset = dataset

    def run(self, folder, *, steps=LONG, actions=()):
        steps_done = [0]

        def scored(model):
            """Validation batches of which a share by the step is labelled as the model has it."""

            def batches():
                images = self._dataset.valid.images[:10].astype("float32")
                labels = model(images).numpy().argmax(axis=1)
                wrong = 10 - round(10 * SCORES.get(steps_done[0], 0.1))
                labels[:wrong] = (labels[:wrong] + 1) % 4
                return [(images, labels)]

            return batches

        def count(step):
            steps_done[0] = step + 1  # once the step is done

        more = {"patience": 3, "valid": scored}
        if self.reason == "converged":
            more = {"hooks": [Grouping()]}
        actions = [count, *actions]
        return run_training(folder, self._dataset, steps=steps, actions=actions, **more)


@pytest.fixture(scope="module", params=["patience", "converged"])
def stops(request, dataset):
    return Stops(request.param, dataset)


@pytest.fixture(scope="module")
def undisturbed(stops, tmp_path_factory):
    folder = tmp_path_factory.mktemp(stops.reason)
    return folder, *stops.run(folder)


def check_same(found, undisturbed):
    _, model, result = undisturbed
    assert found[1] == result
    for one, other in zip(found[0].variables, model.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


def test_a_run_stops_by_itself_and_stays_so(stops, undisturbed):
    """Both conditions hold for the first time at the fifth check; more steps change nothing."""
    folder, _, result = undisturbed
    assert (result.stopped, result.step) == (stops.reason, 30)
    check_same(stops.run(folder, steps=2 * LONG, actions=[lambda step: kill()]), undisturbed)


@pytest.mark.parametrize("cut", [14, 22, 29])
def test_a_run_that_was_cut_off_stops_at_the_same_step(stops, undisturbed, tmp_path, cut):
    with pytest.raises(Killed):
        stops.run(tmp_path, actions=[at(cut, kill)])
    check_same(stops.run(tmp_path), undisturbed)


def test_a_run_that_is_given_more_steps_stops_at_the_same_step(stops, undisturbed, tmp_path):
    assert stops.run(tmp_path, steps=24)[1].stopped == "max_steps"
    check_same(stops.run(tmp_path), undisturbed)
