"""Shared by all tests: small networks, random groupings, where the real data may be."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# JAX compiles every operation anew for every shape: for longer than these tests compute.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")

import keras
import numpy as np
import pytest
from hypothesis import settings
from keras import layers

from splitnet_tf.grouping import Grouping, SplitPlan
from splitnet_tf.grouping.space_groups import SpaceGroups

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Three devices to place branches on, before anything runs.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)

EXAMPLES = 3 if keras.backend.backend() == "jax" else 12
settings.register_profile("ci", deadline=None, max_examples=EXAMPLES, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Of a tensor on any backend, part of a gradient or not.
to_numpy = keras.ops.convert_to_numpy

ROOT = Path(__file__).resolve().parents[1]


def pytest_runtest_setup(item) -> None:
    """New weights are the same whatever ran before, those of fixtures too."""
    keras.utils.set_random_seed(0)


def pytest_runtest_call(item) -> None:
    """And whether or not a fixture was there already."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def cifar_dir() -> str:
    """Where CIFAR-100 is; skips, saying so, where it is not."""
    for place in (os.environ.get("SPLITNET_DATA_DIR"), ROOT.parent / "shared" / "datasets"):
        if place and Path(place, "cifar100").is_dir():
            return str(place)
    pytest.skip("CIFAR-100 is not here; set SPLITNET_DATA_DIR to the folder that has it")


def scramble(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight a value of its own, batch-norm statistics and biases too."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            noise = rng.normal(0, 0.3, weight.shape)
            values.append(np.exp(noise) if "variance" in weight.path else weight.numpy() + noise)
        if values and not any(w.dtype.startswith("uint") for w in layer.weights):
            layer.set_weights(values)
    return model


def random_grouping(plan: SplitPlan, rng: np.random.Generator) -> Grouping:
    """Random groups of random, unequal sizes, none empty."""
    spaces = []
    for space in plan.spaces:
        labels = rng.integers(0, space.num_groups, space.size)
        labels[rng.permutation(space.size)[: space.num_groups]] = np.arange(space.num_groups)
        spaces.append(SpaceGroups.from_labels(space.name, labels, space.num_groups))
    return Grouping("test", plan.sections, "random", tuple(spaces), plan.class_spaces[0])


def small_alexnet(num_classes: int = 9, channels: int = 7) -> keras.Model:
    """Convolutions with biases, pooling, flattening, dense layers with activations."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="conv1")(inputs)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Conv2D(channels, 3, padding="same", name="conv2")(x)
    x = layers.BatchNormalization(name="bn2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    x = layers.Dense(16, activation="relu", name="fc6")(x)
    x = layers.Dense(14, activation="relu", name="fc7")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="fc8")(x), name="small_alexnet")


@pytest.fixture(scope="session")
def dataset():
    """Four planted classes, twelve steps an epoch."""
    from tests.training.small_run import make_dataset

    return make_dataset()


@pytest.fixture(scope="session")
def whole(tmp_path_factory, dataset):
    """One undisturbed run, for the tests that disturb it."""
    from tests.training.small_run import Histogram, run_training

    folder = tmp_path_factory.mktemp("whole")
    model, result = run_training(folder, dataset, hooks=[Histogram()])
    return folder, [w.numpy() for w in model.variables], result
