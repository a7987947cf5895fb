"""DiffusionGemma writes here what it writes under transformers' own `generate`, and is recorded while it does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion, set_seed
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    EntropyBoundSamplerConfig,
    StableAndConfidentStoppingCriteria,
)

from probe.errors import TokenError, TraceError
from probe.tracing.diffusion_gemma import RECORDED, Denoising, _Writer, record_denoising

WORDS, SLOTS, WINDOW = 61, 6, 8
TEXT = {
    **{"vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 48, "moe_intermediate_size": 24},
    **{"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8},
    **{"global_head_dim": 16, "num_global_key_value_heads": 1, "num_experts": 4, "top_k_experts": 2},
    **{"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention", "full_attention"]},
    **{"max_position_embeddings": 128, "pad_token_id": 0, "eos_token_id": None, "bos_token_id": None},
}
VISION = {
    **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"num_key_value_heads": 2, "head_dim": 8},
}
PROMPT = torch.randint(1, 57, (2, 10), generator=torch.Generator().manual_seed(1))
SURE = 2.3
OPTIONS = Denoising(steps=4, entropy_bound=3.0)
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def backbone() -> Any:
    """Random weights, each layer with a number of its own; a text longer than the window."""
    torch.manual_seed(0)
    special = {"image_token_id": 60, "boi_token_id": 59, "eoi_token_id": 58}
    config = DiffusionGemmaConfig(text_config=TEXT, vision_config=VISION, canvas_length=SLOTS, **special)
    model = DiffusionGemmaForBlockDiffusion(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
        for stack in (model.model.encoder.language_model, model.model.decoder):
            for number, layer in enumerate(stack.layers):
                layer.layer_scalar.fill_(0.7 + 0.2 * number)
    return model.requires_grad_(False)


class Overheard:
    """What `generate` says while it writes: each step's best tokens."""

    def __init__(self) -> None:
        self.best: list[torch.Tensor] = []

    def put(self, value: torch.Tensor) -> None: ...

    def put_draft(self, value: torch.Tensor) -> None:
        self.best.append(value)

    def end(self) -> None: ...


def hooks_of(backbone: Any) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in backbone.modules())


@pytest.mark.parametrize(
    "options",
    [
        OPTIONS,
        Denoising(steps=3, entropy_bound=1e-3),
        Denoising(steps=12, entropy_bound=50.0, stable=0, sure=SURE, temperatures=(0.9, 0.01)),
    ],
    ids=["some kept", "few kept", "ends early"],
)
def test_it_writes_what_generate_writes_step_by_step(backbone, options, monkeypatch):
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: None)
    ours = record_denoising(backbone, PROMPT, 2 * SLOTS - 1, options=options, seed=3)
    heard = Overheard()
    first, last = options.temperatures
    set_seed(3)
    theirs = backbone.generate(
        PROMPT,
        max_new_tokens=2 * SLOTS - 1,
        streamer=heard,
        max_denoising_steps=options.steps,
        sampler_config=EntropyBoundSamplerConfig(options.entropy_bound),
        t_max=first,
        t_min=last,
        stability_threshold=options.stable,
        confidence_threshold=options.sure,
    )
    assert torch.equal(ours.tokens, theirs.sequences)
    assert len(ours.steps) == len(heard.best)
    for step, best in zip(ours.steps, heard.best, strict=True):
        assert torch.equal(step.best, best)
    if options.sure == SURE:
        assert len(ours.steps) < 2 * options.steps


@pytest.mark.parametrize("stable", [0, 1, 2])
def test_a_canvas_ends_when_the_stock_criterion_says_so(backbone, stable):
    """Best tokens that rarely change, and entropies on both sides of the bound."""
    drawn = torch.Generator().manual_seed(0)
    theirs = StableAndConfidentStoppingCriteria(stable, 1.0)
    ours = _Writer(backbone, Denoising(stable=stable, sure=1.0), drawn, ())
    earlier: list[torch.Tensor] = []
    said = []
    for _ in range(40):
        now = (torch.rand(3, 2, generator=drawn) < 0.2).long()
        logits = torch.randn(3, 2, 4, generator=drawn) * 3
        entropy = torch.distributions.Categorical(logits=logits).entropy()
        said.append(ours._ended(now, earlier, entropy))
        assert torch.equal(said[-1], theirs(now, logits))
        earlier.append(now)
    assert 0 < torch.stack(said).float().mean() < 1


