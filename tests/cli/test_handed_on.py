"""What the flags of ``group`` and ``split`` hand on to the model and to its trainer."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from keras import layers

import splitnet_tf as sn
from splitnet_tf.cli import device_flags, group, split
from splitnet_tf.data import evaluation_batches, planted_groups
from splitnet_tf.errors import ClusterError
from splitnet_tf.grouping.grouped_layers import GroupedKernel
from splitnet_tf.runs import RunDirectory
from splitnet_tf.storage.models import load_model, save_model
from splitnet_tf.training import TrainOptions
from tests.cli.small_programs import small_model
from tests.conftest import random_grouping, to_numpy

DATA = planted_groups((2,), 4, num_train=100, num_valid=16, num_test=16)
SECTIONS = [("second", 2), ("logits", 2)]
# A batch is an epoch; so many steps are ten epochs.
COMMON = ["--batch_size=100", "--epochs=10", "--restart"]


class Handed(Exception):
    """Stands for the training."""


class Recorder:
    """In place of a trainer: what it was given."""

    last = None
    during = None

    def __init__(self, step, options, run, train_batches, valid_batches, **more):
        run.close()
        images, _ = next(iter(train_batches(0)))
        paces = step.optimizer.get_config().get("paces", {})
        Recorder.last = SimpleNamespace(
            model=step.model,
            step=step,
            options=options,
            images=images.numpy(),
            scale=lambda variable: paces.get(variable.path, 1),
            **more,
        )

    def train(self):
        if Recorder.during:
            Recorder.during(Recorder.last)
        raise Handed


@pytest.fixture
def handed(monkeypatch, tmp_path):
    """Runs a program up to its training; returns what the trainer was given.

    ``during`` is called with that while the flags are still there.
    """

    def run(program, *arguments, during=None):
        Recorder.during = during
        monkeypatch.setattr(program, "Trainer", Recorder)
        monkeypatch.setattr(program, "load_data", lambda: DATA)
        with flagsaver.flagsaver():
            program.define_flags()
            flags.FLAGS(["program", *COMMON, f"--train_dir={tmp_path / 'run'}", *arguments])
            with pytest.raises(Handed):
                program.main()
        flags.FLAGS.unparse_flags()
        return Recorder.last

    return run


@pytest.fixture
def grouped(handed, tmp_path):
    """``group``, of a small model whose kernels 'second' and 'logits' are split."""
    small_model(tmp_path / "small.keras")
    common = [f"--model={tmp_path / 'small.keras'}", "--splits=second:2,logits:2"]
    return lambda *more, **during: handed(group, *common, "--warmup_epochs=5", *more, **during)


@pytest.fixture
def split_up(handed, tmp_path, monkeypatch):
    """``split``, of the same model in groups by chance."""
    small_model(tmp_path / "small.keras")
    model = load_model(tmp_path / "small.keras")
    plan = sn.SplitPlan.from_sections(model, SECTIONS)
    save_model(sn.group_model(model, plan), tmp_path / "grouped.keras")
    names = {"class_names": DATA.class_names}
    found = dataclasses.replace(random_grouping(plan, np.random.default_rng(0)), **names)
    found.save(tmp_path / "grouping.json")
    monkeypatch.setattr(split, "test_accuracy", lambda model, dataset: 0.5)
    common = [f"--basemodel={tmp_path / 'grouped.keras'}", "--recalibrate_batches=0"]
    return lambda *more, **during: handed(split, *common, *more, **during)


def loss_settings(found):
    losses = sn.split_losses(found.model)
    return losses.gamma1, losses.gamma2, losses.gamma3, losses.scaling, losses.reduction


def test_split_losses(grouped):
    """The gammas are in the paper's order."""
    assert loss_settings(grouped()) == (1, 1, 10, "unit", "mean")


def test_split_losses_by_flags(grouped):
    found = grouped(
        *("--gamma1=2", "--gamma2=3", "--gamma3=5", "--scaling=paper", "--weighted_group_loss")
    )
    assert loss_settings(found) == (2, 3, 5, "paper", "weighted")


@pytest.mark.parametrize(
    ("arguments", "split_part", "pace"),
    [([], 1, 8), (["--finetune"], 10, 8), (["--assignment_lr_scale=3"], 1, 3)],
)
def test_paces(grouped, arguments, split_part, pace):
    found = grouped(*arguments)
    for layer in found.model.layers:
        expected = split_part if isinstance(layer, GroupedKernel) else 1
        if layer.weights and layer.name != "split_losses" and not layer.name.startswith("space_"):
            assert found.scale(layer.trainable_weights[0]) == expected, layer.name
    spaces = sn.split_losses(found.model).assignments()
    assert [found.scale(a.logits) for a in spaces] == [pace] * 3


def strengths(found, steps):
    for step in steps:
        found.hooks[0].before_step(step)
        yield to_numpy(sn.split_losses(found.model).strength).tolist()


@pytest.mark.parametrize(("argument", "factor"), [([], 20), (["--gamma1_growth=4"], 4)])
def test_gamma1_grows_after_the_warm_up(grouped, argument, factor):
    """From step 5, at once to the end of three of the five steps that are left."""
    found = list(strengths(grouped(*argument), [4, 5, 8, 9]))
    assert found[:2] == [[0, 0, 0], [1, 1, 1]]
    for strength in found[2:]:
        assert strength == pytest.approx([factor, 1, 1], rel=1e-5)


