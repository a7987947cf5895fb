"""Edits confined to when and where of a run: what they reach, and that everything else is left as it was."""

from __future__ import annotations

import pytest
import torch

from probe.decoding import PassOptions, decode
from probe.errors import TraceError
from probe.paradigms import Masked
from probe.paradigms.sampler import Sampler
from probe.tracing import add, edit, only, record, skip, zero
from probe.tracing.slot_states import SlotStates
from tests.probe.tiny import MASK, model_of, tokens_of

LEFT_TO_RIGHT = Sampler("left_to_right")


@pytest.fixture(scope="module")
def masked():
    return model_of("llama-gqa", Masked(mask_id=MASK, shift=False))


def marked(model, change, length: int = 3) -> list[list[list[bool]]]:
    """Where an edit of the stream before layer 0 changed it, step by step, in a run that writes from left to right."""
    prompt, seen = tokens_of(2, 3), []
    embedding = model.embedding.weight

    def watch(_module, taken):
        seen.append((taken[0] - embedding[shown[-1]]).abs().sum(-1) > 1)

    shown: list[torch.Tensor] = []
    with edit(model, change):
        handle = model.blocks[0].register_forward_pre_hook(watch)
        model.before_run.append(lambda canvas: shown.append(canvas.tokens))
        try:
            decode(model, prompt, length, sampler=LEFT_TO_RIGHT)
        finally:
            handle.remove()
            model.before_run.clear()
    return [step.tolist() for step in seen]


PUSH = add("resid_pre", torch.full((32,), 10.0), layer=0)
T, F = True, False


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ("masked", [[F, F, F, T, T, T], [F, F, F, F, T, T], [F, F, F, F, F, T]]),
        ("just written", [[F] * 6, [F, F, F, T, F, F], [F, F, F, F, T, F]]),
        ("written", [[F] * 6, [F, F, F, T, F, F], [F, F, F, T, T, F]]),
        ("given", [[T, T, T, F, F, F]] * 3),
    ],
)
def test_slots_are_reached_by_what_they_are_at_each_step(masked, state, where):
    assert marked(masked, only(PUSH, state=state)) == [[step] * 2 for step in where]


@pytest.mark.parametrize(("step", "at"), [(slice(1, None), [1, 2]), (slice(0, 2), [0, 1]), (2, [2]), ([0, 2], [0, 2])])
def test_steps_are_reached_by_number_and_by_window(masked, step, at):
    found = marked(masked, only(PUSH, step=step))
    assert [number for number, rows in enumerate(found) if all(map(all, rows))] == at
    assert not any(any(map(any, rows)) for number, rows in enumerate(found) if number not in at)


def test_when_and_where_together(masked):
    found = marked(masked, only(PUSH, step=slice(1, 2), state="masked"))
    assert found == [[[F] * 6] * 2, [[F, F, F, F, T, T]] * 2, [[F] * 6] * 2]


def test_an_autoregressive_run_has_written_what_was_not_there():
    found = marked(model_of("llama-gqa"), only(PUSH, state="just written"))
    assert found == [[[F] * 3] * 2, [[F, F, F, T]] * 2, [[F, F, F, F, T]] * 2]


def test_a_schedule_is_a_scale_a_step(masked):
    """0, then 1, then 2 from then on; beside a run that is edited once with each."""
    prompt = tokens_of(2, 3)
    vector = torch.randn(32, generator=torch.Generator().manual_seed(0)) * 5

    def states(change) -> list[torch.Tensor]:
        seen = []
        with edit(masked, change):
            handle = masked.blocks[1].register_forward_pre_hook(lambda _module, taken: seen.append(taken[0]))
            decode(masked, prompt, 4, sampler=LEFT_TO_RIGHT)
            handle.remove()
        return seen

    here = states(add("resid_post", vector, layer=0, scale=[0, 1, 2]))
    steps = [add("resid_post", vector, layer=0, step=step, scale=scale) for step, scale in ((1, 1), (2, 2), (3, 2))]
    assert all(torch.equal(one, other) for one, other in zip(here, states(steps), strict=True))


@pytest.mark.parametrize("site", ["head_out", "resid_mid", "z", "pattern", "mlp_out"])
def test_every_site_knows_the_state_of_its_slots(masked, site):
    """At a site whose slots are given, the next layer's own output there changes and nobody else's input does."""
    tokens = torch.cat([tokens_of(2, 3), torch.full((2, 2), MASK)], 1)
    before = record(masked, tokens, "resid_post", layers=0)["resid_post"].values
    with edit(masked, only(zero(site, layer=0), state="given")):
        after = record(masked, tokens, "resid_post", layers=0)["resid_post"].values
    changed = (abs(after - before) > 1e-6).any(-1)[:, 0]
    assert changed.tolist() == [[T, T, T, F, F]] * 2


def test_a_skipped_layer_can_be_confined_too(masked):
    tokens = torch.cat([tokens_of(2, 3), torch.full((2, 2), MASK)], 1)
    trace = record(masked, tokens, ["resid_pre"], layers=[0, 1])["resid_pre"].values
    with edit(masked, only(skip(0), state="masked")):
        after = record(masked, tokens, ["resid_pre"], layers=[0, 1])["resid_pre"].values
    assert (after[:, 1, 3:] == trace[:, 0, 3:]).all()
    assert (after[:, 1, :3] == trace[:, 1, :3]).all()


def test_nothing_is_kept_from_pass_to_pass_of_an_edited_run(masked):
    """A cache would hold keys of slots that were in another state when they were made."""
    with (
        edit(model := model_of("llama-gqa"), only(PUSH, state="just written")),
        pytest.raises(Exception, match="cache"),
    ):
        decode(model, tokens_of(1, 3), 2, passes=PassOptions(cache=True))


def test_a_shorter_text_begins_another_run():
    states = SlotStates()
    states.see(torch.tensor([[1, 2, 3]]), None, None)
    states.see(torch.tensor([[1, 2, 3, 4]]), None, None)
    assert states.of("written").tolist() == [[F, F, F, T]]
    states.see(torch.tensor([[1, 2]]), None, None)
    assert states.of("given").tolist() == [[T, T]]


def test_nonsense_is_refused():
    with pytest.raises(TraceError, match="just written"):
        only(PUSH, state="just writen")
    with pytest.raises(TraceError, match="steps given once"):
        only(only(PUSH, step=1), step=2)
    with pytest.raises(TraceError, match="counted from 0"):
        only(PUSH, step=slice(-2, None))
    with pytest.raises(TraceError, match="finite number"):
        add("resid_post", torch.ones(32), scale=[])
