"""Decoding: the text that is right by definition, and trajectories that tell truly how it came about."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import probe
from probe.decoding import ORDERS, PassOptions, Sampler, Strides
from probe.decoding.places import GIVEN, UNWRITTEN
from probe.errors import ProbeError
from probe.models.catalog import Entry
from probe.paradigms import Autoregressive, Block, Fluid, Masked
from tests.probe.tiny import DECODERS, MASK, VARIANTS, backbone_of, model_of, tokens_of

MASKED = {
    "full": Masked(mask_id=MASK),
    "full, no shift": Masked(mask_id=MASK, shift=False),
    "masks last": Masked(mask_id=MASK, shift=False, clean_shift=True, attention="masks_last"),
    "block": Block(mask_id=MASK, attention="block:3", shift=False),
    "block, shift": Block(mask_id=MASK, attention="block:4"),
}
MODELS = {name: model_of("llama-gqa", paradigm) for name, paradigm in MASKED.items()}
PROMPT = tokens_of(2, 5)


def parts(run):
    return run.tokens, run.states, run.committed_at, run.confidence.nan_to_num(-1)


# Autoregression


@pytest.mark.parametrize("variant", DECODERS)
def test_greedy_autoregression_is_what_transformers_generates(variant):
    architecture, other = VARIANTS[variant]
    stock = backbone_of(architecture, **other)
    generated = stock.generate(PROMPT, max_new_tokens=12, do_sample=False, pad_token_id=0)
    run = probe.decode(model_of(variant, Autoregressive()), PROMPT, 12)
    assert torch.equal(run.tokens, generated)
    assert (run.forward_passes, len(run), run.tokens_per_forward) == (12, 12, 1.0)


def test_an_autoregressive_trajectory_goes_left_to_right():
    run = probe.decode(model_of(paradigm=Autoregressive()), PROMPT, 4)
    assert run.committed_at.tolist() == [[GIVEN] * 5 + [0, 1, 2, 3]] * 2
    assert (run.states[:, 2, 7:] == UNWRITTEN).all()
    assert torch.equal(run.states[:, 2, :7], run.tokens[:, :7])
    open_here = ~run.confidence.isnan()
    assert torch.equal(open_here, run.committed_at[:, None] == torch.arange(4)[None, :, None])


# Masked and block diffusion


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(list(MODELS)),
    order=st.sampled_from(ORDERS),
    length=st.integers(1, 9),
    steps=st.none() | st.integers(1, 12),
    block=st.none() | st.integers(1, 5),
    threshold=st.none() | st.floats(0, 1),
    temperature=st.sampled_from([0.0, 0.7]),
    seed=st.integers(0, 99),
)
def test_a_trajectory_tells_truly_how_the_text_came_about(
    name, order, length, steps, block, threshold, temperature, seed
):
    model = MODELS[name]
    rule = Sampler(order, steps, threshold, block, temperature)
    told = []
    how = {"sampler": rule, "seed": seed}
    run = probe.decode(model, PROMPT, length, **how, passes=PassOptions(on_step=lambda *step: told.append(step)))

    assert torch.equal(run.tokens[:, :5], PROMPT)
    assert not (run.tokens == MASK).any()
    assert (run.committed_at[:, :5] == GIVEN).all()
    assert run.committed_at[:, 5:].min() >= 0
    assert run.forward_passes == len(run) == len(told) > run.committed_at.max()
    size = model.paradigm.block_size if isinstance(model.paradigm, Block) else None
    for step in range(len(run)):
        still_open = run.committed_at >= step
        assert torch.equal(run.states[:, step], run.tokens.masked_fill(still_open, MASK))
        assert torch.equal(run.confidence[:, step].isnan(), ~_asked(still_open, size))
        assert torch.equal(told[step][2], run.committed_at == step)
        assert torch.equal(told[step][1], run.tokens.masked_fill(run.committed_at > step, MASK))

    assert torch.equal(run.passes, run.committed_at.amax(1) + 1)

    # Parts of the answer are filled in order, and in no more passes than were asked for, but one a part.
    if size is None:
        part = [(place - 5) // (block or length) for place in range(5, 5 + length)]
    else:
        within = min(block or size, size)
        part = [(place // size, place % size // within) for place in range(5, 5 + length)]
    for row in run.committed_at[:, 5:].tolist():
        for place in range(length):
            assert all(row[i] < row[place] for i in range(length) if part[i] < part[place])
    n_parts = len(set(part))
    if threshold is None:
        assert run.forward_passes <= max(steps or length, n_parts)
        if order != "random":
            assert run.forward_passes >= min(steps or length, length) or n_parts > 1
    else:
        assert n_parts <= run.forward_passes <= length

    again = probe.decode(model, PROMPT, length, **how)
    assert all(torch.equal(one, other) for one, other in zip(parts(run), parts(again), strict=True))


def _asked(still_open, size):
    """The open places of each row that a pass must answer for: those of a block model's block at hand, else all."""
    asked = still_open.clone()
    if size is not None:
        for row in asked:
            places = row.nonzero()[:, 0].tolist()
            for place in places:
                row[place] = place // size == places[0] // size
    return asked


