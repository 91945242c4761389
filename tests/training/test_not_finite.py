"""Losses and gradients that are not finite: stop, or go back with half the learning rate."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from splitnet_tf.errors import ArgumentError, DataError, TrainingError
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.runs import RunDirectory
from splitnet_tf.runs.checkpoints import list_checkpoints, read_checkpoint
from splitnet_tf.stages.finetune import finetune
from splitnet_tf.training import Hook, TrainOptions
from splitnet_tf.training.faults import fault_of_batch
from tests.training.small_run import (
    Histogram,
    Killed,
    base_rate,
    events,
    kill,
    make_model,
    make_step,
    make_trainer,
    run_training,
)


def halved_from(*starts):
    """The learning rate of a run that has gone back to each of these steps."""
    return lambda step: base_rate(step) * 0.5 ** sum(step >= start for start in starts)


def same_weights(one, other):
    for found, wanted in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted.numpy(), err_msg=found.path)


@pytest.fixture(scope="module")
def halved(tmp_path_factory, dataset):
    """A run whose learning rate halves at step 10, with nothing wrong in it."""
    folder = tmp_path_factory.mktemp("halved")
    return folder, *run_training(
        folder, dataset, learning_rate=halved_from(10), hooks=[Histogram()]
    )


def test_a_rollback_goes_on_from_the_checkpoint_with_half_the_rate(
    tmp_path, dataset, halved, caplog
):
    model, result = run_training(
        tmp_path, dataset, spoil=[13], on_nan="rollback", hooks=[Histogram()]
    )
    assert "Step 14: the cross entropy became nan; back to step 10" in caplog.text
    assert "(rollback 1 of 3)" in caplog.text
    folder, expected, wanted = halved
    same_weights(model, expected)
    assert result == dataclasses.replace(wanted, rollbacks=1)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    found = events(tmp_path / "tensorboard")
    assert len(found) == len(set(found)) and found == events(folder / "tensorboard")


def test_a_rollback_outlasts_a_kill(tmp_path, dataset, halved):
    seen = []

    def kill_at_11_again(step):
        seen.append(step)
        if seen.count(11) == 2:
            kill()

    with pytest.raises(Killed):
        run_training(tmp_path, dataset, spoil=[13], on_nan="rollback", actions=[kill_at_11_again])
    assert [p.name[:13] for p in list_checkpoints(tmp_path / "checkpoints", "step")] == [
        "step-00000005",
        "step-00000010",
    ]
    best = list_checkpoints(tmp_path / "checkpoints", "best")
    assert [read_checkpoint(p)[1]["best_step"] for p in best] == [6]  # not that of step 12
    model, result = run_training(tmp_path, dataset, on_nan="stop")
    same_weights(model, halved[1])
    assert result == dataclasses.replace(halved[2], rollbacks=1)


def test_a_run_goes_back_to_its_start_and_three_times_at_most(tmp_path, dataset):
    model, _ = run_training(
        tmp_path / "three", dataset, steps=8, spoil=[1, 3, 6], on_nan="rollback"
    )
    expected, _ = run_training(
        tmp_path / "by hand", dataset, steps=8, learning_rate=halved_from(0, 0, 5)
    )
    same_weights(model, expected)
    one, other = ((tmp_path / n / "metrics.jsonl").read_bytes() for n in ("three", "by hand"))
    assert one == other
    with pytest.raises(
        TrainingError, match="Step 7: the cross entropy .* after 3 rollbacks; lower"
    ):
        run_training(tmp_path / "four", dataset, spoil=[1, 3, 6, 6], on_nan="rollback")
    whole = list_checkpoints(tmp_path / "four" / "checkpoints", "step")
    assert [read_checkpoint(p)[1]["step"] for p in whole] == [0, 5]
    with pytest.raises(ArgumentError, match="`on_nan` must be one of stop, rollback; got 'ignore'"):
        TrainOptions(5, on_nan="ignore")


def test_a_loss_that_is_not_finite_stops_with_step_and_term(tmp_path, dataset):
    with pytest.raises(TrainingError, match="Step [0-9]+: the cross entropy became (nan|inf)"):
        run_training(tmp_path, dataset, pace=1e30)


@keras.saving.register_keras_serializable(package="test")
class Root(layers.Layer):
    """Its gradient at 0 is infinite though its value is not."""

    def call(self, x):
        return x + keras.ops.sqrt(keras.ops.sum(self.kernel))

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(1,), initializer="zeros")


def test_a_gradient_that_is_not_finite_stops_before_a_checkpoint_has_it(tmp_path, dataset):
    inputs = keras.Input((16, 16, 3))
    x = layers.Dense(4)(layers.GlobalAveragePooling2D()(inputs))
    run = RunDirectory(tmp_path, {})
    step = make_step(keras.Model(inputs, Root()(x)))
    options = TrainOptions(5, checkpoint_interval=1)
    trainer = make_trainer(step, run, dataset, options, lambda step: 0.1)
    with pytest.raises(
        TrainingError, match="Step 1: the gradients became (nan|-?inf);.*`restart=True`"
    ):
        trainer.train()
    run.close()
    assert list_checkpoints(tmp_path / "checkpoints", "step") == []


def test_an_update_that_is_not_finite_is_never_saved(tmp_path, dataset):
    """The last one too, which no loss would show any more."""
    with pytest.raises(TrainingError, match="Step 1: .* became not finite; lower the `rate`"):
        run_training(tmp_path, dataset, steps=1, pace=1e38, learning_rate=lambda s: 1e6)
    assert list(tmp_path.rglob("*.npz")) == []


class TwoLosses(layers.Layer):
    """Adds a loss that is a number and one that is none."""

    def call(self, x):
        self.add_loss(0.5 * keras.ops.mean(x))
        self.add_loss(keras.ops.log(-1.0 - keras.ops.mean(x**2)))
        return x


class Named(Hook):
    loss_names = ("group_weight", "disjointness")


def test_the_loss_of_the_model_that_is_to_blame_is_named(tmp_path, dataset):
    inputs = keras.Input((16, 16, 3))
    x = TwoLosses()(layers.Dense(4)(layers.GlobalAveragePooling2D()(inputs)))
    run = RunDirectory(tmp_path, {})
    step = make_step(keras.Model(inputs, x))
    trainer = make_trainer(step, run, dataset, TrainOptions(5), hooks=[Named()])
    with pytest.raises(TrainingError, match="Step 1: the disjointness became nan; .*`on_nan="):
        trainer.train()
    run.close()


def test_a_batch_that_is_not_finite_is_said_to_be():
    good, bad = np.ones(2, "float32"), np.array([1.0, np.nan], "float32")
    batches = {
        "images": ({"a": good, "b": bad}, [good], None),
        "labels": ({"a": good}, [np.arange(2), bad], good),
        "sample weights": (good, np.arange(2), bad),
    }
    for part, batch in batches.items():
        assert fault_of_batch(*batch) == f"the {part} of its batch are not finite numbers"
    assert fault_of_batch({"a": good}, [np.arange(2)], None) is None


def test_the_sentence_names_what_there_is(tmp_path, dataset):
    """No gammas where no loss has some, no folder where none outlasts the run."""
    for name, kept in (("kept", True), ("removed", False)):
        run = RunDirectory(tmp_path / name, {}, kept=kept)
        inputs = keras.Input((16, 16, 3))
        model = keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(inputs)))
        model.layers[-1].kernel.assign(model.layers[-1].kernel * np.nan)
        trainer = make_trainer(make_step(model), run, dataset, TrainOptions(5))
        with pytest.raises(TrainingError, match="Step 1: .*; lower the `rate`") as caught:
            trainer.train()
        assert ("checkpoints in" in str(caught.value)) == kept
        assert "gammas" not in str(caught.value)
        run.close()


def test_images_that_are_not_finite_are_to_blame(tmp_path):
    images = np.ones((10, 16, 16, 3), "float32")
    images[3, 2, 2, 0] = np.nan
    labels = np.zeros(10, "int32")
    with pytest.raises(DataError, match="Step 1: the images of its batch are not finite"):
        finetune(make_model(), (images, labels), (images, labels), Phase(), batch_size=10)
