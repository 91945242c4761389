"""A step whose batch is divided over devices is that of one device on the whole batch."""

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from splitnet_tf.parallel import DataParallelTrainStep, data_parallel_devices
from splitnet_tf.recipe import SGD, CrossEntropy
from splitnet_tf.training import TrainStep
from tests.conftest import random_grouping, scramble

DEVICES = ["/CPU:0", "/CPU:1", "/CPU:2"]


def network(norm=True):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, use_bias=False, name="a")(inputs)
    if norm:
        x = keras.layers.BatchNormalization(momentum=0.8, name="norm")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="b")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(6, name="logits")(x), name="small")


def grouped(**how):
    return sn.group_model(network(**how), [("b", 2)], seed=0)


def tree(**how):
    model = scramble(network(**how))
    plan = sn.SplitPlan.from_sections(model, [("b", 2)])
    return sn.split_model(model, random_grouping(plan, np.random.default_rng(0)), plan).model


def make_step(model, devices=(), **how):
    optimizer = SGD(0.0, momentum=0.9, nesterov=True)
    if devices:
        return DataParallelTrainStep(model, CrossEntropy(), optimizer, devices, l2=1e-3, **how)
    return TrainStep(model, CrossEntropy(), optimizer, l2=1e-3)


def batch(seed, size=13):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(size, 8, 8, 3)).astype("float32")
    weights = rng.uniform(0.5, 2, size).astype("float32") if seed % 2 else None
    return images, rng.integers(0, 6, size).astype("int32"), weights


def weights_of(model):
    return [np.asarray(v) for v in model.variables if "float" in v.dtype]


@pytest.mark.parametrize(
    ("make", "norm"),
    [
        (grouped, True),
        (tree, False),
        pytest.param(grouped, False, marks=pytest.mark.slow),
        pytest.param(tree, True, marks=pytest.mark.slow),
    ],
)
def test_twenty_steps_are_those_of_one_device(make, norm):
    """On batches that cannot be divided evenly, of weighted examples; batch norms synchronized."""
    models = make(norm=norm), make(norm=norm)
    how = {"sync_batch_norm": True} if norm else {}
    one, divided = make_step(models[0]), make_step(models[1], DEVICES, **how)
    for seed in range(20):
        images, labels, weight = batch(seed)
        found, wanted = (s(images, labels, 0.05, weight) for s in (divided, one))
        assert found.keys() == wanted.keys()
        for name in wanted:
            if name != "gradients":  # a sum that is nearly nothing
                assert float(found[name]) == pytest.approx(float(wanted[name]), rel=1e-4, abs=1e-5)
    for a, b in zip(*map(weights_of, models), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    kinds = ("Conv2D", "Conv2DBackpropFilter")
    made = [op for op in divided.graph(images, labels).get_operations() if op.type in kinds]
    for kind in kinds:  # the way back is on the device of the way there
        devices = {op.device[-5:] for op in made if op.type == kind}
        assert devices == {d[1:] for d in DEVICES}


def test_without_synchronization_each_share_has_its_own_statistics():
    """Gradients are the mean of those of the shares by themselves, moving statistics likewise."""
    images, labels, _ = batch(0, size=12)
    halves = []
    for part in (slice(0, 6), slice(6, 12)):
        alone = network()
        make_step(alone)(images[part], labels[part], 0.05)
        halves.append(weights_of(alone))
    model = network()
    make_step(model, DEVICES[:2])(images, labels, 0.05)
    for found, *each in zip(weights_of(model), *halves, strict=True):
        np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=0, atol=1e-5)