@pytest.mark.parametrize("steps", range(1, 10))
@pytest.mark.parametrize("name", ["full", "full, no shift"])
def test_as_many_passes_as_asked_for(name, steps):
    assert probe.decode(MODELS[name], PROMPT, 9, steps=steps).forward_passes == steps


@pytest.mark.parametrize("steps", [3, 4, 6, 9, 12])
def test_steps_are_shared_out_over_blocks(steps):
    run = probe.decode(MODELS["full"], PROMPT, 12, sampler=Sampler(block=4, steps=steps))
    assert run.forward_passes == steps
    each = [len(set(run.committed_at[0, 5 + 4 * i : 9 + 4 * i].tolist())) for i in range(3)]
    assert max(each) - min(each) <= 1


@pytest.mark.parametrize("order", ["confidence", "margin", "entropy"])
@pytest.mark.parametrize("name", ["full", "full, no shift"])
def test_the_surest_is_written_first(order, name):
    model = MODELS[name]
    run = probe.decode(model, PROMPT[0], 8, sampler=order)
    for step in range(8):
        logits = model.logits(run.states[step][None])[0].clone()
        logits[:, MASK] = -torch.inf
        wanted = []
        for place in range(5, 13):
            p = logits[place - model.shift].double().softmax(-1)
            best = p.sort(descending=True).values
            entropy = -sum(float(x) * float(x.log()) for x in p if x > 0)
            score = {"confidence": best[0], "margin": best[0] - best[1], "entropy": -entropy}[order]
            is_open = run.states[step, place] == MASK
            wanted.append(float(score) if is_open else -torch.inf)
            if run.committed_at[place] == step:
                assert run.tokens[place] == p.argmax()
                assert run.confidence[step, place] == pytest.approx(best[0].item(), abs=1e-5)
        assert int((run.committed_at[5:] == step).nonzero()) == max(range(8), key=wanted.__getitem__)


def test_a_threshold_writes_all_that_is_surer():
    run = probe.decode(MODELS["full"], PROMPT, 9, sampler=Sampler(threshold=0.5))
    for row in range(2):
        for step in range(int(run.committed_at[row].max()) + 1):
            sure, written = run.confidence[row, step], run.committed_at[row] == step
            still_open = ~sure.isnan()
            assert torch.equal(written, (sure > 0.5) | (still_open & (sure == sure.nan_to_num(-1).max()))) or (
                written.sum() == max(1, int((sure > 0.5).sum()))
            )
    assert probe.decode(MODELS["full"], PROMPT, 9, sampler=Sampler(threshold=0.0)).forward_passes == 1


def test_random_order_reveals_the_same_share_at_every_step():
    run = probe.decode(MODELS["full"], tokens_of(40, 3), 50, sampler=Sampler("random", steps=5), seed=1)
    assert run.forward_passes == 5
    counts = run.committed_at[:, 3:].flatten().bincount(minlength=5) / (40 * 50)
    assert (counts - 0.2).abs().max() < 0.03


def test_a_block_s_text_does_not_change_with_what_is_written_behind_it():
    for name in ("block", "block, shift"):
        model = MODELS[name]
        size = model.paradigm.block_size
        prompt = tokens_of(2, 2 * size)
        short, long = (probe.decode(model, prompt, length) for length in (size, 3 * size))
        assert torch.equal(short.tokens, long.tokens[:, : 3 * size])
        assert torch.equal(short.committed_at, long.committed_at[:, : 3 * size])


def test_blocks_of_one_with_shift_write_as_autoregression_does():
    block = model_of("llama-gqa", Block(mask_id=MASK, attention="block:1"))
    ar = model_of("llama-gqa", Autoregressive(mask_id=MASK))  # so that it too never writes the mask
    assert torch.equal(probe.decode(block, PROMPT, 10).tokens, probe.decode(ar, PROMPT, 10).tokens)


def test_a_model_that_knows_its_language_speaks_it(speakers):
    for name in ("ar", "masked", "masked_noshift", "block", "fluid"):
        model = speakers[name]
        prompt = model.encode("subject1 adverb2")
        text = model.tokenizer.decode(probe.decode(model, prompt[0], 2).tokens[2:])
        assert text in ("verb1 object2", "oh verb1", "well verb1", "verb1 oh", "verb1 well"), (name, text)


