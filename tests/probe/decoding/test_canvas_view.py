"""The canvas of a run: what is in the view is what is in the trajectory, in every paradigm."""

from __future__ import annotations

import json

import pytest
import torch

import probe
from probe.decoding import Sampler, Strides
from probe.decoding.canvas_view import NOTHING, withdrawn, writes
from probe.decoding.places import GIVEN
from probe.decoding.with_candidates import with_candidates
from probe.views.words import MASK

PROMPT = "When Luke and Keith went to the"


@pytest.mark.parametrize("name", ["ar", "masked", "fluid", "flow"])
def test_the_view_holds_the_run(name):
    model = probe.load(f"zoo:{name}", selftest="off")
    run = probe.decode(model, PROMPT, 5, steps=3 if name == "flow" else None)
    data = json.loads(run.view().json())
    spelt = [data["ids"][code] for code in data["final"]]
    assert spelt == run.tokens.tolist()
    assert len(data["states"]) == run.forward_passes
    assert [by[-1] if by else GIVEN for by in data["writes"]] == run.committed_at.tolist()
    seen = run.states[0].tolist()
    for code, token, settled in zip(data["states"][0], seen, run.committed_at.tolist(), strict=True):
        if code == NOTHING:
            assert token < 0
        elif code == MASK:
            assert token == model.mask_id
            assert settled != GIVEN
        else:
            assert data["ids"][code] == token
    assert run._repr_html_().startswith("<iframe")


def test_a_slot_that_was_taken_back_has_every_pass_that_wrote_it():
    model = probe.load("zoo:fluid", selftest="off")
    run = probe.decode(model, PROMPT, 16, sampler=Strides(6, 0.0))
    seen = torch.cat([run.states, run.tokens[None]])
    for slot, by in enumerate(writes(run)):
        changed = [step for step in range(len(run)) if int(seen[step, slot]) != int(seen[step + 1, slot])
                   and int(seen[step + 1, slot]) not in (model.mask_id, -1)]  # fmt: skip
        # A draft that did not stand may be drafted again in the same pass, alike: then only the run knows.
        assert set(changed) <= set(by)
        assert by == run.commits[:, slot].nonzero()[:, 0].tolist()
        assert (by[-1] if by else GIVEN) == int(run.committed_at[slot])
    back = withdrawn(run)
    assert any(back)
    for slot, steps in enumerate(back):
        for step in steps:  # what the next pass sees there is not what this one saw
            assert int(seen[step, slot]) != model.mask_id
            assert int(seen[step, slot]) != int(seen[step + 1, slot])


def test_what_is_behind_the_end_of_a_text_is_shown_as_no_part_of_it():
    model = probe.load("zoo:masked", selftest="off")
    free = probe.decode(model, PROMPT, 6)
    stop = int(free.tokens[-4])
    run = probe.decode(model, PROMPT, 6, sampler=Sampler("left_to_right", stop=(stop,)))
    data = run.view().data
    end = int(run.ends)
    assert end < len(run.tokens)
    assert [code == NOTHING for code in data["final"]] == [slot >= end for slot in range(len(run.tokens))]
    assert data["given"] == [slot < len(run.tokens) - 6 for slot in range(len(run.tokens))]
    assert f"{int((run.committed_at >= 0).sum())} tokens" in data["about"]


@pytest.mark.parametrize("name", ["ar", "masked"])
def test_candidates_are_those_of_the_run_that_wrote_the_text(name):
    """The best candidate of a slot at the pass that wrote it is what was written, as sure as the run says."""
    model = probe.load(f"zoo:{name}", selftest="off")
    rule = None if name == "ar" else Sampler("confidence", steps=3)
    run, candidates = with_candidates(model, lambda passes: probe.decode(model, PROMPT, 5, sampler=rule, passes=passes))
    assert torch.equal(run.tokens, probe.decode(model, PROMPT, 5, sampler=rule).tokens)
    best = candidates.of(0)
    for slot, step in enumerate(run.committed_at.tolist()):
        if step == GIVEN:
            continue
        token, share = next((token, share) for token, share in best[step][slot] if token != model.mask_id)
        assert token == int(run.tokens[slot])
        assert share == pytest.approx(float(run.confidence[step, slot]), rel=0.05)  # which leaves the mask out
    assert run.view(candidates=candidates).data["candidates"]
