"""docs/results.md says what the rows say, and nothing else."""

import numpy as np

from experiments import results
from experiments.collect import (
    CIFAR100,
    PUBLISHED,
    ROWS,
    TABLE5,
    collect,
    is_of_today,
    read_comparisons,
    read_rows,
    read_table5,
)
from experiments.recipe import SCALES, recipe_document
from experiments.row import SETTINGS, Row, folder_of, row_of
from experiments.sensitivity import points
from experiments.variants import recipe_of
from splitnet_tf.storage.json_files import read_json, write_json


def made(split, seed, error, variant="", scale="small", **more):
    return {
        "row": Row(scale, split, seed, variant).document(),
        "recipe": recipe_document(SCALES[scale]),
        "data": "cifar100",
        "data_digest": CIFAR100,
        "error": error,
        "valid_error": error + 0.01,
        "params": 701_000,
        "flops": 202_000_000,
        "seconds": {"group": 60.0, "finetune": 120.0},
        "backend": "tensorflow",
        "device": "2 x some processor",
        "precision": "float32",
        "moved": {"classes": 0.25, "features": 0.5},
        **more,
    }


def cells(text, start):
    (line,) = [x for x in text.splitlines() if x.startswith(f"| {start} |")]
    return [c.strip() for c in line.strip("|").split("|")]


def test_rows_become_means_and_deviations_beside_the_papers_figures():
    errors = [0.4, 0.42, 0.47]
    rows = [made("baseline", s, e) for s, e in enumerate(errors)]
    cut = {"error_after_cut": 0.9, "error_after_cut_recalibrated": 0.65}
    rows += [
        made("deep", s, e + 0.03, error_before=0.7, error_before_recalibrated=0.6, **cut)
        for s, e in enumerate(errors)
    ]
    text = results.document({"small": rows}, {}, [], "Remarks.")
    mean, deviation = 100 * np.mean(errors), 100 * np.std(errors, ddof=1)
    found = cells(text, "baseline")
    assert found[:4] == ["baseline", "1-1-1", "3", f"{mean:.2f} ± {deviation:.2f}"]
    assert found[4:8] == ["-"] * 4 and found[10] == "0.7010 ± 0.0000"
    assert found[-3:] == ["24.28", "11.00", "3.10"]
    found = cells(text, "deep")
    assert found[3].startswith(f"{mean + 3:.2f}")
    assert found[4:8] == [f"{e}.00 ± 0.00" for e in (70, 60, 90, 65)]
    assert found[8:10] == ["25 ± 0", "50 ± 0"]
    assert "Remarks." in text and "seeds 0, 1, 2" in text and "some processor" in text
    how = "python -m experiments.table2 --scale=small --seeds=0,1,2 --rows=baseline,deep"
    assert f"```sh\n{how}\n```" in text


def test_sweeps_are_not_in_the_tables():
    rows = [made("deep", 0, 0.5, scale="sweep"), made("baseline", 0, 0.45, scale="sweep")]
    rows += [
        made("deep", 0, e, scale="sweep", variant=f"pace={v}") for v, e in ((32, 0.6), (1, 0.7))
    ]
    rows += [made("deep", 0, 0.8, scale="sweep", variant="start=random")]
    collapsed = made("deep", 0, 0.8, scale="sweep", variant="gamma1=10.0", collapsed="Empty.")
    del collapsed["error"], collapsed["valid_error"], collapsed["moved"]
    assert list(points(rows)) == ["pace", "start"] and list(points(rows)["pace"]) == ["1", "32"]
    text = results.document({"sweep": [*rows, collapsed]}, {}, [], "")
    assert "Table 2" not in text
    how = "python -m experiments.sweep --scale=sweep --seeds=0 --settings="
    assert f"\n{how}start,pace,gamma1\n" in text
    assert "| whole network |  | 1 | -5.00 | 46.00 | - |" in text
    assert "| as it is |  | 1 | 0.00 | 51.00 | - |" in text
    assert "| `pace` | 1 instead of 8.0 | 1 | 20.00 | 71.00 |" in text
    assert "| `start` | random instead of clustering | 1 | 30.00 | 81.00 |" in text
    assert "| `gamma1` | 10.0 instead of 1.0 | 1, 1 collapsed | - | - | - |" in text
    assert "Sensitivity" not in results.document({"sweep": rows[1:]}, {}, [], "")
    more = [made("deep", s, 0.2, scale="sweep") for s in (1, 2)]  # of the gap's program
    assert results.document({"sweep": [*rows, *more, collapsed]}, {}, [], "") == text
    assert "Differences below 2.0 points" in text


