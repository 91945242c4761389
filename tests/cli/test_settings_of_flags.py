"""What the flags of ``group`` and ``split`` become: recipes, loops, models, data."""

import dataclasses

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from keras import layers

import splitnet_tf as sn
from splitnet_tf.cli import (
    data_flags,
    device_flags,
    distribute_flags,
    group,
    grouping_flags,
    split,
    training_flags,
)
from splitnet_tf.cli.class_weight_flag import class_weights
from splitnet_tf.data import Dataset, Split, evaluation_batches, planted_groups
from splitnet_tf.errors import ClusterError
from splitnet_tf.grouping.recipe import GroupingRecipe
from splitnet_tf.recipe.phase import Phase
from splitnet_tf.recipe.preprocessing import NONE, WHITEN
from splitnet_tf.stages.base import base_model
from splitnet_tf.stages.loop import Loop, rate_schedule

DATA = planted_groups((2,), 4, num_train=100, num_valid=16, num_test=16)
REQUIRED = {group: ["--train_dir=x"], split: ["--train_dir=x", "--basemodel=y"]}


def read(program, *arguments, then):
    """What ``then`` makes of a program's flags."""
    with flagsaver.flagsaver():
        program.define_flags()
        flags.FLAGS([program.__name__, *REQUIRED[program], *arguments])
        found = then()
    flags.FLAGS.unparse_flags()
    return found


def phase(program, *arguments):
    if program is group:
        return read(group, *arguments, then=group.grouping_recipe)
    return read(split, *arguments, then=lambda: Phase(**training_flags.phase_values()))


def loop_of(program, *arguments):
    return read(program, *arguments, then=training_flags.loop)


programs = pytest.mark.parametrize("program", [group, split])


def test_defaults_stand_once():
    """A program without flags trains as a call without arguments."""
    assert phase(group) == GroupingRecipe()
    assert phase(split) == Phase()
    assert loop_of(group) == loop_of(split) == Loop()


def test_flags_of_the_grouping():
    found = phase(
        group,
        *("--warmup_epochs=2", "--assignment_lr_scale=3", "--gamma1_growth=4"),
        *("--assignment_init=random", "--converged_p=0.8", "--converged_hold=5"),
        *("--converged_off_block=0.1", "--gamma2_delay=0.3", "--growth_share=0.2", "--start_p=0.7"),
    )
    assert found == GroupingRecipe(
        warmup_epochs=2,
        pace=3,
        gamma1_growth=4,
        growth_share=0.2,
        gamma2_delay=0.3,
        start_p=0.7,
        assignment_start="random",
        converged_p=0.8,
        converged_hold=5,
        converged_off_block=0.1,
    )


def test_a_recipe_is_a_preset_and_flags_that_are_given_win():
    def values():
        training_flags.take_recipe()
        return *training_flags.phase_values().items(), ("augment", flags.FLAGS.augment)

    found = dict(read(group, "--recipe=modern", "--mixup=0", then=values))
    assert (found["label_smoothing"], found["ema"], found["mixup"]) == (0.1, 0.998, 0)
    assert found["augment"] == "rand_augment"
    plain = dict(read(group, then=values))
    assert (plain["label_smoothing"], plain["ema"], plain["augment"]) == (0.0, 0.0, "crop_flip")


@programs
def test_flags_of_a_phase(program):
    found = phase(
        program,
        *("--epochs=3", "--initial_lr=0.5", "--lr_schedule=step", "--lr_step_epoch=3,6.4"),
        *("--lr_decay=0.2", "--lr_warmup_epochs=0.5", "--momentum=0.7", "--l2_weight=0.01"),
        *("--label_smoothing=0.2", "--nonesterov"),
    )
    wanted = {
        "epochs": 3,
        "rate": 0.5,
        "schedule": "step",
        "drops": (3, 6.4),
        "decay": 0.2,
        "rate_warmup_epochs": 0.5,
        "momentum": 0.7,
        "l2": 0.01,
        "label_smoothing": 0.2,
        "nesterov": False,
    }
    assert {name: getattr(found, name) for name in wanted} == wanted


@programs
def test_another_optimizer(program):
    assert phase(program, "--optimizer=adamw").optimizer == "adamw"
    with pytest.raises(flags.Error, match="--momentum has no effect with --optimizer=adamw"):
        phase(program, "--optimizer=adamw", "--momentum=0.5")


@programs
def test_weights_of_classes(program):
    def weights(*arguments):
        return read(program, *arguments, then=lambda: class_weights(DATA))

    name = DATA.class_names[2]
    assert weights() is None
    assert weights(f"--class_weight=0:2,{name}:0.5") == {0: 2.0, 2: 0.5}
    with pytest.raises(flags.Error, match="--class_weight=77:1: the data set has no such class"):
        weights("--class_weight=77:1")
    with pytest.raises(flags.Error, match=f"--class_weight={name}:1: it is named twice"):
        weights(f"--class_weight=2:1,{name}:1")
    with pytest.raises(flags.IllegalFlagValueError, match="it must be <class>:<weight>"):
        weights("--class_weight=0:much")


@programs
def test_flags_of_the_loop(program):
    found = loop_of(
        program,
        *("--max_steps=9", "--display=3", "--val_interval=4", "--checkpoint_interval=5"),
        *("--bfloat16", "--jit_compile", "--on_nan=rollback"),
    )
    assert found == Loop(
        max_steps=9,
        display=3,
        val_interval=4,
        checkpoint_interval=5,
        bfloat16=True,
        jit_compile=True,
        on_nan="rollback",
    )


