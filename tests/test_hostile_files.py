"""Files from strangers: every hostile one is refused with a sentence, the honest ones are not.

Each file is made here. A file that would run code when it is believed writes a marker; no test
may find it.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import random
import tarfile
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import download_cifar100
import splitnet_tf as sn
from splitnet_tf.data import archive
from splitnet_tf.errors import CheckpointError, DataError, GroupingError, RunError
from splitnet_tf.grouping import Grouping
from splitnet_tf.saving import load_model
from splitnet_tf.training.checkpoints import read_checkpoint
from splitnet_tf.training.run_directory import read_config

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


class Bomb:
    """Writes a marker when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


# --- model files -------------------------------------------------------------------------------


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


# --- the archive of CIFAR-100 ------------------------------------------------------------------


def add(tar, name, content=b"", **attributes):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in attributes.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


def names_of(count):
    return "".join(f"name_{i}\n" for i in range(count)).encode()


def check(path, **changes):
    """Past the checksum, as if the official one were the file's."""
    content = path.read_bytes()
    given = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), **changes}
    archive.check_archive(path, **given)


def refused_archive(path, match, **changes):
    with pytest.raises(DataError, match=match) as caught:
        check(path, **changes)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def small_format(monkeypatch):
    """The binary format with fewer images, so that every file is made in no time."""
    monkeypatch.setattr(archive, "IMAGES", {"train.bin": 4, "test.bin": 2})
    monkeypatch.setattr(archive, "_CHUNK", 2)
    monkeypatch.setattr(archive, "MAX_UNPACKED", 2**20)


def write_archive(path, leave_out=(), more=lambda tar: None, first=lambda tar: None):
    with tarfile.open(path, "w:gz") as tar:
        first(tar)
        add(tar, "cifar-100-binary", type=tarfile.DIRTYPE)
        for name, count in archive.IMAGES.items():
            if name not in leave_out:
                add(tar, f"cifar-100-binary/{name}", bytes(count * archive.RECORD))
        for name, count in archive.NAMES.items():
            if name not in leave_out:
                add(tar, f"cifar-100-binary/{name}", names_of(count))
        more(tar)
    return path


def test_the_honest_archive_is_accepted(small_format, tmp_path):
    check(write_archive(tmp_path / "c.tar.gz"))


def test_an_archive_of_full_size_is_accepted(tmp_path):
    path = tmp_path / "c.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, count in archive.IMAGES.items():
            add(tar, f"cifar-100-binary/{name}", bytes(count * archive.RECORD))
        for name, count in archive.NAMES.items():
            add(tar, f"cifar-100-binary/{name}", names_of(count))
    check(path)


def test_what_is_not_the_official_archive_is_refused(small_format, tmp_path):
    path = write_archive(tmp_path / "c.tar.gz")
    refused_archive(path, "its sha256 is .* the official one 00", sha256="0" * 64)
    refused_archive(path, "bytes, the official one 7", size=7)
    official = r"bytes, the official one 168513733; take cifar-100-binary.tar.gz"
    with pytest.raises(DataError, match=official):
        download_cifar100.download(str(tmp_path / "data"), str(path))
    assert not (tmp_path / "data" / "cifar100").exists()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        download_cifar100.download(str(tmp_path / "data"), str(tmp_path / "none.tar.gz"))


def test_a_pickle_bomb_posing_as_cifar_is_refused(small_format, tmp_path, marker):
    bomb = pickle.dumps(Bomb(marker))
    path = tmp_path / "cifar-100-binary.tar.gz"
    path.write_bytes(bomb)
    refused_archive(path, "no gzip file")
    path.write_bytes(gzip.compress(bomb))
    refused_archive(path, "ReadError")
    write_archive(path, ["train.bin"], lambda t: add(t, "cifar-100-binary/train.bin", bomb))
    refused_archive(path, f"'cifar-100-binary/train.bin' has {len(bomb)} bytes, not 4 x 3074")
    padded = bomb.ljust(4 * archive.RECORD, b".")
    write_archive(path, ["train.bin"], lambda t: add(t, "cifar-100-binary/train.bin", padded))
    refused_archive(path, "labels that are none")
    write_archive(path, first=lambda t: add(t, "cifar-100-python/train", bomb))
    refused_archive(path, "holds pickles, which are never read; take cifar-100-binary")
    path = path.rename(tmp_path / "cifar-100-python.tar.gz")
    refused_archive(path, "holds pickles, which are never read; take cifar-100-binary")


FOLDER = "cifar-100-binary"


