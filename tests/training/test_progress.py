"""What a run says of itself while it trains: a bar on a terminal, lines elsewhere."""

import io
import logging

import pytest

from splitnet_tf.training import progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def show(shown, step):
    shown.show(step, loss=1.25, accuracy=0.375, images_per_second=412.3, note="groups 50% decided")


def test_lines_have_the_time_that_is_left(clock, caplog, capsys):
    """A resumed run counts its own steps: 50 of the 150 that were left took 100 seconds."""
    caplog.set_level(logging.INFO)
    shown = progress.Progress(total=5250, done=5100)
    clock[0] += 100.0
    shown.update(5150)
    show(shown, 5150)
    shown.close()
    assert caplog.messages == [
        "step 5150/5250  loss 1.250  accuracy 37.5%  412 images/s  0:03:20 left  groups 50% decided"
    ]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_bar(monkeypatch, caplog):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    caplog.set_level(logging.INFO)
    shown = progress.Progress(total=40, done=10)
    shown.update(20)
    show(shown, 20)
    shown.close()
    bar = terminal.getvalue()
    assert "20/40" in bar and "loss 1.250, accuracy 37.5%, 412 images/s groups 50% decided" in bar
    assert not caplog.messages
