"""A grouping does not go on from other files than it began with."""

import json

from tests.cli.small_programs import COMMON, GROUP, run, small_model

NAMES = [f"group{g}-{k}" for g in (0, 1) for k in range(4)]


def test_a_changed_taxonomy_is_refused(tmp_path):
    small_model(tmp_path / "small.keras")
    tree = tmp_path / "tree.json"
    tree.write_text(json.dumps({"a": NAMES[:4], "b": NAMES[4:]}))
    command = [
        *(*COMMON, *GROUP, f"--grouping={tree}"),
        *(f"--model={tmp_path / 'small.keras'}", f"--train_dir={tmp_path / 'group'}"),
    ]
    code, printed = run("group", command, tmp_path / "out")
    assert code == 0, printed[-2000:]
    before = (tmp_path / "group" / "grouping.json").read_bytes()
    tree.write_text(json.dumps({"a": NAMES[::2], "b": NAMES[1::2]}))
    code, printed = run("group", command, tmp_path / "out")
    assert code == 1 and "was made with other settings (given_digest" in printed
    assert (tmp_path / "group" / "grouping.json").read_bytes() == before
