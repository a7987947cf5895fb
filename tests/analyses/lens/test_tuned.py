"""The tuned lens: never worse than the logit lens on text that it has not seen, and trained where logits are."""

from __future__ import annotations

import pytest
import torch

import probe
from analyses import lens
from analyses.activations.answer_states import answer_states
from analyses.lens import unembedding
from analyses.lens.curves import curves
from analyses.lens.training import answering, readings_of
from analyses.lens.tuned import FILE
from probe.paradigms import Masked
from probe.readings import READINGS, named
from tests.probe.tiny import MASK, model_of

TASKS = ("ioi", "greater_than", "infilling")


@pytest.fixture(scope="module", params=["zoo:ar", "zoo:masked"])
def taught(request):
    model = probe.load(request.param)
    texts = [probe.task(name).examples(model, 160, seed=1, split="train") for name in TASKS]
    return model, lens.train(model, texts, steps=60, rows=96)


@pytest.mark.parametrize("name", TASKS)
def test_on_held_out_text_it_is_nowhere_further_from_the_end_than_the_logit_lens(taught, name):
    model, tuned = taught
    states = answer_states(model, probe.task(name).examples(model, 100, seed=5, split="test"))
    plain, better = curves(states).kl.mean(0), curves(states, tuned).kl.mean(0)
    assert bool((better <= plain + 1e-6).all()), (plain, better)
    assert better[0] < plain[0] / 1.5  # the embedding has most to gain
    assert torch.equal(curves(states).kl[:, -1], curves(states, tuned).kl[:, -1])


def test_untrained_it_is_the_logit_lens():
    model = probe.load("zoo:masked")
    states = answer_states(model, probe.task("ioi").examples(model, 6, seed=0))
    plain, tuned = curves(states), curves(states, lens.TunedLens.identity(model))
    assert torch.equal(plain.kl, tuned.kl)
    assert torch.equal(plain.rank, tuned.rank)


def test_a_map_that_does_harm_is_not_kept():
    """Steps a thousand times too long help where the logit lens says nothing at all (the embedding), and no further."""
    model = probe.load("zoo:ar")
    tuned = lens.train(model, probe.task("ioi").examples(model, 40, seed=1), steps=5, rows=8, rate=50.0)
    before, after = (torch.tensor(tuned.about["held_out_kl"][which]) for which in ("logit", "tuned"))
    assert bool((after <= before).all())
    identity = ~tuned.weight.flatten(1).any(1)
    assert bool(identity[1:].any())
    assert torch.equal(after[:, identity], before[:, identity])
    assert bool((after[:, ~identity] < before[:, ~identity]).any(0).all())


def test_it_is_kept_beside_the_model_and_goes_with_no_other(taught, tmp_path):
    model, tuned = taught
    again = lens.TunedLens.open(tuned.save(tmp_path).parent, model)
    torch.testing.assert_close(again.weight, tuned.weight)
    torch.testing.assert_close(again.bias, tuned.bias)
    assert again.about == tuned.about
    other = probe.load("zoo:ar-cpt")
    with pytest.raises(probe.ProbeError, match="weights differ"):
        lens.TunedLens.open(tmp_path, other)
    with pytest.raises(probe.ProbeError, match="Make it"):
        lens.TunedLens.open(tmp_path / "nowhere", model)
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(probe.ProbeError, match="a tuned lens"):
        lens.TunedLens.open(tmp_path, model)


def test_a_model_loads_from_a_folder_that_holds_a_lens(taught, tmp_path):
    from probe.zoo import zoo_folder

    model, tuned = taught
    for file in zoo_folder(model.name.removeprefix("zoo:")).glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tuned.save(tmp_path)
    loaded = probe.load(tmp_path)
    assert lens.TunedLens.open(tmp_path, loaded).about == tuned.about


def test_the_same_seed_gives_the_same_lens():
    model = probe.load("zoo:ar")
    texts = probe.task("ioi").examples(model, 20, seed=1)
    one, two = (lens.train(model, texts, steps=4, rows=16, seed=3) for _ in range(2))
    assert torch.equal(one.weight, two.weight)


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("reading", ["prefix", "one_mask", "ratio"])
def test_a_diffusion_model_is_read_at_what_answers_for_masks_and_nowhere_else(shift, reading):
    model = model_of("llama-gqa", Masked(mask_id=MASK, shift=shift))
    batch = _texts()
    prompts = named(reading).ask(model, batch)
    found = answering(model, prompts.canvas.tokens, prompts.view)
    for row, tokens in enumerate(prompts.canvas.tokens.tolist()):
        masks = [place for place, token in enumerate(tokens) if token == MASK]
        assert found[row].nonzero()[:, 0].tolist() == [place - shift for place in masks if place >= shift]


def test_an_ar_model_is_read_where_only_text_stands_before():
    model = model_of("llama-gqa")
    prompts = named("ar").ask(model, _texts())
    found = answering(model, prompts.canvas.tokens, prompts.view)
    assert found[0].tolist() == [True] * 5 + [False]
    assert readings_of(model) == [READINGS["ar"]()]
    assert [one.name for one in readings_of(model_of("llama-gqa", Masked(mask_id=MASK)))] == [
        "prefix", "one_mask", "ratio", "ratio", "ratio",
    ]  # fmt: skip


def test_both_lenses_stand_in_one_table(taught):
    model, tuned = taught
    batch = probe.task("ioi").examples(model, 12, seed=5)
    result = lens.tuned_lens(model, batch, tuned)
    assert set(result.table["lens"]) == {"logit", "tuned"}
    assert {"kl", "entropy", "rank", "agrees"} == set(result.table["measure"])
    assert len(result.figure().data) > 0
    depth = lens.depth(model, batch, tuned).table
    assert set(depth["lens"]) == {"logit", "tuned"}


def _texts():
    from tests.analyses.planted import batch_of

    clean = torch.randint(0, 40, (6, 6), generator=torch.Generator().manual_seed(0))
    corrupt = clean.clone()
    corrupt[:, 1] = (corrupt[:, 1] + 1) % 40
    return batch_of(clean, corrupt, 5, (clean[:, 5] + 1) % 40)


def test_a_step_in_pieces_is_the_step_at_once(monkeypatch):
    """Where the logits of all rows do not fit, gradients are added up; rows are not left out."""
    model = probe.load("zoo:ar", selftest="off")
    batch = probe.task("ioi").examples(model, 12, seed=2, split="train")
    whole = lens.train(model, batch, steps=3, rows=24, seed=1)
    monkeypatch.setattr(unembedding, "LOGITS_AT_ONCE", 5 * model.n_layers * model.vocabulary)
    pieces = lens.train(model, batch, steps=3, rows=24, seed=1)
    assert whole.weight.abs().max() > 0
    torch.testing.assert_close(pieces.weight, whole.weight, rtol=1e-3, atol=1e-5)
