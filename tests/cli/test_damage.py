"""One file of a run folder damaged at a time: it is named, or nothing comes of it."""

import json
import random
import re
import shutil

import pytest

from splitnet_tf.runs.checkpoints import list_checkpoints
from tests.cli.forked import run
from tests.cli.small_programs import COMMON, GROUP, SPLIT, same_files, same_weights, small_model

HOWS = ("cut all", "cut half", "cut last", "flip first", "flip last", *5 * ("flip any",))
MODELS = {"group": "grouped.keras", "split": "tree.keras"}
WORDS = re.compile("damaged|changed after|cut short|not valid|cannot be|must |not UTF-8|no setting")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A finished grouping, a finished split of it, and what an evaluation of that says."""
    folder = tmp_path_factory.mktemp("undisturbed")
    small_model(folder / "small.keras")
    for command in (
        train("group", folder / "group", folder),
        train("split", folder / "split", folder),
        evaluate(folder / "split", folder / "found.json"),
    ):
        code, printed = run(*command, folder / "out")
        assert code == 0, printed[-2000:]
    return folder


def train(program, train_dir, folder, base=None):
    if program == "group":
        more = [*GROUP, f"--model={folder / 'small.keras'}"]
    else:
        more = [*SPLIT, f"--basemodel={base or folder / 'group'}"]
    return program, [*COMMON, *more, f"--train_dir={train_dir}"]


def evaluate(base, output):
    return "evaluate", ["--dataset=planted", f"--basemodel={base}", f"--output_file={output}"]


def without_times(path):
    document = json.loads(path.read_text())
    for entry in document.values():
        if isinstance(entry, dict):
            entry.pop("seconds_per_image", None)
            entry.pop("model", None)
    return document


def damage(path, how, rng):
    content = bytearray(path.read_bytes())
    what, where = how.split()
    if what == "cut":
        content = content[: {"all": 0, "half": len(content) // 2, "last": len(content) - 1}[where]]
    else:
        at = {"first": 0, "last": len(content) - 1, "any": rng.randrange(len(content))}[where]
        content[at] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def checkpoints(folder):
    return [p for kind in ("step", "best") for p in list_checkpoints(folder / "checkpoints", kind)]


def read_by_the_next(program, copy, folder, tmp_path):
    """Runs what reads a folder of ``program``; how it ended, and a comparison of what it found."""
    following, found = tmp_path / "following", tmp_path / "found.json"
    shutil.rmtree(following, ignore_errors=True)
    if program == "group":
        command = train("split", following, folder, copy)
    else:
        command = evaluate(copy, found)

    def compare():
        if program == "group":
            same_weights(following / "tree.keras", folder / "split" / "tree.keras")
            same_files(following, folder / "split", ("metrics.jsonl", "result.json"))
        else:
            assert without_times(found) == without_times(folder / "found.json")

    return *run(*command, tmp_path / "out"), compare


def run_again(program, copy, folder, tmp_path):
    """Runs the program of a folder once more; how it ended, and a comparison of what it left."""
    kept = {p: p.read_bytes() for p in checkpoints(copy)}
    code, printed = run(*train(program, copy, folder), tmp_path / "out")
    assert not code or all(p.read_bytes() == content for p, content in kept.items())

    def compare():
        same_weights(copy / MODELS[program], folder / program / MODELS[program])
        same_files(copy, folder / program, ("grouping.json", "result.json"))

    return code, printed, compare


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("program", list(MODELS))
def test_a_damaged_file_is_named_or_harmless(undisturbed, tmp_path, program):
    rng, outcomes, copy = random.Random(3), [], tmp_path / "copy"
    whole = undisturbed / program
    files = sorted(p for p in whole.rglob("*") if p.is_file() and p.stat().st_size)
    for file, how in ((f.relative_to(whole), how) for f in files for how in HOWS):
        # Checkpoints and events are read by their own program alone.
        for reader in (read_by_the_next, run_again)[len(file.parts) > 1 :]:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(whole, copy)
            damage(copy / file, how, rng)
            code, printed, compare = reader(program, copy, undisturbed, tmp_path)
            about = f"{program}/{file}, {how}, {reader.__name__}"
            assert "Traceback" not in printed, (about, printed[-1500:])
            lines = [line for line in printed.splitlines() if file.name in line]
            named = any(WORDS.search(line) for line in lines)
            assert code == 0 or (code == 1 and named), (about, printed[-1500:])
            if code == 0:
                compare()
            outcomes.append("refused" if code else "named" if named else "harmless")
            print(f"{outcomes[-1]:9}{about}")
    counts = {kind: outcomes.count(kind) for kind in ("refused", "named", "harmless")}
    print(f"{program}: {len(outcomes)} cases, {counts}")
    assert counts["refused"] > 0 and counts["named"] > 0
