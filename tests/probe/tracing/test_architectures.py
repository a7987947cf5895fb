"""What is recorded and edited where an architecture has norms behind its parts, parts side by side, caps or experts."""

from __future__ import annotations

import pytest
import torch

import probe
from probe.errors import TraceError
from tests.probe.tiny import model_of, tokens_of

CLOSE = {"atol": 1e-5, "rtol": 0}


def recorded(model, *sites: str) -> dict[str, torch.Tensor]:
    trace = probe.record(model, tokens_of(2, 7), list(sites))
    return {name: torch.tensor(trace[name].values) for name in sites}


@pytest.mark.parametrize("variant", ["olmo2", "gemma2", "gemma3", "phi3", "smollm3", "mixtral", "qwen3-moe-mixed"])
def test_heads_add_up_to_what_attention_adds_to_the_stream(variant):
    found = recorded(model_of(variant), "head_out", "attn_out")
    torch.testing.assert_close(found["head_out"].sum(2), found["attn_out"], **CLOSE)


@pytest.mark.parametrize("variant", ["gemma2", "olmo2", "gpt-neox"])
def test_a_head_that_is_taken_out_takes_its_own_write_along_and_no_other_s(variant):
    """Behind a norm the others would grow, were it taken out before."""
    model = model_of(variant)
    before = recorded(model, "head_out", "attn_out")
    with probe.edit(model, probe.zero("head_out", layer=0, head=1)):
        after = recorded(model, "attn_out")
    torch.testing.assert_close(
        after["attn_out"][:, 0], (before["attn_out"] - before["head_out"][:, :, 1])[:, 0], **CLOSE
    )


@pytest.mark.parametrize("site", ["q", "k", "v"])
@pytest.mark.parametrize("variant", ["gpt-neox", "phi3", "gpt2", "modernbert"])
def test_an_edit_of_one_part_of_a_joint_projection_leaves_the_others(variant, site):
    model = model_of(variant)
    sites = ("q", "k", "v")
    before = recorded(model, *sites)
    with probe.edit(model, probe.zero(site, layer=1, head=1)):
        after = recorded(model, *sites)
    expected = before[site].clone()
    expected[:, 1, 1] = 0
    torch.testing.assert_close(after[site], expected, **CLOSE)
    for other in set(sites) - {site}:
        torch.testing.assert_close(after[other], before[other], **CLOSE)


@pytest.mark.parametrize(
    ("variant", "site", "reason"),
    [("gpt-neox", "resid_mid", "both in parallel"), ("mixtral", "mlp_hidden", "mixture of experts")],
)
def test_a_site_that_an_architecture_has_not_is_refused_with_the_reason(variant, site, reason):
    model = model_of(variant)
    with pytest.raises(TraceError, match=reason):
        probe.record(model, tokens_of(1, 5), [site])
    with pytest.raises(TraceError, match=reason), probe.edit(model, probe.zero(site, layer=0)):
        pass


def test_capped_logits_are_recorded_and_not_edited():
    model = model_of("gemma2")
    logits = recorded(model, "logits")["logits"]
    torch.testing.assert_close(logits, model.logits(tokens_of(2, 7)), **CLOSE)
    assert logits.abs().max() < model.logit_cap
    with pytest.raises(TraceError, match="capped"), probe.edit(model, probe.zero("logits")):
        pass


@pytest.mark.parametrize("variant", ["gemma2", "gpt-neox", "mixtral"])
@pytest.mark.parametrize("tracer", ["nnsight", "transformer_lens"])
def test_other_tracers_find_the_same(variant, tracer):
    model = model_of(variant)
    sites = ["q", "v", "attn_out", "pattern", "mlp_out", "resid_post", "logits"]
    ours = probe.record(model, tokens_of(2, 7), sites)
    theirs = probe.record(model, tokens_of(2, 7), sites, tracer=tracer)
    for name in sites:
        torch.testing.assert_close(torch.tensor(theirs[name].values), torch.tensor(ours[name].values), **CLOSE)


def test_transformer_lens_s_heads_are_refused_where_a_norm_stands_behind_them():
    with pytest.raises(TraceError, match="a norm after attention"):
        probe.record(model_of("olmo2"), tokens_of(1, 5), ["head_out"], tracer="transformer_lens")


def test_a_prediction_head_stands_between_the_final_norm_and_the_logits():
    model = model_of("modernbert")
    found = recorded(model, "embed", "final_norm", "logits")
    torch.testing.assert_close(found["embed"], model.embedded(tokens_of(2, 7)), **CLOSE)
    torch.testing.assert_close(found["logits"], model.unembed(found["final_norm"]), **CLOSE)
    torch.testing.assert_close(found["logits"], model.logits(tokens_of(2, 7)), **CLOSE)
    some = probe.record(model, tokens_of(2, 7), ["logits"], positions=[2, 5])
    torch.testing.assert_close(torch.tensor(some["logits"].values), found["logits"][:, [2, 5]], **CLOSE)