@pytest.mark.parametrize("start", ["clustering", "random"])
def test_assignments_start_after_the_warm_up(grouped, start):
    found = grouped(f"--assignment_init={start}")
    spaces = sn.split_losses(found.model).assignments()
    noise = [to_numpy(a.logits) for a in spaces]
    assert max(np.abs(x).max() for x in noise) < 0.1
    list(strengths(found, [0, 4]))
    assert all(np.array_equal(to_numpy(a.logits), x) for a, x in zip(spaces, noise, strict=True))
    list(strengths(found, [5]))
    kept = [np.array_equal(to_numpy(a.logits), x) for a, x in zip(spaces, noise, strict=True)]
    assert kept == [start == "random"] * 3


def test_the_terminal_warns_once_the_warm_up_is_over(grouped, caplog):
    def watch(found):
        low, *others = sn.split_losses(found.model).assignments()
        low.assign(np.zeros(low.size, int), largest_p=0.99)
        for space in others:
            space.assign(np.arange(space.size) % 2, largest_p=0.6)
        caplog.clear()
        found.hooks[0].summarize(4, None)
        assert caplog.messages == []
        found.hooks[0].summarize(6, None)
        empty = (
            f"step 6: Group 1 of {low.space} is empty (0 of {low.size} channels): raise `gamma3`."
        )
        assert caplog.messages == [empty]
        found.hooks[0].summarize(9, None)
        assert len(caplog.messages) == 3
        late = caplog.messages[1:]
        assert all("are undecided" in m and "`pace`" in m for m in late)

    grouped(during=watch)


@pytest.mark.parametrize("arguments", [[], ["--bn_no_scale"]])
def test_scale_of_batch_norm(handed, arguments):
    found = handed(group, "--model=wrn-10-0.25", *arguments)
    norms = [x for x in found.model.layers if isinstance(x, layers.BatchNormalization)]
    assert len(norms) == 7 and {x.scale for x in norms} == {not arguments}


@pytest.fixture(params=["grouped", "split_up"])
def program(request):
    return request.getfixturevalue(request.param)


def test_options_of_the_loop(program):
    arguments = ["--momentum=0.7", "--l2_weight=0.01", "--label_smoothing=0.2", "--display=3"]
    arguments += ["--val_interval=4", "--checkpoint_interval=5", "--bfloat16", "--jit_compile"]
    found = program(*arguments, "--on_nan=rollback")
    assert found.options == TrainOptions(
        max_steps=10, display=3, val_interval=4, checkpoint_interval=5, on_nan="rollback"
    )
    optimizer = found.step.optimizer
    assert (optimizer.momentum, optimizer.nesterov) == (0.7, True)
    assert found.step.loss.label_smoothing == 0.2


def test_options_of_the_loop_by_default(program):
    """A batch is an epoch: an evaluation and a checkpoint after each."""
    assert program().options == TrainOptions(10, val_interval=1, checkpoint_interval=1)
    other = program("--max_steps=7", "--nonesterov")
    assert other.options.max_steps == 7 and not other.step.optimizer.nesterov


def test_steps_of_the_learning_rate(program):
    """Epochs become steps, here of the same number."""
    arguments = ["--initial_lr=0.5", "--lr_step_epoch=3,6.4", "--lr_decay=0.2"]
    rate = program("--lr_schedule=step", *arguments).learning_rate
    found = [rate(step) for step in range(10)]
    assert found == pytest.approx([0.5] * 3 + [0.1] * 3 + [0.02] * 4)


def test_epochs_of_the_learning_rate_are_counted_in_steps(program):
    """Four steps an epoch."""
    arguments = ["--batch_size=25", "--lr_step_epoch=1.5", "--lr_warmup_epochs=0.5"]
    rate = program("--lr_schedule=step", "--initial_lr=0.5", *arguments).learning_rate
    found = [rate(step) for step in (0, 1, 5, 6, 39)]
    assert found == pytest.approx([0.25, 0.5, 0.5, 0.05, 0.05])


def test_the_rate_is_held_through_the_warm_up(grouped, split_up):
    ends = ["--initial_lr=0.5", "--final_lr=0.25"]
    rate = grouped(*ends).learning_rate
    assert [rate(s) for s in (0, 5)] == [0.5, 0.5] and 0.25 < rate(9) < rate(6) < 0.5
    rate = split_up(*ends).learning_rate
    assert rate(0) == 0.5 > rate(1) and rate(10) == 0.25


def test_a_rate_below_the_usual_end_does_not_rise(program):
    rate = program("--initial_lr=0.01").learning_rate
    found = [rate(step) for step in range(11)]
    assert found[0] == 0.01 and found == sorted(found, reverse=True)


@pytest.mark.parametrize("augment", [True, False])
def test_augmentation(program, augment):
    """Without it a batch, here of all images, holds them as they are."""
    images = program(f"--augment={augment}").images
    plain = next(iter(evaluation_batches(DATA.train, len(DATA.train))))[0].numpy()
    as_they_are = {image.tobytes() for image in plain}
    assert all(image.tobytes() in as_they_are for image in images) == (not augment)


def test_patience_is_that_of_split(split_up):
    assert split_up("--patience=4").options.patience == 4
    assert split_up().options.patience == 0


def test_a_restart_is_not_repeated_when_a_worker_is_lost(split_up, monkeypatch):
    """Only before the run folder is prepared, or the run before would be gone on with."""
    found = []

    def lose(*_):
        device_flags._lost(ClusterError("It is lost."))

    def prepare(*arguments, **more):
        lose()
        return RunDirectory(*arguments, **more)

    monkeypatch.setattr(device_flags.os, "execv", lambda _, command: found.append(command[-3:]))
    monkeypatch.setattr(split, "RunDirectory", prepare)
    split_up("--on_worker_loss=local", during=lose)
    without = ["--cluster=", "--devices="]
    assert found[0][1:] == without and "--restart=false" not in found[0]
    assert found[1:] == [["--restart=false", *without]]
