"""How many examples are asked for: what makes no sense is answered before anything is drawn or loaded."""

from __future__ import annotations

import time
from typing import Any

import pytest

from probe.errors import TaskError
from probe.tasks import task


@pytest.mark.parametrize("n", [-1, 0, 1.5, True, "3", 10**9])
def test_a_number_of_examples_that_makes_no_sense_is_answered_at_once(n):
    began = time.process_time()
    nothing: Any = None
    with pytest.raises(TaskError, match="an integer from 1 to"):
        task("ioi").batch(nothing, n)
    with pytest.raises(TaskError, match="an integer from 1 to"):
        task("ioi").examples(nothing, n)
    assert time.process_time() - began < 5