@pytest.mark.parametrize(
    ("name", "attributes", "match"),
    [
        ("../evil", {}, "OutsideDestinationError"),
        ("cifar-100-binary/../../evil", {}, "OutsideDestinationError"),
        ("/tmp/evil", {}, "'/tmp/evil' is none|AbsolutePathError|OutsideDestination"),
        (f"{FOLDER}/train.bin", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "Absolute"),
        (f"{FOLDER}/train.bin", {"type": tarfile.SYMTYPE, "linkname": "../../x"}, "Outside"),
        (f"{FOLDER}/train.bin", {"type": tarfile.SYMTYPE, "linkname": "test.bin"}, "is none of"),
        (f"{FOLDER}/train.bin", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}, "Absolute"),
        (f"{FOLDER}/train.bin", {"type": tarfile.LNKTYPE, "linkname": "x"}, "is none of"),
        (f"{FOLDER}/train.bin", {"type": tarfile.CHRTYPE, "devmajor": 1}, "SpecialFileError"),
        (f"{FOLDER}/train.bin", {"type": tarfile.BLKTYPE, "devmajor": 8}, "SpecialFileError"),
        (f"{FOLDER}/train.bin", {"type": tarfile.FIFOTYPE}, "SpecialFileError"),
        (f"{FOLDER}/evil.sh", {}, "is none of the binary format"),
        ("train.bin", {}, "is none of the binary format"),
        (f"{FOLDER}/sub", {"type": tarfile.DIRTYPE}, "is none of the binary format"),
    ],
)
def test_members_that_are_not_of_the_format_are_refused(
    small_format, tmp_path, name, attributes, match
):
    before = sorted(tmp_path.parent.iterdir())
    path = tmp_path / "c.tar.gz"
    refused_archive(write_archive(path, first=lambda t: add(t, name, **attributes)), match)
    assert sorted(tmp_path.iterdir()) == [path] and sorted(tmp_path.parent.iterdir()) == before


def test_a_decompression_bomb_in_an_archive_is_refused(small_format, tmp_path):
    path = tmp_path / "c.tar.gz"
    bomb = bytes(8 * 2**20)
    names = f"{FOLDER}/fine_label_names.txt"
    write_archive(path, ["fine_label_names.txt"], lambda t: add(t, names, bomb))
    assert path.stat().st_size < 2**15
    refused_archive(path, "more than 4096")
    write_archive(path, first=lambda t: add(t, "././@LongLink", bomb, type=b"L"))
    refused_archive(path, "unpacks to more than CIFAR-100 has")
    path.write_bytes(write_archive(path).read_bytes() + gzip.compress(bomb))
    refused_archive(path, "unpacks to more than CIFAR-100 has")


def test_an_incomplete_archive_is_refused(small_format, tmp_path):
    path = write_archive(tmp_path / "c.tar.gz", ["test.bin"])
    refused_archive(path, "it lacks test.bin")
    again = f"{FOLDER}/train.bin"
    write_archive(path, more=lambda t: add(t, again, bytes(4 * archive.RECORD)))
    refused_archive(path, "is none of the binary format")
    names = f"{FOLDER}/fine_label_names.txt"
    for content in (names_of(99), b"\xff\n" * 100, b"a b\n" * 100):
        write_archive(path, ["fine_label_names.txt"], lambda t, c=content: add(t, names, c))
        refused_archive(path, "100 names|UnicodeDecodeError")


def test_a_damaged_archive_is_refused_and_nothing_else_happens(small_format, tmp_path):
    path = write_archive(tmp_path / "c.tar.gz")
    whole = gzip.decompress(path.read_bytes())
    rng = random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole[: rng.choice([len(whole), rng.randrange(len(whole))])])
        for _ in range(rng.randrange(1, 8)):
            member = rng.choice([0, 512, 1024 + 12296 + 248])
            damaged[min(member + rng.randrange(512), len(damaged) - 1)] = rng.randrange(256)
        path.write_bytes(gzip.compress(bytes(damaged), 1)[: rng.choice([None, -9])])
        try:
            check(path)
        except DataError:
            refused += 1
    assert refused > 100


# --- checkpoints -------------------------------------------------------------------------------


def write_checkpoint(folder, save, **arrays):
    """With the checksum that belongs to it in its name."""
    buffer = io.BytesIO()
    state = np.frombuffer(b"{}", np.uint8)
    save(buffer, trainer_state=state, **arrays)
    content = buffer.getvalue()
    path = folder / f"step-00000001-{hashlib.sha256(content).hexdigest()[:16]}.npz"
    path.write_bytes(content)
    return path


def test_an_honest_checkpoint_is_read(tmp_path):
    (array,), state = read_checkpoint(write_checkpoint(tmp_path, np.savez, a=np.arange(3)))
    assert array.tolist() == [0, 1, 2] and state == {}


def test_object_arrays_in_a_checkpoint_are_refused(tmp_path, marker):
    bomb = np.array([Bomb(marker)], object)
    path = write_checkpoint(tmp_path, np.savez, a=bomb)
    with pytest.raises(CheckpointError, match="is not one of this program"):
        read_checkpoint(path)


# --- JSON --------------------------------------------------------------------------------------