def test_temperature_draws_from_the_distribution():
    model = model_of(paradigm=Autoregressive())
    prompt = tokens_of(1, 4).expand(4000, -1)
    drawn = probe.decode(model, prompt, 1, sampler=Sampler(temperature=1.0), seed=3).tokens[:, -1]
    expected = model.logits(prompt[:1])[0, -1].softmax(-1)
    assert (drawn.bincount(minlength=48) / 4000 - expected).abs().max() < 0.03
    other = probe.decode(model, prompt, 1, sampler=Sampler(temperature=1.0), seed=4).tokens[:, -1]
    assert not torch.equal(drawn, other)


# FLUID


@pytest.mark.parametrize("variant", ["llama-gqa", "gpt2"])
@pytest.mark.parametrize("stride", [1, 3, 16])
def test_verified_strides_write_what_greedy_autoregression_writes(variant, stride):
    fluid, ar = (model_of(variant, kind(mask_id=MASK)) for kind in (Fluid, Autoregressive))
    expected = probe.decode(ar, PROMPT, 12).tokens
    for threshold in (0.0, 0.5, 1.0):
        run = probe.decode(fluid, PROMPT, 12, sampler=Strides(stride, threshold))
        assert torch.equal(run.tokens, expected)
        assert run.committed_at[:, 5:].min() >= 0


def test_a_fluent_fluid_model_needs_fewer_passes(speakers):
    model = speakers["fluid"]
    prompt = model.encode("subject1 adverb2 verb1 object2 subject3 adverb4")
    run = probe.decode(model, prompt, 16, sampler=Strides(2, 0.3))
    ar = probe.decode(speakers["ar"], prompt, 16)
    assert run.tokens.shape == ar.tokens.shape
    loose = probe.decode(model, prompt, 16, sampler=Strides(2, 0.0, verify=False))
    assert loose.forward_passes == 8
    assert not (loose.tokens == model.mask_id).any()


# How it is called


@pytest.mark.parametrize("name", ["ar", "masked", "block", "fluid"])
def test_a_prompt_of_rank_one_gives_a_run_of_rank_one(name, speakers):
    model = speakers[name]
    prompt = model.encode("subject1 adverb2")
    alone, batched = probe.decode(model, prompt[0], 5), probe.decode(model, prompt, 5)
    assert alone.tokens.shape == (7,)
    assert alone.states.shape == (alone.forward_passes, 7)
    for one, other in zip(parts(alone), parts(batched), strict=True):
        assert torch.equal(one, other[0])


def test_the_declared_sampler_is_the_default():
    model = model_of("llama-gqa", Masked(mask_id=MASK))
    model.entry = Entry(name="x", paradigm="masked", sampler=Sampler("margin", threshold=0.2))
    assert probe.decode(model, PROMPT, 6).sampler == "margin, threshold 0.2"
    assert probe.decode(model, PROMPT, 6, sampler="random").sampler == "random"
    assert probe.decode(model, PROMPT, 6, steps=2).sampler == "margin, steps 2, threshold 0.2"


def test_a_forward_of_ones_own_sees_every_state():
    model, seen = MODELS["full"], []

    def forward(canvas):
        seen.append(canvas.tokens.clone())
        return model.run(canvas)

    run = probe.decode(model, PROMPT, 6, passes=PassOptions(forward=forward))
    assert torch.equal(torch.stack(seen, 1), run.states)


def test_samplers_of_another_paradigm_are_refused(speakers):
    for name, sampler in (("masked", Strides()), ("fluid", "confidence")):
        with pytest.raises(ProbeError, match=r"Sampler|Strides"):
            probe.decode(speakers[name], speakers[name].encode("oh well"), 3, sampler=sampler)


@pytest.mark.parametrize("name", ["masked", "block"])
def test_filling_what_a_run_left_open_ends_as_the_run_did(name):
    """A greedy run that is stopped at any step and filled from there writes the same text."""
    model = probe.load(f"zoo:{name}", selftest="off")
    rule = Sampler("confidence")
    whole = probe.decode(model, "When Luke and Keith went to the", 6, sampler=rule)
    for step in range(1, len(whole)):
        filled = probe.decoding.fill(model, whole.states[step], sampler=rule)
        assert torch.equal(filled.tokens, whole.tokens)
        assert filled.forward_passes == whole.forward_passes - step
        assert (filled.committed_at[whole.states[step] != model.mask_id] == GIVEN).all()


def test_filling_is_refused_where_nothing_is_open_or_nothing_can_be():
    masked, ar = (probe.load(f"zoo:{name}", selftest="off") for name in ("masked", "ar"))
    text = masked.encode("When Luke and Keith went to the")[0]
    with pytest.raises(ProbeError, match="a mask in every row"):
        probe.decoding.fill(masked, text)
    ar.paradigm = replace(ar.paradigm, mask_id=masked.mask_id)
    text = torch.cat([text, torch.tensor([masked.mask_id])])
    with pytest.raises(ProbeError, match="a masked or a block one"):
        probe.decoding.fill(ar, text)
