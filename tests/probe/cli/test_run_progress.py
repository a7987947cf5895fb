"""A job's progress: a steady estimate, lines in a pipe, nothing where nothing is to do."""

from __future__ import annotations

import random

import pytest

from probe.cli.run_progress import TimeLeft


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_is_that_of_the_kinds_that_are_left():
    """Slow units come first: the mean of all so far would say ten times too much."""
    clock = Clock()
    left = TimeLeft(["slow"] * 10 + ["fast"] * 100, clock)
    assert left.seconds() is None
    for label, seconds in [("slow", 10.0)] * 10 + [("fast", 0.1)] * 20:
        clock.now += seconds
        left.done(label, seconds)
    assert left.seconds() == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize("workers", [1, 4])
def test_the_time_left_is_steady(workers):
    """Units of one kind take between half and twice as long as others; what is told stays near the truth."""
    clock, draw = Clock(), random.Random(0)
    took = [draw.uniform(0.5, 2.0) for _ in range(200)]
    left = TimeLeft(["unit"] * len(took), clock)
    for number, seconds in enumerate(took):
        clock.now += seconds / workers
        left.done("unit", seconds)
        if 20 <= number < 180:
            assert left.seconds() == pytest.approx(sum(took[number + 1 :]) / workers, rel=0.25, abs=1.0)