def test_each_device_is_sent_each_weight_once():
    """Though the forward pass, the way back and R_W all read a kernel; small ones in one tensor.

    So is the gradient of a kernel sent back: added up on the device over all that read it.
    """
    inputs = keras.Input((130,))
    x = keras.layers.Dense(130, activation="relu", name="a")(inputs)
    x = keras.layers.Dropout(0.5, seed=1, name="drop")(x)
    model = keras.Model(inputs, keras.layers.Dense(6, name="logits")(x))
    step = make_step(sn.group_model(model, [("a", 2)], seed=0), DEVICES)
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(9, 130)).astype("float32"), rng.integers(0, 6, 9).astype("int32")
    sent, back = {}, {}
    for op in step.graph(*batch).get_operations():
        for t in () if op.device else op.inputs:
            if t.op.device and t.shape.num_elements() == 130 * 130:
                back.setdefault(t.op.device[-5:], set()).add(t.name)
        for t in op.inputs if op.device else ():
            variable = not t.op.device and t.op.type in ("ReadVariableOp", "ConcatV2")
            if variable and t.dtype.is_floating:
                sent.setdefault(op.device[-5:], {})[t.name, op.name] = t.shape.num_elements()
    grouped = step.model
    small = sum(v.shape.num_elements() for v in grouped.weights) - 130 * 130
    for device in DEVICES:
        assert sorted(sent[device[1:]].values()) == [small, 130 * 130]
        assert len(back[device[1:]]) == 1
    step(*batch, 0.1)  # random layers go on from share to share
    state = np.asarray(grouped.get_layer("drop").seed_generator.state)
    assert state.tolist() == [1, len(DEVICES)]


def test_evaluation_is_divided_too():
    """Also of batches with fewer examples than there are devices."""
    model = tree()
    forward = make_step(model, DEVICES).forward
    for size in (1, 2, 7):
        images = batch(1, size)[0]
        np.testing.assert_allclose(forward(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_bfloat16():
    model = grouped()
    step = make_step(model, DEVICES[:2], bfloat16=True)
    images, labels, _ = batch(0)
    assert np.isfinite(float(step(images, labels, 0.1)["cross_entropy"]))
    kinds = {
        op.get_attr("T").name
        for op in step.graph(images, labels).get_operations()
        if op.type.startswith("Conv2D")
    }
    assert kinds == {"bfloat16"}


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(sn.ArgumentError, match="must be 'mirrored' or names of devices; got 'all'"):
        data_parallel_devices("all")
    with pytest.raises(sn.ArgumentError, match="needs two devices or more, and has /CPU:0; name"):
        data_parallel_devices(["/CPU:0"])
    with pytest.raises(sn.SplitNetError, match="Device '/CPU:9' is not there"):
        data_parallel_devices(["/CPU:0", "/CPU:9"])
    assert data_parallel_devices("mirrored") == tuple(DEVICES) and data_parallel_devices(()) == ()
    with pytest.raises(sn.DataError, match="A batch of 2 cannot be divided over 3 devices"):
        make_step(network(), DEVICES)(*batch(0, size=2)[:2], 0.1)
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, activity_regularizer="l2", name="own")(inputs)
    model = keras.Model(inputs, x)
    with pytest.raises(sn.ArgumentError, match="loss of layer 'own' on its own outputs cannot be"):
        make_step(model, DEVICES, sync_batch_norm=True)
    with pytest.raises(sn.ArgumentError, match="`jit_compile` does not work across the devices"):
        data = np.zeros((8, 8, 8, 3), "float32"), np.zeros(8, "int32")
        loop = sn.Loop(max_steps=1, distribute="mirrored", jit_compile=True)
        sn.finetune(network(), data, data, loop=loop)


def test_the_loop_divides_batches(tmp_path):
    """The run is that of one device, and so are its logs."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(24, 8, 8, 3)).astype("float32"), np.arange(24) % 6
    recipe = sn.GroupingRecipe(epochs=2, warmup_epochs=1, rate=0.05)
    models = grouped(norm=False), grouped(norm=False)
    how = {"batch_size": 8, "method": "balanced"}
    for model, name, devices in zip(models, ("one", "two"), ((), DEVICES), strict=True):
        loop = sn.Loop(display=3, distribute=devices)
        sn.learn_groups(model, data, data, recipe, loop=loop, run=tmp_path / name, **how)
    for a, b in zip(*map(weights_of, models), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    logs = [(tmp_path / n / "metrics.jsonl").read_text().splitlines() for n in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) >= 4