def test_the_gap_is_taken_seed_by_seed():
    def three(seed, whole, tree, variant=""):
        recipe = {"recipe": recipe_document(recipe_of("sweep", variant))}
        more = {"scale": "sweep", "variant": variant, **recipe}
        found = {
            "baseline": (whole, 80_000),
            "slim": (whole + 0.01, 45_000),
            "deep": (tree, 44_000),
        }
        return [made(k, seed, e, params=params, **more) for k, (e, params) in found.items()]

    rows = [*three(0, 0.5, 0.57), *three(1, 0.52, 0.58)]
    rows += three(0, 0.4, 0.42, "width=4") + three(0, 0.45, 0.5, "longer=2")
    rows += [made("baseline", 2, 0.1, scale="sweep")]  # has no tree
    text = results.document({"sweep": rows}, {}, [], "")
    assert "Sensitivity" not in text
    assert "experiments.sweep --scale=sweep --seeds=0,1,2 --settings=width,longer\n" in text
    rows += three(3, 0.1, 0.9, "pace=1")  # of the sweep
    assert list(points(rows)) == ["pace"]
    text = results.document({"sweep": rows}, {}, [], "")
    assert "experiments.sweep --scale=sweep --seeds=0,1,2 --settings=width,longer\n" in text
    assert (
        "| WRN-10-1 | 6 | 2 | 51.00 | 52.00 | 57.50 | 6.50 | 5.50 | 0.080 | 0.045 | 0.044 |" in text
    )
    assert "| WRN-10-1 | 12 | 1 | 45.00 | 46.00 | 50.00 | 5.00 | 4.00 |" in text
    assert "| WRN-10-4 | 6 | 1 | 40.00 | 41.00 | 42.00 | 2.00 | 1.00 |" in text


def test_rows_of_other_backends_are_not_averaged():
    rows = [made("baseline", 0, 0.4), made("baseline", 1, 0.5)]
    rows += [made("baseline", 0, 0.2, backend="jax", precision="mixed_bfloat16")]
    text = results.document({"small": rows}, {}, [], "")
    lines = [x.split(" | ")[2:4] for x in text.splitlines() if x.startswith("| baseline |")]
    assert lines == [["1", "20.00"], ["2", "45.00 ± 7.07"]]
    assert "jax on 2 x some processor, mixed_bfloat16" in text
    how = "python -m experiments.table2 --scale=small"
    broken = (
        f"KERAS_BACKEND=jax {how} --bfloat16 --data=cifar100.npz \\\n  --seeds=0 --rows=baseline"
    )
    assert f"\n{broken}\n" in text
    assert f"\n{how} --seeds=0,1 --rows=baseline\n" in text
    swept = [made("baseline", 0, 0.4, scale="sweep"), made("deep", 0, 0.5, scale="sweep")]
    swept += [made("deep", 0, 0.6, scale="sweep", variant="pace=1")]
    swept += [{**r, "backend": "jax"} for r in swept]
    text = results.document({"sweep": swept}, {}, [], "")
    assert text.count("## Sensitivity") == 2


