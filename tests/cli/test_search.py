"""The search by program."""

import json

from tests.cli.forked import run
from tests.cli.small_programs import small_model


def test_a_search_and_what_it_leaves(tmp_path):
    small_model(tmp_path / "small.keras", dropout=0.0)
    command = ["--dataset=planted", "--batch_size=32", "--max_steps=4", "--model=small.keras"]
    command += [
        "--preprocessing=whiten",
        "--train_dir=search",
        "--max_accuracy_drop=100",
        "--figure=search.png",
        "--max_flops=0.7x",
        *("--optimizer=adamw", "--initial_lr=0.003", "--class_weight=group0-0:2"),
        *("--gamma3=5", "--assignment_lr_scale=4"),
    ]
    printed = []
    for _ in range(2):
        code, text = run("search", command, tmp_path / "out", cwd=tmp_path)
        assert code == 0 and "Traceback" not in text, text[-2000:]
        printed.append(text)
    found = json.loads((tmp_path / "search/search.json").read_text())
    assert [t["start"] for t in found["trials"]] == ["first"]
    assert found["best"] == "first" and (tmp_path / "search.png").is_file()
    assert "The smallest tree within the drop is cut from first (search/first-2/split)." in text
    assert "resumed" not in printed[0] and "resumed" in printed[1]
    config = json.loads((tmp_path / "search/first-2/group/config.json").read_text())
    assert config["optimizer"] == "adamw" and config["class_weight"] == ["0: 2"]
    assert config["rate"] == config["final_rate"] == 0.003
    assert config["gamma3"] == 5 and config["pace"] == 4
    code, text = run("search", [*command, "--augment=none"], tmp_path / "out", cwd=tmp_path)
    assert code == 1 and 'other settings (augment "crop_flip" -> "none")' in text, text[-2000:]
    code, text = run("search", [*command, "--seed=1"], tmp_path / "out", cwd=tmp_path)
    assert code == 1 and "data_digest" in text  # planted data are those of the seed
    code, text = run("search", [*command, "--group_epochs=2"], tmp_path / "out", cwd=tmp_path)
    assert code == 2 and "--group_epochs has no effect with --max_steps" in text
    code, text = run("search", [*command, "--max_params=3"], tmp_path / "out", cwd=tmp_path)
    assert code == 2 and "--max_params=3" in text and "the smallest tree has" in text
    code, text = run("search", [*command, "--max_flops=-1x"], tmp_path / "out", cwd=tmp_path)
    assert code and "--max_flops" in text and "a share of the whole such as 0.5x" in text
