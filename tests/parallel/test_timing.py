"""Interleaved timing, with a clock of our own."""

import pytest

from splitnet_tf.parallel import Timing, interleave, ratio, timing


def test_cases_take_turns_and_warm_up(monkeypatch):
    now = {"t": 0.0}
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now["t"])
    order = []

    def case(name, seconds):
        def run():
            order.append(name)
            now["t"] += seconds * (10 if len(order) <= 4 else 1)

        return run

    found = interleave({"a": case("a", 1.0), "b": case("b", 3.0)}, repeats=3, warmup=2)
    assert order == ["a", "b"] * 5
    assert found["a"].seconds == (1.0, 1.0, 1.0)
    assert ratio(found["b"], found["a"]) == pytest.approx(3.0)


def test_median_and_spread():
    found = Timing((4.0, 1.0, 2.0, 3.0, 100.0))
    assert found.median == 3.0
    assert found.quartile_deviation == pytest.approx((4.0 - 2.0) / 2 / 3.0)