def test_what_is_recorded_is_what_the_stock_decoder_says(backbone):
    run = record_denoising(backbone, PROMPT, SLOTS, RECORDED, options=OPTIONS, seed=3)
    trace = {name: torch.tensor(run.trace[name].values) for name in RECORDED}
    backbone.set_attn_implementation("eager")
    cache, before = backbone.model.encoder(input_ids=PROMPT).past_key_values, None
    for step, taken in enumerate(run.steps):
        stock = backbone(
            decoder_input_ids=taken.shown,
            past_key_values=cache,
            self_conditioning_logits=before,
            output_hidden_states=True,
            output_attentions=True,
        )
        torch.testing.assert_close(trace["logits"][:, step], stock.logits, **CLOSE)
        for layer, hidden in enumerate(stock.hidden_states[:-1]):
            torch.testing.assert_close(trace["resid_pre"][:, step, layer], hidden, **CLOSE)
        torch.testing.assert_close(trace["final_norm"][:, step], stock.hidden_states[-1], **CLOSE)
        for layer, attention in enumerate(stock.attentions):
            pattern = trace["pattern"][:, step, layer]
            torch.testing.assert_close(pattern[..., pattern.shape[-1] - attention.shape[-1] :], attention, **CLOSE)
        before = stock.logits / (0.4 + 0.4 * (OPTIONS.steps - step) / OPTIONS.steps)
    assert (trace["pattern"][:, :, 0, ..., : PROMPT.shape[1] + 1 - WINDOW] == 0).all()  # beyond the window


def test_the_stream_is_a_sum_but_for_each_layer_s_own_number(backbone):
    run = record_denoising(backbone, PROMPT, SLOTS, RECORDED, options=OPTIONS)
    trace = {name: torch.tensor(run.trace[name].values) for name in RECORDED}
    torch.testing.assert_close(trace["resid_pre"] + trace["attn_out"], trace["resid_mid"], **CLOSE)
    numbers = torch.stack([layer.layer_scalar for layer in backbone.model.decoder.layers])[:, :, None]
    torch.testing.assert_close((trace["resid_mid"] + trace["mlp_out"]) * numbers, trace["resid_post"], **CLOSE)
    torch.testing.assert_close(trace["resid_post"][:, :, :-1], trace["resid_pre"][:, :, 1:], **CLOSE)


def test_a_trace_says_what_was_seen_and_kept(backbone):
    hooks = hooks_of(backbone)
    run = record_denoising(backbone, PROMPT, SLOTS + 1, ["resid_mid", "pattern"], options=OPTIONS)
    assert hooks_of(backbone) == hooks
    trace = run.trace
    assert trace["resid_mid"].dims == ("example", "step", "layer", "position", "feature")
    assert trace["pattern"].sizes["key"] == run.tokens.shape[1] == 10 + 2 * SLOTS
    assert trace["canvas"].values.tolist() == [0] * 4 + [1] * 4
    kept, shown = torch.tensor(trace["kept"].values), torch.tensor(trace["tokens"].values)
    assert 0 < kept.float().mean() < 1
    assert shown.shape == kept.shape == (2, 8, SLOTS)


def test_what_cannot_be_had_is_refused_with_the_reason(backbone):
    with pytest.raises(TraceError, match="different widths"):
        record_denoising(backbone, PROMPT, SLOTS, ["z"])
    with pytest.raises(TraceError, match="resid_pre"):
        record_denoising(backbone, PROMPT, SLOTS, ["resid_prae"])
    with pytest.raises(TokenError, match="from 0 to 60"):
        record_denoising(backbone, PROMPT + WORDS, SLOTS)
    with pytest.raises(TraceError, match="at least 1 token"):
        record_denoising(backbone, PROMPT, 0)
    with pytest.raises(TraceError, match="Linear"):
        record_denoising(torch.nn.Linear(1, 1), PROMPT, SLOTS)  # type: ignore[arg-type]
