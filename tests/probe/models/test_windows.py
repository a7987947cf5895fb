"""Sliding windows: a layer that has one sees no further, under every attention and by every way of asking."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen3Config

import analyses
import probe
from probe.decoding import PassOptions, Strides, decode
from probe.errors import CheckpointError, SelfTestError, TraceError
from probe.models import windows
from probe.models.model import Model
from probe.paradigms import Autoregressive, Block, Fluid, Masked, visibility
from probe.paradigms.fluid import insert
from probe.paradigms.paradigm import TrainingBatch
from probe.training.trainer import collate_tensors
from tests.probe.slow_masks import slow_insert, slow_visible
from tests.probe.tiny import MASK, backbone_of, config_of, stock_logits, tokens_of, write_stock

CLOSE = {"atol": 1e-5, "rtol": 0}
WIDTH = 5
IN_ALL = {"use_sliding_window": True, "sliding_window": WIDTH, "max_window_layers": 0}
IN_ONE = {**IN_ALL, "max_window_layers": 1}
PARADIGMS = {
    "causal": Autoregressive(),
    "full": Masked(mask_id=MASK),
    "block:4": Block(mask_id=MASK, shift=False),
    "masks_last": Masked(mask_id=MASK, shift=False, clean_shift=True, attention="masks_last"),
}


IN_GEMMA = {"head_dim": 8, "sliding_window": WIDTH, "layer_types": [windows.SLIDING, windows.FULL]}
WINDOWED = [("qwen2", IN_ALL), ("qwen2", IN_ONE), ("qwen3", IN_ONE), ("gemma3_text", IN_GEMMA)]
WINDOWED += [("modernbert", {"local_attention": 2 * (WIDTH - 1)})]  # that far to both sides


@pytest.fixture(scope="module", params=WINDOWED, ids=str)
def backbones(request):
    """One to be wrapped, and its equal that is called as transformers calls it."""
    architecture, window = request.param
    return backbone_of(architecture, **window), backbone_of(architecture, **window)


def near(places: torch.Tensor) -> torch.Tensor:
    """Pairs of slots no further apart than the window lets them be, one at a time."""
    rows = [[[abs(query - key) < WIDTH for key in row] for query in row] for row in places.tolist()]
    return torch.tensor(rows)


def stock(backbone, tokens, allowed, places=None, **how) -> torch.Tensor:
    """The stock class, handed a mask for each kind of layer as it would make them itself."""
    backbone.set_attn_implementation(how.pop("kernel", "eager"))
    places = torch.arange(tokens.shape[1])[None] if places is None else places
    masks = {
        windows.FULL: torch.where(allowed, 0.0, -float("inf"))[:, None],
        windows.SLIDING: torch.where(allowed & near(places), 0.0, -float("inf"))[:, None],
    }
    with torch.no_grad():
        return backbone(input_ids=tokens, attention_mask=masks, position_ids=places, use_cache=False, **how).logits


def test_a_model_with_windows_is_the_stock_class_left_to_itself(backbones):
    ours, theirs = backbones
    tokens = tokens_of(2, 24)
    model = Model(ours, Autoregressive())
    attention = "full" if model.layout.encoder else "causal"
    torch.testing.assert_close(model.logits(tokens, attention), stock_logits(theirs, tokens), **CLOSE)


def test_the_numbers_of_the_report_are_right():
    """A Qwen2 with a window of 16 in every layer was off by up to 11 from slot 16 on."""
    backbone = backbone_of("qwen2", use_sliding_window=True, sliding_window=16, max_window_layers=0)
    tokens = tokens_of(2, 40)
    found = Model(backbone, Autoregressive()).logits(tokens)
    torch.testing.assert_close(found, stock_logits(backbone, tokens), **CLOSE)


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("attention", PARADIGMS)
def test_every_attention_keeps_the_window(backbones, attention, kernel):
    ours, theirs = backbones
    model = Model(ours, PARADIGMS[attention])
    tokens = tokens_of(2, 17, masked=0.3)
    expected = stock(theirs, tokens, slow_visible(attention, tokens, MASK), kernel=kernel)
    found = model.run(model.canvas(tokens), eager=kernel == "eager")
    torch.testing.assert_close(found, expected, **CLOSE)


def test_a_mask_of_the_users_own_keeps_the_window(backbones):
    ours, theirs = backbones
    tokens = tokens_of(2, 17)
    allowed = torch.rand(2, 17, 17, generator=torch.Generator().manual_seed(2)) < 0.5
    allowed |= torch.eye(17, dtype=torch.bool)
    mask = torch.where(allowed, 0.0, -float("inf"))[:, None]
    torch.testing.assert_close(
        Model(ours, Autoregressive()).logits(tokens, mask), stock(theirs, tokens, allowed), **CLOSE
    )


def test_inserted_blocks_are_as_near_as_their_places_say(backbones):
    ours, theirs = backbones
    tokens = tokens_of(2, 12)
    generator = torch.Generator().manual_seed(1)
    anchors = torch.rand(tokens.shape, generator=generator) < 0.4
    lengths = torch.randint(1, 5, tokens.shape, generator=generator)
    found = Model(ours, Fluid(mask_id=MASK)).run(insert(tokens, anchors, lengths, MASK))
    for row, (shown, places, sees) in enumerate(slow_insert(tokens, anchors, lengths, MASK)):
        expected = stock(theirs, torch.tensor([shown]), torch.tensor([sees]), torch.tensor([places]))
        torch.testing.assert_close(found[row, : len(shown)], expected[0], **CLOSE)


def test_padding_moves_no_window(backbones):
    model = Model(backbones[0], Masked(mask_id=MASK))
    tokens = tokens_of(1, 12)
    padded = torch.cat([torch.zeros(1, 4, dtype=torch.long), tokens], 1)
    found = model.logits(padded, padding=torch.arange(16)[None] < 4)[:, 4:]
    torch.testing.assert_close(found, model.logits(tokens), **CLOSE)


@pytest.mark.parametrize("paradigm", [Autoregressive(), Block(mask_id=MASK, shift=False)], ids=lambda one: one.name)
def test_decoding_with_a_cache_is_decoding_without(backbones, paradigm):
    model = Model(backbones[0], paradigm)
    used = None if model.layout.encoder else True  # an encoder has none
    runs = (decode(model, tokens_of(2, 9), 12, seed=0, passes=PassOptions(cache=cache)) for cache in (used, False))
    kept, anew = runs
    torch.testing.assert_close(kept.tokens, anew.tokens)
    torch.testing.assert_close(kept.confidence, anew.confidence, **CLOSE, equal_nan=True)


@pytest.mark.parametrize("overlap", [True, False])
def test_fluid_s_blocks_in_a_cache_are_as_near_as_their_places_say(backbones, overlap):
    """Verified strides are what the model writes alone; with a cache, blocks' keys lie behind the text's."""
    model, prompt = Model(backbones[0], Fluid(mask_id=MASK)), tokens_of(2, 9)
    alone = decode(
        Model(backbones[0], Autoregressive(mask_id=MASK)), prompt, 12, seed=0, passes=PassOptions(cache=False)
    )
    rule = Strides(4, overlap=overlap)
    used = None if model.layout.encoder else True
    kept, anew = (decode(model, prompt, 12, sampler=rule, passes=PassOptions(cache=cache)) for cache in (used, False))
    torch.testing.assert_close(kept.tokens, alone.tokens)
    torch.testing.assert_close(kept.tokens, anew.tokens)
    assert kept.forward_passes == anew.forward_passes  # what was drafted was the same
    torch.testing.assert_close(kept.confidence, anew.confidence, **CLOSE, equal_nan=True)


@pytest.mark.parametrize("tracer", ["hooks", "nnsight", "transformer_lens"])
def test_a_recorded_pattern_is_0_beyond_the_window(backbones, tracer):
    model = Model(backbones[0], Masked(mask_id=MASK))
    tokens = tokens_of(2, 12)
    if tracer == "transformer_lens" and model.layout.encoder:
        with pytest.raises(TraceError, match="no adapter"):
            probe.record(model, tokens, ["pattern"], tracer=tracer)
        return
    pattern = probe.record(model, tokens, ["pattern", "logits"], tracer=tracer)
    torch.testing.assert_close(torch.tensor(pattern["logits"].values), model.logits(tokens), **CLOSE)
    far = ~near(torch.arange(12)[None])[0].numpy()
    for layer, window in enumerate(model.windows):
        beyond = pattern["pattern"].isel(layer=layer).values[..., far]
        assert (beyond == 0).all() == (window is not None)


def test_training_sees_what_the_model_will_see(backbones):
    ours, theirs = backbones
    model = Model(ours, Masked(mask_id=MASK))
    canvas = model.canvas(tokens_of(2, 14))
    batch = TrainingBatch(canvas, canvas.tokens, torch.ones(2, 14))
    shown = collate_tensors([batch], model.windows)
    theirs.set_attn_implementation("eager")
    found = theirs(**{name: shown[name] for name in ("input_ids", "attention_mask", "position_ids")}).logits
    torch.testing.assert_close(found, model.run(canvas), **CLOSE)


def test_an_even_head_within_a_window_has_an_entropy_of_1():
    """Entropy is a share of what could be seen: in a layer with a window that is the window."""
    backbone = backbone_of("qwen2", **IN_ALL)
    for block in backbone.model.layers:
        block.self_attn.q_proj.weight.zero_()
        block.self_attn.q_proj.bias.zero_()
    table = analyses.attention.heads(Model(backbone, Autoregressive()), tokens_of(2, 16)).table
    assert table["entropy"].to_numpy() == pytest.approx(1.0, abs=1e-5)


def test_a_window_that_nobody_reaches_changes_nothing():
    tokens = tokens_of(2, 12)
    plain = Model(backbone_of("qwen2"), Autoregressive())
    wide = Model(
        backbone_of("qwen2", use_sliding_window=True, sliding_window=64, max_window_layers=0), Autoregressive()
    )
    torch.testing.assert_close(wide.logits(tokens), plain.logits(tokens), atol=0, rtol=0)
    assert isinstance(wide.attention_masks(wide.canvas(tokens)), torch.Tensor)


@pytest.mark.parametrize("width", [3, 16, 100])
def test_the_self_tests_notice_windows_that_are_dropped(width, tmp_path, monkeypatch):
    backbone = backbone_of("qwen2", use_sliding_window=True, sliding_window=width, max_window_layers=1)
    folder = write_stock(tmp_path / "windowed", backbone)
    model = probe.load(folder, tokenizer=False)
    assert model.windows == (None, width)
    assert model.config.sliding_window == width  # the tests that narrow it put it back
    assert str(width) in model.facts["windows"]

    def dropped(canvas, _windows, dtype=torch.float32):
        return visibility.additive(canvas.allowed, dtype)

    monkeypatch.setattr(windows, "masks", dropped)
    with pytest.raises(SelfTestError) as caught:
        probe.load(folder, tokenizer=False)
    assert {"wiring: ", "kernels: "} <= {test + ": " for test in ("wiring", "kernels") if test in caught.value.found}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"layer_types": ["full_attention", "chunked_attention"]}, "chunked_attention"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_window"),
        ({"use_sliding_window": True, "sliding_window": 0}, "sliding_window"),
    ],
)
def test_layers_that_are_not_understood_are_refused_by_name(settings, named, tmp_path):
    folder = write_stock(tmp_path / "odd", backbone_of("qwen3"))
    config = config_of("qwen3", **{**settings, "head_dim": 128})
    assert isinstance(config, Qwen3Config)
    (folder / "config.json").write_text(config.to_json_string(use_diff=False))
    with pytest.raises(CheckpointError) as caught:
        probe.load(folder, tokenizer=False)
    assert named in str(caught.value)
