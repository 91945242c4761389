"""Whatever stands in a file that is read: what comes is a document or an error of ours.

A few examples by default; ``FUZZ_SECONDS=600 pytest tests/test_fuzz_loaders.py`` goes on, with new
random examples, for that long in all and prints how many there were.
"""

import json
import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splitnet_tf.errors import GroupingError, RunError, SplitNetError
from splitnet_tf.grouping import Grouping
from splitnet_tf.grouping.space_groups import SpaceGroups
from splitnet_tf.runs.json_lines import read_lines
from splitnet_tf.runs.run_folder import read_config
from splitnet_tf.storage.json_files import CHECKSUM, checksum, parse_json, read_json
from splitnet_tf.storage.keras_configs import check_config

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
BATCH = 2000
FEW = 60

GROUPING = Grouping(
    "m",
    (("a", 2), ("logits", 3)),
    "argmax",
    (
        SpaceGroups("a", ((0, 2), (1, 3, 4))),
        SpaceGroups("logits", ((0,), (2, 3), (1,))),
    ),
    "logits",
    ("w", "x", "ü", "z"),
)
CONFIG = {
    "model": "wrn-16-2",
    "epochs": 8,
    "initial_lr": 0.1,
    "splits": [["unit_3_0", 2], ["logits", 2]],
    "devices": ["/CPU:0"],
    "restart": False,
    "basemodel": None,
}
VALID = [GROUPING.to_json(), json.dumps({**CONFIG, CHECKSUM: checksum(CONFIG)}), json.dumps(CONFIG)]
LINES = b'{"step": 1, "loss": 0.5}\n{"step": 2, "loss": NaN, "a": "b"}\n'

odd = st.sampled_from(
    [0, 1, -1, 2**63, 10**400, -0.0, 1e308, float("nan"), float("inf"), True, None, "", "\0"]
    + ["\ud800", "a", "logits", "splitnet_tf.grouping", [], {}, [[]], [{}], {"": {}}]
    + [[0, 1], [[0, 1], [2, 3]], "Lambda", "keras", "keras.layers", "function", "__numpy__"]
)
leaves = st.one_of(odd, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
keys = st.one_of(
    st.sampled_from(["format", "version", "model", "method", "sections", "class_space"]),
    st.sampled_from(["class_names", "class_groups", "spaces", "name", "size", "members"]),
    st.sampled_from(["sha256", "step", "class_name", "config", "module", "registered_name"]),
    st.text(max_size=4),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)


@st.composite
def mutated(draw, valid):
    """A valid text with a few bytes cut, put in, doubled or changed."""
    content = bytearray(
        draw(st.sampled_from([v if isinstance(v, bytes) else v.encode() for v in valid]))
    )
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 12))
        piece = draw(
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from([b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\u0000", b"1e999"]),
                st.sampled_from([b"NaN", b"-", b"null", b"true", b"[" * 3000, b"9" * 5000]),
                st.builds(bytes, st.just(content[at : at + 40])),
            )
        )
        content[at : at + length] = piece
    return bytes(content)


@st.composite
def altered(draw, valid):
    """A valid document of which one place or more holds something else; its checksum right."""
    document = json.loads(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 3))):
        place, deeper = document, True
        while deeper:
            items = list(place) if isinstance(place, dict) else range(len(place))
            if not items:
                break
            key = draw(st.sampled_from(items))
            deeper = isinstance(place[key], (dict, list)) and draw(st.integers(0, 3)) > 0
            if deeper:
                place = place[key]
            elif draw(st.booleans()):
                place[key] = draw(values)
            else:
                del place[key]
    if draw(st.booleans()):
        document.pop(CHECKSUM, None)
    elif CHECKSUM in document:
        document[CHECKSUM] = checksum(document)
    return json.dumps(document).encode()


contents = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")),
    values.map(lambda v: json.dumps(v).encode()),
    mutated(VALID),
    altered(VALID),
    altered(VALID[:1]),
)


def one_sentence(error):
    text = str(error)
    assert text and "\n" not in text and len(text) < 1000, text
    text.encode("utf-8", "backslashreplace")


def grouping_from_text(content):
    try:
        grouping = Grouping.from_json(content.decode("utf-8", "surrogatepass"))
    except GroupingError as error:
        one_sentence(error)
    except UnicodeDecodeError:
        pass  # no text: ours
    else:
        again = Grouping.from_json(grouping.to_json())
        assert again == grouping
        assert len(grouping.class_groups()) == grouping.classes.num_groups
        assert all(len(s.labels()) == s.size for s in grouping.spaces)


def document(content):
    try:
        found = parse_json(content.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        pass
    except ValueError as error:
        one_sentence(error)
    else:
        assert isinstance(found, dict) and CHECKSUM not in found


def metrics_lines(content):
    for line, entry in read_lines(content):
        assert line in content and line.endswith(b"\n")
        assert isinstance(entry, dict) and 0 <= entry["step"] < 2**63


def model_config(content):
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return
    try:
        check_config(found)
    except ValueError as error:
        assert str(error)


def from_files(folder):
    def load(content):
        for name, read, ours in (
            ("grouping.json", Grouping.load, GroupingError),
            ("config.json", lambda path: read_config(path.parent), RunError),
            ("other.json", read_json, ValueError),
        ):
            path = folder / name
            path.write_bytes(content)
            try:
                read(path)
            except ours as error:
                assert str(error) and (isinstance(error, SplitNetError) or name == "other.json")
                if name == "grouping.json":
                    one_sentence(error)

    return load


def fuzz(check, strategy):
    """Runs ``check`` on examples: a few, or new ones until the time is over."""
    count = 0

    def body(content):
        nonlocal count
        count += 1
        check(content)

    def run(examples, derandomize):
        quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
        options = settings(
            max_examples=examples,
            deadline=None,
            derandomize=derandomize,
            database=None,
            suppress_health_check=quiet,
        )
        options(given(strategy)(body))()

    run(FEW, True)
    end = time.monotonic() + SECONDS / len(TARGETS)
    while SECONDS and time.monotonic() < end:
        run(BATCH, False)
    return count


TARGETS = {
    "grouping": (lambda _: grouping_from_text, contents),
    "files": (from_files, contents),
    "document": (lambda _: document, contents),
    "metrics": (lambda _: metrics_lines, st.one_of(contents, mutated([LINES]))),
    "model_config": (lambda _: model_config, contents),
}


@pytest.mark.timeout(max(600, SECONDS * 2))
@pytest.mark.parametrize("name", TARGETS)
def test_only_errors_of_ours(name, tmp_path):
    make, strategy = TARGETS[name]
    count = fuzz(make(tmp_path), strategy)
    assert count >= FEW
    if SECONDS:
        print(f"\nfuzz {name}: {count} examples", flush=True)