@programs
def test_a_rate_below_the_usual_end_does_not_rise(program):
    found = phase(program, "--initial_lr=0.01", "--epochs=10")
    rate = rate_schedule(found, Loop(), 1)
    rates = [rate(step) for step in range(11)]
    assert rates[0] == 0.01 and rates == sorted(rates, reverse=True)


def test_a_final_rate_above_the_first_is_refused():
    with pytest.raises(sn.SplitNetError, match="`final_rate=0.5` is above `rate=0.1`"):
        phase(split, "--final_lr=0.5")


def grouped_by(*arguments):
    def make():
        plain = base_model("mlp", [("fc2", 2), ("logits", 2)], 8, (16, 16, 3))
        return group.make_grouped(
            plain, sn.SplitPlan.from_sections(plain, grouping_flags.sections())
        )

    losses = sn.split_losses(read(group, "--model=mlp", "--splits=2-2", *arguments, then=make))
    return losses.gamma1, losses.gamma2, losses.gamma3, losses.scaling, losses.reduction


def test_split_losses():
    """The gammas are in the paper's order."""
    assert grouped_by() == (1, 1, 10, "unit", "mean")
    arguments = ["--gamma1=2", "--gamma2=3", "--gamma3=5", "--scaling=paper"]
    assert grouped_by(*arguments, "--weighted_group_loss") == (2, 3, 5, "paper", "weighted")


@pytest.mark.parametrize("no_scale", [False, True])
def test_scale_of_batch_norm(no_scale):
    model = base_model("wrn-10-0.25", [("logits", 2)], 8, (16, 16, 3), bn_no_scale=no_scale)
    norms = [x for x in model.layers if isinstance(x, layers.BatchNormalization)]
    assert len(norms) == 7 and {x.scale for x in norms} == {not no_scale}


@programs
@pytest.mark.parametrize(
    ("flag", "augment"),
    [("--augment", True), ("--augment=crop_flip", True), ("--augment=true", True)]
    + [("--noaugment", False), ("--augment=none", False), ("--augment=False", False)],
)
def test_augmentation(program, flag, augment):
    """Without it a batch, here of all images, holds them as they are."""
    arguments = [flag, "--batch_size=100"]

    def batch():
        train, _, _ = data_flags.split_feeds(DATA, 0, WHITEN)
        return next(iter(train.training()))[0].numpy()

    images = read(program, *arguments, then=batch)
    plain = next(iter(evaluation_batches(DATA.train, len(DATA.train), preprocessing=WHITEN)))[
        0
    ].numpy()
    as_they_are = {image.tobytes() for image in plain}
    assert all(image.tobytes() in as_they_are for image in images) == (not augment)


def test_classes_without_a_training_example_are_told(caplog):
    few = dataclasses.replace(DATA, train=Split(DATA.train.images[:9], np.arange(9) % 7))
    read(group, "--batch_size=4", then=lambda: data_flags.split_feeds(few, 0, WHITEN))
    assert f"No training example of {DATA.class_names[7]} (1 of 8 classes)" in caplog.text


def test_data_that_are_no_images_are_not_cropped(caplog):
    ids = Split(np.arange(32, dtype="int32").reshape(8, 4), np.arange(8) % 2)
    texts = Dataset("texts", ids, ids, ids, ("a", "b"))
    with caplog.at_level("INFO"):
        train, _, _ = read(
            group, "--batch_size=8", then=lambda: data_flags.split_feeds(texts, 0, NONE)
        )
    assert caplog.text.count("The data are no images: `augment=none`.") == 1
    x, y = next(iter(train.training()))
    np.testing.assert_array_equal(np.sort(x, axis=0), ids.images)
    assert x.dtype == "int32" and y.dtype == "int32"


def test_a_restart_is_not_repeated_when_a_worker_is_lost(monkeypatch):
    """Only before the run folder is prepared, or the run before would be gone on with."""
    found = []
    monkeypatch.setattr(device_flags.os, "execv", lambda _, command: found.append(command[-4:]))
    monkeypatch.setattr(device_flags, "RELAUNCH", [])

    def lose():
        device_flags._lost(ClusterError("It is lost."))
        device_flags.RELAUNCH.append("--restart=false")
        device_flags._lost(ClusterError("It is lost."))

    read(split, "--on_worker_loss=local", "--restart", then=lose)
    without = ["--cluster=", "--devices=", "--distribute=none"]
    assert found[0][1:] == without and "--restart=false" not in found[0]
    assert found[1:] == [["--restart=false", *without]]


@programs
def test_devices_that_divide_batches(program):
    def divided(*arguments, devices=()):
        def then():
            distribute_flags.check_distribute_flags(places=program is split)
            return distribute_flags.over_devices(training_flags.loop(), devices)

        return read(program, *arguments, then=then)

    assert divided() == Loop()
    found = divided("--distribute=mirrored", "--sync_batch_norm")
    assert found == Loop(distribute="mirrored", sync_batch_norm=True)
    workers = ["/job:worker/task:0/device:CPU:0", "/job:worker/task:1/device:CPU:0"]
    found = divided("--distribute=multiworker", "--cluster=a:1,b:1", devices=workers)
    assert found == Loop(distribute=tuple(workers))
    with pytest.raises(flags.Error, match="--distribute=multiworker needs --cluster"):
        divided("--distribute=multiworker")
    with pytest.raises(flags.Error, match="for --cluster give --distribute=multiworker"):
        divided("--distribute=mirrored", "--cluster=a:1")
    if program is group:
        with pytest.raises(flags.Error, match="--devices has no effect without --distribute"):
            divided("--devices=/CPU:0,/CPU:1")
