"""Model files: what they may name, and hold."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import splitnet_tf as sn
from splitnet_tf.errors import RunError
from splitnet_tf.storage.models import load_model

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Members of an honest file: a nested model, an operation, an array of indices."""
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="relu")], name="inner")
    inputs = keras.Input((4,))
    x = keras.ops.take(inner(inputs) + 1.0, np.array([2, 0, 1]), axis=-1)
    model = keras.Model(inputs, layers.Dense(2, name="out", kernel_regularizer="l2")(x))
    path = tmp_path_factory.mktemp("honest") / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write_keras(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def with_config(members, change):
    """The members with a changed config; ``change`` gets it and its last layer."""
    config = json.loads(members[CONFIG])
    change(config, next(x for x in config["config"]["layers"] if x["name"] == "out"))
    return {**members, CONFIG: json.dumps(config)}


def with_weights(members, change):
    buffer = io.BytesIO(members[WEIGHTS])
    with h5py.File(buffer, "r+") as file:
        change(file, file["layers/dense/vars"])
    return {**members, WEIGHTS: buffer.getvalue()}


def refused_model(path, match):
    with pytest.raises(RunError, match=match) as caught:
        load_model(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_honest_model_files_load(honest, tmp_path):
    x = np.ones((1, 4), np.float32)
    model = load_model(write_keras(tmp_path / "a.keras", honest))
    zipped_anew = write_keras(tmp_path / "b.keras", honest, zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(model(x), load_model(zipped_anew)(x))


def test_what_is_trained_loads_whatever_its_loss_was(tmp_path):
    def loss(y, p):
        return keras.ops.mean(y - p)

    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("adam", loss)
    model.save(tmp_path / "a.keras")
    load_model(tmp_path / "a.keras")


def test_models_of_this_package_load(tmp_path):
    model = sn.models.wide_resnet(depth=10, width=1, num_classes=4)
    grouped = sn.group_model(model, sn.SplitPlan.from_sections(model, [("logits", 2)]))
    tree = sn.split_model(grouped, sn.read_grouping(grouped, method="balanced"))
    grouped.save(tmp_path / "grouped.keras")
    tree.save(tmp_path / "tree.keras")
    assert load_model(tmp_path / "grouped.keras").count_params() == grouped.count_params()
    assert len(sn.SplitTree.load(tmp_path / "tree.keras").branches) == 2


def evil(config, module, registered=None, class_name="function", name="evil"):
    def change(_, layer):
        layer["config"]["activation"] = {
            "module": module,
            "class_name": class_name,
            "config": config,
            "registered_name": registered,
        }
        layer["config"]["name"] = name

    return change


def as_layer(class_name, config, module="keras.layers"):
    def change(_, layer):
        layer.update(
            {
                "module": module,
                "class_name": class_name,
                "registered_name": None,
                "config": {"name": "evil", **config},
            }
        )

    return change


CODE = {
    "class_name": "__lambda__",
    "config": {"value": ["4wAAAA==", None, None]},
}
LAMBDA_MODULE = layers.Lambda.__module__


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            as_layer("Lambda", {"function": CODE}),
            "layer 'evil' is a Lambda layer, which holds code",
        ),
        (as_layer("Lambda", {"function": CODE}, LAMBDA_MODULE), "Lambda layer, which holds code"),
        (as_layer("TFSMLayer", {"filepath": "/tmp/x"}), "TFSMLayer layer, which holds code"),
        (as_layer("TorchModuleWrapper", {"module": {}}), "holds code"),
        (as_layer("StringLookup", {"vocabulary": "/etc/passwd"}), "reads other files"),
        (
            as_layer("Popen", {"args": ["true"]}, "subprocess"),
            "'subprocess.Popen', which is neither",
        ),
        (as_layer("deserialize_keras_object", {}, "keras.saving"), "which is neither"),
        (as_layer("Model", {}, "keras_hub.models"), "'keras_hub.models.Model', which is neither"),
        (as_layer("_Hidden", {}, "keras.layers"), "which is neither"),
        (as_layer(3, {}), "a class that is no name"),
        (evil("system", "os", "system"), "layer 'evil' is a 'os.system', which is neither"),
        (evil("eval", "builtins", "eval"), "'builtins.eval', which is neither"),
        (evil("get_file", "keras.utils", "get_file"), "'keras.utils.get_file', which is neither"),
        (evil("get_file", "keras.utils", "splitnet_tf>SplitLosses"), "get_file', which is neither"),
        (evil("enable_unsafe_deserialization", "keras.config"), "which is neither"),
        (evil({"value": "x"}, None, class_name="__lambda__"), "holds a lambda, which is code"),
        (evil(["s"], "tensorflow", class_name="__typespec__"), "neither of Keras"),
        (
            evil({"value": ["x"], "dtype": "S1000000000"}, None, class_name="__numpy__"),
            "an array that is not of numbers",
        ),
        (evil("hostile>act", "hostile", "hostile>act"), "'hostile>act' .*, which is neither"),
    ],
)
def test_a_model_file_names_only_keras_and_this_package(honest, tmp_path, change, match):
    refused_model(write_keras(tmp_path / "a.keras", with_config(honest, change)), match)


