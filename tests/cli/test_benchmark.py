"""The benchmark of the parts of the work, and which flags are for which cases."""

import json
import re

import keras
import numpy as np
import pytest

import splitnet_tf as sn
from experiments.table5 import SCALES
from splitnet_tf.benchmarks.parts import CASES, measure_parts, precision_steps
from splitnet_tf.cli.benchmark import DEVICES, READS, refuse_ignored
from tests.cli.forked import start
from tests.cli.test_flags import flags_of
from tests.test_readme import commands

EVERY_CASE = {"model", "image_size", "num_classes", "repeats", "cases", "format", "output_file"}


@pytest.fixture
def run(tmp_path):
    """The document of a benchmark of a small model."""

    def run(*arguments):
        out, err = tmp_path / "stdout", tmp_path / "stderr"
        common = ("--model=mlp", "--image_size=8", "--num_classes=12", "--format=json")
        process = start("benchmark", [*common, *arguments], out, err)
        process.join()
        assert process.exitcode == 0, err.read_text()[-2000:]
        return json.loads(out.read_text())

    return run


def test_parts_of_the_work(run):
    document = run(
        "--cases=grouping_step,sparse_step,bfloat16_step,split_forward,take_forward,input_pipeline",
        *("--splits=2-2", "--batch_size=4"),
    )
    timed = {
        row["case"]: [name for name, value in row.items() if isinstance(value, dict)]
        for row in document["cases"]
    }
    assert timed == {
        "grouping_step": ["plain", "grouped"],
        "sparse_step": ["plain", "sparse"],
        "bfloat16_step": ["float32", "bfloat16"],
        "split_forward": ["plain", "split"],
        "take_forward": ["sorted", "taken"],
        "input_pipeline": ["step", "batch"],
    }
    for row in document["cases"]:
        first, second = (row[name]["seconds"] for name in timed[row["case"]])
        ratios = sorted(b / a for a, b in zip(first, second, strict=True))
        assert row["ratio"] == ratios[1] > 0 and len(ratios) == 3
    assert 0.5 < document["cases"][3]["flops_ratio"] < 1


def test_one_step_computes_in_bfloat16_and_the_other_in_float32():
    keras.utils.set_random_seed(2)
    model = sn.models.mlp((64,), 12, (8, 8, 3))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(16, 8, 8, 3)).astype("float32")
    labels = rng.integers(0, 12, 16).astype("int32")
    found = {
        n: float(s(images, labels, 0.1)["cross_entropy"]) for n, s in precision_steps(model).items()
    }
    logits = model(images).numpy().astype(float)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    exact = -np.log(shares[np.arange(16), labels]).mean()
    assert found["float32"] == pytest.approx(exact, rel=1e-5)
    assert 1e-4 < abs(found["bfloat16"] - exact) < 0.1


def test_what_a_case_does_not_read_is_not_reported(run):
    document = run("--cases=input_pipeline", "--batch_size=4")
    assert (document["splits"], document["batch_size"]) == (None, 4)


def test_parts_print_as_a_table():
    found = measure_parts(
        sn.models.mlp((8, 8), 4, (8, 8, 3)), ["conversion"], "2-2", batch_size=None
    )
    text = str(found)
    assert text.startswith("mlp, 2-2, 3 interleaved rounds on ")
    assert "conversion: convert against clone" in text
    assert found.to_document()["cases"][0]["model_bytes"] == 4 * (192 * 8 + 8 + 64 + 8 + 32 + 4)


def test_every_flag_is_for_some_case():
    """A new flag must be entered in one or the other."""
    assert set(READS) == {DEVICES, "shrunk", "pictures", "peers", *CASES}
    assert set(flags_of("benchmark")) == EVERY_CASE | {f for read in READS.values() for f in read}


def test_documented_commands_give_only_flags_with_an_effect():
    found = [c for _, c in commands() if re.match(r"splitnet-|python -m splitnet_tf\.cli\.", c)]
    found = [c for c in found if re.search(r"[.-]benchmark ", c)]
    found += (" ".join(words) for words in SCALES.values())
    assert len(found) >= 4 + len(SCALES)
    for command in found:
        given = re.findall(r"--([a-z_]+)", command)
        cases = re.findall(r"--cases=(\S+)", command) or [DEVICES]
        refuse_ignored(cases[0].split(","), given)
