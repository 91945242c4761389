"""The whole method on networks of other kinds: groups in units, text, attention."""

import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from tests.conftest import to_numpy

CLASSES, WORDS = 8, 24


def resnext():
    """A block with a convolution of eight groups and a group norm; cut below it."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, 2, padding="same", activation="relu", name="stem")(inputs)
    y = layers.Conv2D(16, 1, use_bias=False, name="narrow")(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.Conv2D(16, 3, 2, groups=8, padding="same", name="joint")(y)
    y = layers.Conv2D(32, 1, name="wide")(layers.ReLU()(layers.GroupNormalization(8)(y)))
    x = layers.Conv2D(32, 1, 2, name="shortcut")(x)
    x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(pooled(x)))


def text():
    inputs = keras.Input((12,), dtype="int32")
    x = layers.LSTM(24)(layers.Embedding(WORDS, 16)(inputs))
    x = layers.Dense(24, activation="relu", name="dense")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x))


def transformer():
    inputs = keras.Input((16, 16, 3))
    x = layers.Reshape((16, 24))(layers.Conv2D(24, 4, 4, name="patches")(inputs))
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(2, 12)(y, y)
    y = layers.Dense(32, activation="gelu", name="mlp")(layers.LayerNormalization()(x))
    x = pooled(x + layers.Dense(24, name="mlp_out")(y))
    x = layers.Dense(32, activation="relu", name="dense")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x))


def pooled(x):
    kind = layers.GlobalAveragePooling2D if len(x.shape) == 4 else layers.GlobalAveragePooling1D
    return kind()(x)


def sentences(count, seed):
    """Word ids: two words of each class among others, in any places."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    ids = rng.integers(2 * CLASSES, WORDS, (count, 12))
    for k in range(2):
        ids[np.arange(count), rng.integers(6 * k, 6 * k + 6, count)] = 2 * labels + k
    return ids.astype("int32"), labels.astype("int32")


def accuracy(model, data):
    return np.mean(model.predict(data[0], verbose=0).argmax(axis=1) == data[1])


NETWORKS = {
    "resnext": (resnext, [("narrow", 2)]),
    "text": (text, [("dense", 2)]),
    "transformer": (transformer, [("dense", 2)]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_grouped_trained_cut_and_finetuned(name, arrays, tmp_path):
    make, sections = NETWORKS[name]
    data = arrays if name != "text" else [sentences(n, i) for i, n in enumerate((1280, 160, 160))]
    train, valid, test = data
    keras.utils.set_random_seed(1)
    model = make()
    model.compile(keras.optimizers.Adam(5e-3), sn.CrossEntropy())
    model.fit(*train, epochs=8, batch_size=32, verbose=0)
    grouped = sn.group_model(model, sections, seed=0)
    assert accuracy(grouped, test) == accuracy(model, test) > 0.5  # 0.125 by chance
    how = {"rate": 5e-3, "l2": 0.0, "optimizer": "adamw"}
    recipe = sn.GroupingRecipe(epochs=4, warmup_epochs=0, final_rate=1e-3, **how)
    learned = sn.learn_groups(grouped, train, valid, recipe, method="balanced")
    phase = sn.Phase(epochs=1, **{**how, "rate": 2e-3})
    found = sn.split(grouped, learned.grouping, train, valid, test, phase)
    assert learned.off_block_energy < 0.02
    measured = found.result.test_accuracy
    assert measured["finetuned"] > measured["before"] - 0.06
    found.tree.save(tmp_path / "tree.keras")
    loaded = keras.models.load_model(tmp_path / "tree.keras")
    np.testing.assert_allclose(
        to_numpy(loaded(test[0])), to_numpy(found.tree.model(test[0])), rtol=1e-5, atol=1e-5
    )
    assert accuracy(loaded, test) == pytest.approx(measured["finetuned"])