def test_a_comparison_has_its_rows_and_its_command():
    runs = [
        {"error": e, "error_after_cut": 0.8, "error_before": 0.75, "nmi": 0.25, "random_nmi": 0.06}
        | {"params": 44_180}
        for e in (0.66, 0.69)
    ]
    found = {"dataset": "cifar100", "seeds": [0, 1], "plain_flags": "--epochs=3"}
    found |= {"group_flags": "--epochs=1", "split_flags": None}
    row = {"grouping": "learned", "runs": runs, "better": 0.009, "better_spread": 0.004}
    text = results.comparison({**found, "rows": [row]})
    assert "| learned | 67.50 ± 2.12 | 0.90 ± 0.40 | 80.00 ± 0.00 | 75.00" in text
    assert '--seeds=0,1 \\\n  --plain_flags="--epochs=3" \\\n' in text
    assert "split_flags" not in text


def test_rows_are_collected(tmp_path):
    runs, rows = tmp_path / "runs", tmp_path / "rows"
    document, other = made("deep", 1, 0.5), made("deep", 2, 0.5)
    found = put(runs, document)
    put(runs, {**other, "data": "of-a-file"})
    write_json(runs / "small" / "deep-learned-seed3" / "config.json", {"row": {}})  # not finished
    write_json(runs / "small" / "copy" / "row.json", document)
    foreign = {"data_digest": "0" * 16}, {"recipe": recipe_document(SCALES["modern"])}
    foreign += ({"row": {**document["row"], "variant": "luck=1"}},)
    foreign += ({"row": {**document["row"], "grouping": "random"}},)  # splitnet-compare's
    for more in foreign:
        put(runs, document | more)
    write_json(runs / "smoke" / "deep-learned-seed1" / "row.json", document)
    write_json(runs / "small" / "table5" / "table5.json", {"rows": []})
    written = collect(runs, rows)
    assert [p.parent.name for p in written] == ["small"] * 3
    assert [p.name for p in written][0] == f"{found.name}.json" and written[-1].stem == "table5"
    assert collect(runs, rows) == []
    write_json(rows / "small" / "old.json", {**document, **foreign[1]})  # an older recipe's
    first, second = read_rows(rows)["small"]
    assert {k: first[k] for k in document} == document
    assert second["data"] == "of-a-file"
    assert read_table5(rows)["small"]["rows"] == []


def put(runs, document):
    """As a run leaves its row; returns the folder."""
    settings = {key: document[key] for key in SETTINGS}
    folder = folder_of(row_of(document["row"]).name, settings, runs / document["row"]["scale"])
    write_json(folder / "row.json", document)
    return folder


def test_the_page_is_that_of_the_rows():
    """docs/results.md is written, never typed."""
    remarks = results.REMARKS.read_text(encoding="utf-8")
    rows = read_rows(ROWS), read_table5(ROWS), read_comparisons(ROWS)
    text = results.document(*rows, remarks, results.ssl_parts())
    assert text == (results.DOCS / "results.md").read_text(encoding="utf-8")


def test_rows_in_the_repository_are_of_todays_recipes():
    files = [p for scale in PUBLISHED for p in (ROWS / scale).glob("*.json") if p.stem != TABLE5]
    assert files and [p.name for p in files if not is_of_today(read_json(p))] == []
    documents = [(p.name.rpartition("-")[0], read_json(p)) for p in files]
    places = [(d["row"]["scale"], name, d["backend"], d["precision"]) for name, d in documents]
    assert len(places) == len(set(places))  # no row twice on one backend and precision


def test_seeds_are_compared_with_themselves():
    rows = [made("deep", s, e, scale="sweep") for s, e in ((0, 0.5), (1, 0.6))]
    rows += [made("deep", 1, 0.65, scale="sweep", variant="pace=1")]
    rows += [made("deep", 0, 0.5, scale="sweep", variant="pace=32")]
    text = results.document({"sweep": rows}, {}, [], "")
    assert "| `pace` | 1 instead of 8.0 | 1 | 5.00 | 66.00 |" in text
    assert "| `pace` | 32 instead of 8.0 | 1 | 0.00 | 51.00 |" in text
