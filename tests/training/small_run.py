"""A run of a few steps, for the tests of the loop."""

import keras
import tensorflow as tf
from keras import layers

from splitnet_tf import data
from splitnet_tf.recipe import SGD, CrossEntropy
from splitnet_tf.recipe.preprocessing import WHITEN
from splitnet_tf.runs import RunDirectory
from splitnet_tf.training import Hook, Trainer, TrainOptions, TrainStep


def make_dataset():
    """Four classes, twelve steps an epoch."""
    return data.planted_groups((2,), 2, num_train=120, num_valid=40, num_test=40)


def make_model():
    """Batch norm and dropout: both have state beside the weights."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, name="conv")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU()(x)
    x = layers.Dropout(0.3, seed=3, name="drop")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="logits")(x))


def base_rate(step):
    return 0.1 / (1 + step)


class Do(Hook):
    """Calls functions with the step before each step."""

    def __init__(self, *actions):
        self._actions = actions

    def before_step(self, step):
        for action in self._actions:
            action(step)


class Histogram(Hook):
    """Writes a summary that is no scalar at each evaluation."""

    def summarize(self, step, writer):
        histogram(step, writer)


def make_step(model, l2=1e-3, **more):
    """A step with what the programs take by default; ``more`` is the optimizer's."""
    optimizer = SGD(0.0, momentum=0.9, nesterov=True, **more)
    return TrainStep(model, CrossEntropy(), optimizer, l2=l2)


def make_trainer(step, run, dataset, options, learning_rate=base_rate, valid=None, hooks=()):
    """A trainer on the data set; ``valid`` makes other batches to validate on."""
    return Trainer(
        step,
        options,
        run,
        lambda start: data.training_batches(dataset.train, 10, 1, start, preprocessing=WHITEN),
        valid or (lambda: data.evaluation_batches(dataset.valid, 20, preprocessing=WHITEN)),
        learning_rate=learning_rate,
        hooks=hooks,
    )


def run_training(
    folder,
    dataset,
    *,
    steps=24,
    actions=(),
    hooks=(),
    config=None,
    restart=False,
    on_nan="stop",
    patience=0,
    spoil=(),
    pace=1.0,
    optimizer=None,
    valid=None,
    learning_rate=base_rate,
):
    """Trains in a folder; before each step of ``spoil`` a kernel is made NaN, once for each.

    ``optimizer`` holds more arguments of it, ``valid`` makes validation batches for a model.
    """
    run = RunDirectory(folder, config or {"seed": 1}, restart)
    model = make_model()
    options = TrainOptions(
        max_steps=steps,
        display=3,
        val_interval=6,
        checkpoint_interval=5,
        on_nan=on_nan,
        patience=patience,
    )
    left = list(spoil)

    def spoiler(step):
        if step in left:
            left.remove(step)
            model.get_layer("conv").kernel.assign(model.get_layer("conv").kernel * float("nan"))

    paces = {id(v): pace for v in model.trainable_variables}
    trainer = make_trainer(
        make_step(model, paces=paces, **(optimizer or {})),
        run,
        dataset,
        options,
        learning_rate,
        valid and valid(model),
        [Do(spoiler, *actions), *hooks],
    )
    try:
        result = trainer.train()
    finally:
        run.close()
    return model, result


def at(step, action):
    return lambda now: action() if now == step else None


def events(folder):
    """(tag, step) of every value in the run's TensorBoard files."""
    found = []
    for path in sorted(folder.glob("events.*")):
        for record in tf.compat.v1.train.summary_iterator(str(path)):
            found += [(v.tag, record.step) for v in record.summary.value]
    return sorted(found)


class Killed(BaseException):
    """As abrupt as a kill for the code under test."""


def kill():
    raise Killed


def histogram(step, writer):
    """A summary that is no scalar."""
    with writer.as_default(step=step):
        tf.summary.histogram("a/histogram", [1.0, 2.0, step])
