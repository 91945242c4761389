"""splitnet-report as a user calls it: folders first or flags first, one sentence for each error."""

import json

from tests.cli.forked import run_programs
from tests.report.html_page import Page


def test_folders_and_flags(tmp_path):
    run = tmp_path / "just begun"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"model": "wrn-10-1", "dataset": "planted"}))
    commands = [
        ([run, "-o", "a.html"], 0, "a.html: 0.0 MB"),
        (["--output_file=b.html", run], 0, "b.html: 0.0 MB"),
        (["-o", "c.html"], 2, "Name one run folder or more: splitnet-report RUN_DIR... -o"),
        ([run], 2, "--output_file"),
        ([run, "-o", "c.txt"], 2, "a file name that ends in .html, .htm"),
        ([run, "nowhere", "-o", "c.html"], 1, "nowhere is not a run folder: it has no config"),
        ([run, "-o", "/proc/none/c.html"], 1, "/proc/none: No such file or directory"),
        ([run, "-o", "c.html", "--nosuch=1"], 2, "nosuch"),
    ]
    found = run_programs([("report", arguments) for arguments, _, _ in commands], tmp_path)
    for (arguments, code, sentence), (exit_code, printed) in zip(commands, found, strict=True):
        assert exit_code == code and sentence in printed, (arguments, printed[-500:])
        assert "Traceback" not in printed
    page = (tmp_path / "a.html").read_text()
    assert page == (tmp_path / "b.html").read_text()
    assert "wrn-10-1 on planted" in Page(page).text
    assert not list(tmp_path.glob("c.*"))
