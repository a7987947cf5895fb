"""One contract, three tracers: they find the same numbers at the same sites, and those that Hugging Face gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from probe.errors import TraceError
from probe.paradigms import visibility
from probe.tracing import SITES, record, zero
from probe.tracing.editing import edit
from tests.probe.tracing.architectures import canvas_of, hooks_of, model_of, tokens_of

TOLERANCE = 1e-5


@pytest.mark.parametrize("tracer", ["transformer_lens", "nnsight"])
def test_tracers_agree_on_every_site(architecture, attention, tracer):
    model = model_of(architecture, attention)
    canvas = canvas_of(model, attention)
    ours = record(model, canvas, list(SITES))
    theirs = record(model, canvas, list(SITES), tracer=tracer)
    for name in SITES:
        assert ours[name].dims == theirs[name].dims
        np.testing.assert_allclose(theirs[name], ours[name], atol=TOLERANCE, err_msg=name)
    assert hooks_of(model) == 0


@pytest.mark.parametrize("tracer", ["hooks", "transformer_lens", "nnsight"])
def test_tracers_select_alike(tracer):
    model = model_of("qwen3", "full")
    canvas = canvas_of(model, "full")
    whole = record(model, canvas, ["q", "k", "head_out", "pattern", "mlp_hidden", "logits"], tracer=tracer)
    chosen = {"layers": [1], "heads": [2, 3], "positions": [5, 0]}
    part = record(model, canvas, ["q", "k", "head_out", "pattern", "mlp_hidden", "logits"], tracer=tracer, **chosen)
    assert part.sizes["head"] == 2
    assert part["kv_head"].values.tolist() == [1]  # the one that heads 2 and 3 read from
    for name in part:
        labels = {dim: part[dim] for dim in part[name].dims if dim in part.coords}
        # head_out may be summed in another order over fewer heads
        np.testing.assert_allclose(part[name], whole[name].sel(labels), atol=1e-6, err_msg=name)


def test_hidden_states_and_attentions_of_hugging_face(architecture, attention):
    model = model_of(architecture, attention)
    canvas = canvas_of(model, attention)
    trace = record(model, canvas, ["embed", "resid_pre", "resid_post", "final_norm", "pattern", "logits"])
    model.config._attn_implementation = "eager"
    with torch.no_grad():
        given = model.backbone(
            canvas.tokens,
            attention_mask=visibility.additive(canvas.allowed),
            position_ids=canvas.places,
            output_hidden_states=True,
            output_attentions=True,
        )
    last = model.n_layers - 1
    close = {"atol": TOLERANCE, "rtol": 0}
    np.testing.assert_allclose(trace["embed"], given.hidden_states[0], **close)
    for layer in range(model.n_layers):
        np.testing.assert_allclose(trace["resid_pre"].sel(layer=layer), given.hidden_states[layer], **close)
        np.testing.assert_allclose(trace["pattern"].sel(layer=layer), given.attentions[layer], **close)
    for layer in range(last):
        np.testing.assert_allclose(trace["resid_post"].sel(layer=layer), given.hidden_states[layer + 1], **close)
    np.testing.assert_allclose(trace["final_norm"], given.hidden_states[-1], **close)
    np.testing.assert_allclose(trace["logits"], given.logits, **close)


def test_other_tracers_refuse_a_model_under_edits():
    model = model_of("llama", "full")
    for tracer in ("transformer_lens", "nnsight"):
        with edit(model, zero("z", layer=0)), pytest.raises(TraceError, match="not being edited"):
            record(model, tokens_of(), "logits", tracer=tracer)


def test_remote_needs_a_key(monkeypatch):
    from nnsight import CONFIG

    monkeypatch.setattr(CONFIG.API, "APIKEY", None)
    with pytest.raises(TraceError, match="NDIF_API_KEY"):
        record(model_of("llama"), tokens_of(), "resid_post", tracer="nnsight", remote=True)


def test_remote_refuses_patterns():
    with pytest.raises(TraceError, match="cannot be changed from here"):
        record(model_of("llama"), tokens_of(), "pattern", tracer="nnsight", remote="local")


def test_remote_is_only_for_nnsight():
    with pytest.raises(TraceError, match='Pass tracer="nnsight"'):
        record(model_of("llama"), tokens_of(), "logits", remote=True)


def test_the_shipped_form_of_a_trace_gives_the_same(tmp_path):
    """remote="local" serialises the trace as it would be shipped and runs it without this project's modules."""
    model = model_with_tokenizer()
    here = record(model, tokens_of(), ["resid_post", "head_out", "logits"])
    shipped = record(model, tokens_of(), ["resid_post", "head_out", "logits"], tracer="nnsight", remote="local")
    for name in here:
        np.testing.assert_allclose(shipped[name], here[name], atol=TOLERANCE)


def model_with_tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    from probe.models.model import Model
    from probe.paradigms import Masked
    from tests.probe.tracing.architectures import MASK, VOCABULARY, tiny_backbone

    words = {str(number): number for number in range(VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="0")), unk_token="0", pad_token="0"
    )
    return Model(tiny_backbone("llama"), Masked(attention="full", mask_id=MASK), tokenizer, name="tiny")


def test_unknown_tracer_names_the_nearest():
    with pytest.raises(TraceError, match="Did you mean 'hooks'"):
        record(model_of("llama"), tokens_of(), "logits", tracer="hook")
