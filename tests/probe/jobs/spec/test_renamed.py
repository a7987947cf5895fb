"""A measure's old name in a spec still runs it, and says what it is called now."""

from __future__ import annotations

import pytest

from probe.jobs.spec.model import Spec


def test_an_old_name_is_taken_for_the_new_one_with_a_word():
    said = {"pairs": ["zoo:masked"], "tasks": ["ioi"], "output": "runs/x"}
    with pytest.warns(UserWarning, match="'lookahead' is now called 'right_context'"):
        old = Spec.model_validate({**said, "measures": ["lookahead"]})
    assert old == Spec.model_validate({**said, "measures": ["right_context"]})
    assert old.measures[0].label == "right_context"