def grouping_document(**changes):
    return {
        "format": "splitnet_tf.grouping",
        "version": 1,
        "model": "m",
        "method": "argmax",
        "sections": [["logits", 2]],
        "class_space": "logits",
        "class_names": None,
        "spaces": [{"name": "logits", "size": 4, "members": [[0, 1], [2, 3]]}],
        **changes,
    }


def refused_json(tmp_path, write, match):
    """As a grouping and as the settings of a run: each with its own error."""
    for name, load, error in (
        ("grouping.json", lambda path: Grouping.load(path), GroupingError),
        ("config.json", lambda path: read_config(path.parent), RunError),
    ):
        path = tmp_path / name
        write(path)
        with pytest.raises(error, match=match) as caught:
            load(path)
        assert name in str(caught.value) and "\n" not in str(caught.value)
        path.unlink()


def test_a_json_file_of_a_gigabyte_is_refused_unread(tmp_path):
    def write(path):
        with open(path, "wb") as file:
            file.write(b"[" * 1000)
            file.truncate(2**30)

    refused_json(tmp_path, write, "larger than 64 MiB")


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"a":[{"b":'])
def test_json_nested_without_end_is_refused(tmp_path, opening):
    text = opening * (10**6)
    refused_json(tmp_path, lambda path: path.write_text(text), "nested too deeply")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"[1, 2]", "must hold a JSON object"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a": 1, "sha256": "0000000000000000"}', "changed after it was written"),
        (b'{"a": 1, "sha256": {"x": []}}', "changed after it was written"),
        (pickle.dumps({"a": 1}), "not UTF-8|not valid JSON"),
    ],
)
def test_other_bytes_are_refused(tmp_path, content, match):
    refused_json(tmp_path, lambda path: path.write_bytes(content), match)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    for name in ("grouping.json", "config.json"):
        (tmp_path / name).mkdir()
    with pytest.raises(GroupingError, match="cannot be read: Is a directory"):
        Grouping.load(tmp_path / "grouping.json")
    with pytest.raises(RunError, match="cannot be read: Is a directory"):
        read_config(tmp_path)


def space(members, size=4, name="logits"):
    return {"spaces": [{"name": name, "size": size, "members": members}]}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (space([[0, 1], [2, 4]]), "every index from 0 to 3 once; repeated: none, missing: .3."),
        (space([[0, 1], [2, -1]]), "every index from 0 to 3 once"),
        (space([[0, 1], [2, 10**400]]), "every index from 0 to 3 once"),
        (space([[0, 1], [2, 2]]), "repeated: .2."),
        (space([[0, 1, 2, 3], []]), "is empty"),
        (space([[0, 1], [2, 3]], size=10**9), "says size 1000000000"),
        (space([[0, 1], [2, 3.0]]), "must be of type int"),
        (space([[0, 1], [2, True]]), "must be of type int"),
        (space([[0, 1], {"2": 3}]), "must be of type list"),
        (space([[0, 1], [2, 3]], name=None), "'spaces.name' must be of type str"),
        ({"spaces": 7}, "'spaces' must be of type list"),
        ({"spaces": [7]}, "each of 'spaces' must be an object"),
        ({"spaces": []}, "no space 'logits'"),
        ({"class_space": "other"}, "no space 'other'"),
        ({"class_names": ["a"]}, "4 classes but 1 class names"),
        ({"sections": [["logits"]]}, "each of 'sections'"),
        ({"sections": [["logits", 0]]}, "must have one group or more"),
        ({"version": [1]}, "'version' is"),
        ({"version": "1" * 10**6}, "'version' is '1{39}; this"),
        (space([[0, 1], [2, 3]], name="a\nb"), "must be a name of at most 200"),
        (space([[0, 1], [2, 3]], name="a" * 10**6), "must be a name of at most 200"),
        ({"format": "pickle"}, "not a grouping file"),
    ],
)
def test_a_grouping_out_of_range_is_refused(tmp_path, changes, match):
    path = tmp_path / "grouping.json"
    path.write_text(json.dumps(grouping_document()))
    assert Grouping.load(path).classes.size == 4
    path.write_text(json.dumps(grouping_document(**changes)))
    with pytest.raises(GroupingError, match=match):
        Grouping.load(path)


def test_a_grouping_with_many_repetitions_is_refused_at_once(tmp_path):
    path = tmp_path / "grouping.json"
    path.write_text(json.dumps(grouping_document(**space([[0] * 10**6, [1]], size=10**6 + 1))))
    with pytest.raises(GroupingError, match="repeated: .0."):
        Grouping.load(path)


@pytest.mark.parametrize("value", [{"a": 1}, [[1]], [{"a": 1}]])
def test_settings_that_are_none_are_refused(tmp_path, value):
    (tmp_path / "config.json").write_text(json.dumps({"epochs": value}))
    with pytest.raises(RunError, match="'epochs' is no setting"):
        read_config(tmp_path)