@pytest.mark.parametrize("key", ["name", "keras_history", "anything"])
def test_code_is_found_wherever_it_hides(honest, tmp_path, key):
    def change(config, layer):
        layer["config"]["kernel_initializer"]["config"] = {key: [{"x": {"y": [CODE]}}]}

    refused_model(write_keras(tmp_path / "a.keras", with_config(honest, change)), "lambda")


def test_what_others_registered_is_not_called_by_a_file(honest, tmp_path):
    """Neither as a class nor by a string alone; only if the caller says so."""

    @keras.saving.register_keras_serializable(package="hostile_files")
    def double(x):
        return 2 * x

    def as_string(_, layer):
        layer["config"]["activation"] = "hostile_files>double"

    as_class = evil("hostile_files>double", "tests", "hostile_files>double", name="out")
    for change in (as_string, as_class):
        path = write_keras(tmp_path / "a.keras", with_config(honest, change))
        refused_model(path, "'hostile_files>double'")
    model = load_model(path, {"hostile_files>double": double})
    assert model.get_layer("out").activation is double


def test_a_file_that_is_no_model_is_refused(honest, tmp_path):
    relu = {"module": "keras.layers", "class_name": "ReLU", "config": {"name": "relu"}}
    deep = json.dumps({**relu, "config": json.loads("[" * 400 + "]" * 400)})
    for config, match in (
        (json.dumps(relu), "holds a ReLU, no model"),
        ("[]", "describes no model"),
        ("{", "not valid JSON"),
        ("[" * 10**6, "nested too deeply"),
        (deep, "nested more than 100"),
    ):
        refused_model(write_keras(tmp_path / "a.keras", {**honest, CONFIG: config}), match)


@pytest.mark.parametrize("name", ["../evil", "/evil", "assets/vocabulary.txt", "evil.py"])
def test_other_members_are_refused(honest, tmp_path, name):
    refused_model(write_keras(tmp_path / "a.keras", {**honest, name: b"x"}), "none that Keras")
    assert not (tmp_path.parent / "evil").exists()


def test_a_missing_or_doubled_member_is_refused(honest, tmp_path):
    path = write_keras(tmp_path / "a.keras", {k: v for k, v in honest.items() if k != WEIGHTS})
    refused_model(path, "one model.weights.h5 but holds 0")
    write_keras(path, honest)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(CONFIG, "{}")
    refused_model(path, "one config.json but holds 2")


@pytest.mark.parametrize("name", [CONFIG, METADATA, WEIGHTS])
def test_a_decompression_bomb_is_refused(honest, tmp_path, name):
    bomb = {**honest, name: b" " * (65 * 2**20)}
    path = write_keras(tmp_path / "a.keras", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    refused_model(path, f"{name} of .* unpacks to 68157440")


def test_a_damaged_model_file_is_refused(honest, tmp_path):
    path = write_keras(tmp_path / "a.keras", honest)
    content = path.read_bytes()
    for where in (content.index(b'"kernel_initializer"') + 3, content.index(b"\x89HDF") + 999):
        path.write_bytes(content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :])
        refused_model(path, "damaged")
    for damaged in (content[:-30], content[: len(content) // 2], b"", b"PK\x05\x06" * 9):
        path.write_bytes(damaged)
        refused_model(path, "damaged")


def external_link(file, group):
    del group["0"]
    group["0"] = h5py.ExternalLink("/etc/passwd", "x")


def soft_link(file, group):
    del group["0"]
    group["0"] = h5py.SoftLink("/layers/dense/vars/1")


def hard_link(file, group):
    del group["0"]
    group["0"] = group["1"]


def external_storage(file, group):
    del group["0"]
    group.create_dataset("0", (3, 2), "f4", external=[("/etc/passwd", 0, 24)])


def virtual(file, group):
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (3, 2))
    del group["0"]
    group.create_virtual_dataset("0", layout)


def shape_bomb(file, group):
    del group["0"]
    group.create_dataset("0", (2**16, 2**16), "f4")


def compressed_bomb(file, group):
    del group["0"]
    group.create_dataset("0", data=np.zeros((2**10, 2**10)), compression="gzip")


def objects(file, group):
    del group["0"]
    group.create_dataset("0", data=["a", "b"])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (external_link, "ExternalLink"),
        (soft_link, "SoftLink"),
        (hard_link, "two names for one object"),
        (external_storage, "in another file"),
        (virtual, "in another file"),
        (shape_bomb, "say that they are 17179869"),
        (compressed_bomb, "compressed"),
        (objects, "no numbers"),
    ],
)
def test_weights_are_plain_arrays_in_the_file_itself(honest, tmp_path, change, match):
    refused_model(write_keras(tmp_path / "a.keras", with_weights(honest, change)), match)
