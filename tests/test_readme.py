"""Every command of the README is right: its Python runs, its flags exist, its targets are there."""

import os
import re
import shlex
import subprocess
import sys

from tests.cli.forked import run_programs
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def test_the_python_runs(tmp_path):
    code = "\n".join(blocks("python"))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    (tmp_path / "runs").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unit_3_1_conv_2" in done.stdout
    assert "['trunk', 'branch_0', 'branch_1', 'head']" in done.stdout


def test_the_python_of_the_other_pages_runs(tmp_path):
    code = "\n".join(blocks("python", (ROOT / "docs" / "models.md").read_text(encoding="utf-8")))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "layer  kernel  groups" in done.stdout


def test_the_commands_are_accepted(tmp_path):
    """Parsed by the programs themselves, which then stop (``--only_check_args``)."""
    lines = [p for b in blocks("sh") for line in b.splitlines() for p in line.split(" && ")]
    makefile = (ROOT / "Makefile").read_text()
    stub = tmp_path / "python"
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    commands = []
    for line in lines:
        words = shlex.split(line)
        program, *arguments = words[1:] if words[0].startswith("KERAS_BACKEND=") else words
        if program == ".":
            assert arguments == [".venv/bin/activate"]
            continue
        if program == "make":
            assert all(re.search(rf"^{target}:", makefile, re.M) for target in arguments)
            continue
        if program.endswith(".sh"):  # what the script would hand to Python
            done = subprocess.run(
                [program, *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHON": str(stub)},
                capture_output=True,
                text=True,
                check=True,
            )
            arguments = done.stdout.splitlines()
        if arguments[0] == "-m":
            arguments = [arguments[1].removeprefix("splitnet_tf.cli."), *arguments[2:]]
        commands.append((arguments[0], [*arguments[1:], "--only_check_args"]))
    assert len(commands) >= 9
    for command, (code, err) in zip(commands, run_programs(commands, tmp_path), strict=True):
        assert code == 0, (command, err[-500:])


def test_flags_named_in_the_readme_exist():
    programs = [ROOT / "download_cifar100.py", *(ROOT / "splitnet_tf" / "cli").glob("*.py")]
    programs += (ROOT / "experiments").glob("*.py")
    sources = "".join(p.read_text() for p in programs)
    named = set(re.findall(r"--([a-z0-9_]+)", README)) - {
        "help",
        "logdir",
    }  # the latter is TensorBoard's
    known = set(re.findall(r'(?i:define)_\w+\(\s*"([a-z0-9_]+)"', sources))
    assert named <= known


def anchor(heading):
    """As GitHub makes one of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def test_links_and_pictures_of_every_page_are_there():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = 0
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" in link:
                continue
            name, _, place = link.partition("#")
            target = (page.parent / name) if name else page
            assert target.is_file(), (page.name, link)
            if place:
                text = re.sub(r"```.*?```", "", target.read_text(encoding="utf-8"), flags=re.S)
                headings = re.findall(r"^#+ (.+)$", text, re.M)
                assert place in map(anchor, headings), (page.name, link)
            found += 1
    assert found > 20
