"""What a trace holds: identities between sites, labels, selections, steps."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.decoding import Strides, decode
from probe.errors import TraceError
from probe.readings import Reading, View
from probe.tracing import SITES, add, edit, record
from probe.tracing.store import chunk_shape
from tests.probe.tracing.architectures import MASK, canvas_of, hooks_of, model_of, tokens_of


def test_head_outputs_and_bias_sum_to_attn_out(architecture):
    model = model_of(architecture, "full")
    trace = record(model, tokens_of(), ["head_out", "attn_out"])
    biases = [model.layout.of_block(block, "output").bias for block in model.blocks]
    bias = torch.stack([torch.zeros(model.d_model) if one is None else one for one in biases])
    summed = trace["head_out"].sum("head").values + bias[None, :, None].numpy()
    np.testing.assert_allclose(summed, trace["attn_out"].values, atol=1e-5)


def test_embed_and_all_writes_make_the_last_residual(architecture, attention):
    model = model_of(architecture, attention)
    trace = record(model, canvas_of(model, attention), list(SITES))
    writes = trace["embed"] + trace["attn_out"].sum("layer") + trace["mlp_out"].sum("layer")
    np.testing.assert_allclose(writes, trace["resid_post"].isel(layer=-1), atol=1e-5)
    np.testing.assert_allclose(trace["resid_pre"] + trace["attn_out"], trace["resid_mid"], atol=1e-6)
    np.testing.assert_allclose(trace["resid_mid"] + trace["mlp_out"], trace["resid_post"], atol=1e-6)


def test_patterns_are_distributions_over_what_may_be_seen(architecture, attention):
    model = model_of(architecture, attention)
    canvas = canvas_of(model, attention)
    pattern = record(model, canvas, "pattern")["pattern"].values
    np.testing.assert_allclose(pattern.sum(-1), 1, atol=1e-5)
    forbidden = ~canvas.allowed.expand(len(canvas), -1, -1).numpy()
    assert forbidden.any() == (attention != "full")
    seen = np.broadcast_to(forbidden[:, None, None], pattern.shape)
    assert (pattern[seen] == 0).all()


def test_logits_are_those_of_the_model(architecture, attention):
    model = model_of(architecture, attention)
    canvas = canvas_of(model, attention)
    trace = record(model, canvas, "logits")
    with torch.no_grad():
        np.testing.assert_array_equal(trace["logits"].values, model.run(canvas).numpy())


def test_axes_and_provenance(model, tokens):
    trace = record(model, tokens, list(SITES))
    assert trace["resid_post"].dims == ("example", "layer", "position", "feature")
    assert trace["q"].dims == ("example", "layer", "head", "position", "head_feature")
    assert trace["k"].dims == ("example", "layer", "kv_head", "position", "head_feature")
    assert trace["pattern"].dims == ("example", "layer", "head", "query", "key")
    assert trace["embed"].dims == ("example", "position", "feature")
    assert trace["logits"].dims == ("example", "position", "token")
    np.testing.assert_array_equal(trace["tokens"], tokens)
    assert trace.attrs["model"] == "tiny-llama"
    assert trace.attrs["attention"] == "full"
    assert trace.attrs["tracer"] == "hooks"


def test_mask_state_says_what_is_masked(model, tokens):
    shown = tokens.clone()
    shown[1, 3] = MASK
    assert (record(model, shown, "embed")["mask_state"].values == (shown == MASK).numpy()).all()


def test_the_unembedding_is_not_computed_unless_asked_for(model, tokens):
    called = []
    handle = model.layout.part(model.backbone, "unembed").register_forward_hook(lambda *_: called.append(1))
    try:
        record(model, tokens, ["resid_post", "final_norm"])
        assert not called
        record(model, tokens, "logits")
        assert called
    finally:
        handle.remove()


def test_no_hook_is_left_when_the_model_fails(model, tokens):
    before = hooks_of(model)

    def fail(*_):
        raise RuntimeError("no")

    handle = model.blocks[1].register_forward_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="no"):
            record(model, tokens, list(SITES))
    finally:
        handle.remove()
    assert hooks_of(model) == before


subsets = st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True)


@settings(max_examples=25, deadline=None)
@given(
    positions=subsets,
    heads=st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True),
    layers=st.lists(st.integers(0, 1), min_size=1, max_size=2, unique=True),
    batch_size=st.integers(1, 4),
)
def test_a_selection_is_that_part_of_the_whole(positions, heads, layers, batch_size):
    model = model_of("llama", "full")
    sites = ["q", "k", "z", "head_out", "pattern", "resid_mid", "logits"]
    whole = record(model, tokens_of(), sites)
    part = record(model, tokens_of(), sites, positions=positions, heads=heads, layers=layers, batch_size=batch_size)
    assert part["position"].values.tolist() == positions
    for name in sites:
        labels = {dim: part[dim] for dim in part[name].dims if dim in part.coords}
        np.testing.assert_allclose(part[name], whole[name].sel(labels), atol=1e-5, err_msg=name)


def test_positions_may_differ_by_example(model, tokens):
    positions = torch.tensor([[1, 4], [0, 6], [-1, 2]])
    whole, part = (
        record(model, tokens, ["resid_post", "pattern"]),
        record(model, tokens, ["resid_post", "pattern"], positions=positions),
    )
    for example, row in enumerate([[1, 4], [0, 6], [6, 2]]):
        np.testing.assert_array_equal(part["place"][example], row)
        np.testing.assert_array_equal(part["resid_post"][example], whole["resid_post"][example].sel(position=row))
        np.testing.assert_array_equal(part["pattern"][example], whole["pattern"][example].sel(query=row))
    np.testing.assert_array_equal(part["key_tokens"], tokens)


def test_inserted_tokens_are_addressed_by_their_place():
    model = model_of("llama", "fluid")
    canvas = canvas_of(model, "fluid")
    whole = record(model, canvas, "resid_post")
    part = record(model, canvas, "resid_post", positions=[4])
    for example in range(3):
        here = ((canvas.places[example] == 4) & (canvas.block[example] >= 0)).nonzero()[:, 0].tolist()
        count = len(here)
        np.testing.assert_array_equal(part["resid_post"][example, :, :count], whole["resid_post"][example][:, here])
        np.testing.assert_array_equal(part["block"][example, :count], canvas.block[example, here])
        assert np.isnan(part["resid_post"][example, :, count:]).all()
        assert (part["block"][example, count:] == -1).all()
    assert (part["block"][:, 0] == 0).all()  # the text's own token comes first
    assert (part["block"] > 0).any()


def test_padding_stands_nowhere(model):
    tokens = tokens_of(2, 6)
    padding = torch.zeros_like(tokens, dtype=torch.bool)
    padding[0, :2] = True
    canvas = model.canvas(tokens, padding=padding)
    first = record(model, canvas, "resid_post", positions=[0])
    alone = record(model, tokens[:1, 2:], "resid_post", positions=[0])
    assert first["tokens"].values.tolist() == [[tokens[0, 2]], [tokens[1, 0]]]
    np.testing.assert_allclose(first["resid_post"][0], alone["resid_post"][0], atol=1e-5)


def batch_like(tokens: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(clean=tokens, corrupt=tokens, positions={"answer": torch.tensor([[3], [5], [6]])}, seed=4)


def test_a_batch_names_its_positions(model, tokens):
    trace = record(model, batch_like(tokens), "resid_post", positions="answer")
    whole = record(model, tokens, "resid_post")
    for example, place in enumerate([3, 5, 6]):
        np.testing.assert_array_equal(trace["resid_post"][example, :, 0], whole["resid_post"][example, :, place])
    assert trace.attrs["seed"] == 4
    with pytest.raises(TraceError, match="Did you mean 'answer'"):
        record(model, batch_like(tokens), "resid_post", positions="anser")


def test_a_reading_decides_what_is_shown_and_where_it_is_read(model, tokens):
    class Twice(Reading):
        """Hides the answer of every example, and then again with the place before it."""

        name = "twice"

        def view(self, model, batch):
            once = torch.zeros_like(batch.clean, dtype=torch.bool).scatter(1, batch.positions["answer"], True)
            more = once | once.roll(-1, 1)
            hidden = torch.cat([once, more])
            return View(hidden, torch.arange(3).repeat(2), torch.tensor([0, 0, 0, 1, 1, 1]), hidden.float().mean(1))

    trace = record(model, batch_like(tokens), ["logits", "embed"], reading=Twice(), positions="read")
    wanted = Twice().logits(model, batch_like(tokens))
    np.testing.assert_allclose(trace["logits"][:, 0], wanted, atol=1e-6)
    assert trace["of_example"].values.tolist() == [0, 1, 2, 0, 1, 2]
    assert trace["draw"].values.tolist() == [0, 0, 0, 1, 1, 1]
    assert trace.attrs["reading"] == "twice"
    named = record(model, batch_like(tokens), "embed", reading=Twice(), positions="answer")
    assert (named["mask_state"] == 1).all()


@pytest.mark.parametrize("attention", ["causal", "full", "fluid"])
def test_a_decoding_run_is_recorded_while_it_is_made(attention, tokens):
    model = model_of("llama", attention)
    passes = []
    model.before_run.append(lambda canvas: passes.append(canvas.slots))
    try:
        live = record(model, tokens, ["resid_post", "logits"], decode={"length": 4, "seed": 3})
    finally:
        model.before_run.clear()
    # Passes that are listened to show one text each, so FLUID's checks have their own there; its text is the same.
    alone = Strides(overlap=False) if attention == "fluid" else None
    trajectory = decode(model, tokens, 4, seed=3, sampler=alone)
    assert torch.equal(trajectory.tokens, decode(model, tokens, 4, seed=3).tokens)
    assert len(passes) == trajectory.forward_passes  # one pass a step, and no other
    assert live.sizes["step"] == trajectory.states.shape[1]
    np.testing.assert_array_equal(live["tokens"], trajectory.states)
    np.testing.assert_array_equal(live["committed_at"], trajectory.committed_at)
    np.testing.assert_allclose(live["confidence"], trajectory.confidence, atol=1e-6)
    if attention == "full":
        np.testing.assert_array_equal(live["mask_state"] == 1, trajectory.states == MASK)
    again = record(model, trajectory, ["resid_post", "logits"])
    xarray.testing.assert_allclose(again, live, atol=1e-6)


def test_what_an_autoregressive_run_has_not_reached_is_nan(tokens):
    trace = record(model_of("gpt2"), tokens, ["resid_post", "pattern"], decode={"length": 3}, positions=[9 - 1, 0])
    assert np.isnan(trace["resid_post"].sel(position=8, step=[0, 1])).all()
    assert np.isfinite(trace["resid_post"].sel(position=8, step=2)).all()
    assert np.isfinite(trace["resid_post"].sel(position=0)).all()
    assert (trace["tokens"].sel(position=8, step=[0, 1]) == -1).all()


def test_steps_are_thinned(model, tokens):
    trajectory = decode(model, tokens, 5, seed=1)
    whole = record(model, trajectory, "resid_post")
    for steps, kept in [(slice(None, None, 2), [0, 2, 4]), ([1, 4], [1, 4]), ([-1], [4]), (slice(3, None), [3, 4])]:
        part = record(model, trajectory, "resid_post", steps=steps)
        assert part["step"].values.tolist() == kept
        xarray.testing.assert_equal(part, whole.sel(step=kept))
    live = record(model, tokens, "resid_post", decode={"length": 5, "seed": 1}, steps=slice(1, 4, 2))
    xarray.testing.assert_allclose(live["resid_post"], whole["resid_post"].sel(step=[1, 3]))


def test_a_run_of_one_prompt_has_one_example(model, tokens):
    trajectory = decode(model, tokens[0], 3)
    assert record(model, trajectory, "resid_post").sizes["example"] == 1
    assert record(model, tokens[0], "resid_post", decode={"length": 3}).sizes["example"] == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype, tokens):
    from probe.models.model import Model
    from probe.paradigms import Autoregressive
    from tests.probe.tracing.architectures import tiny_backbone

    model = Model(tiny_backbone("llama").to(dtype), Autoregressive())
    trace = record(model, tokens, "resid_post")
    assert trace["resid_post"].dtype == {torch.bfloat16: np.float32, torch.float64: np.float64}[dtype]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sites": "residual"}, "Did you mean"),
        ({"sites": []}, "at least one site"),
        ({"layers": [2]}, "The model has 2"),
        ({"heads": [4]}, "The model has 4"),
        ({"positions": [7]}, "from 0 to 6"),
        ({"positions": torch.zeros(2, 1, dtype=torch.long)}, "3 examples × k"),
        ({"positions": "answer"}, "a batch with named positions"),
        ({"steps": [0]}, "a decoding run"),
        ({"decode": {"length": 2}, "steps": [-1]}, "counted from the beginning"),
    ],
)
def test_mistakes_are_named(model, tokens, arguments, said):
    with pytest.raises(TraceError, match=said):
        record(model, tokens, **{"sites": "resid_post", **arguments})


@pytest.mark.parametrize(("site", "part", "layer"), [("mlp_out", "mlp_down", 1), ("q", "query", 0)])
def test_the_first_nan_is_named(site, part, layer):
    from probe.models.model import Model
    from probe.paradigms import Autoregressive
    from tests.probe.tracing.architectures import tiny_backbone

    model = Model(tiny_backbone("llama"), Autoregressive(), name="broken")

    def spoil(module, taken, given):
        given[1, 3] = torch.nan
        return given

    model.layout.of_block(model.blocks[layer], part).register_forward_hook(spoil)
    with pytest.raises(TraceError, match=f"site '{site}'.*layer {layer}, example 1, position 3"):
        record(model, tokens_of(), list(SITES))
    with pytest.raises(TraceError, match=f"site '{site}'.*example 1, position 3"):
        record(model, tokens_of(), list(SITES), batch_size=1 if site == "none" else 2)


def test_a_recording_that_cannot_fit_in_memory_is_refused(model):
    many = model.canvas(tokens_of(1)).tokens.expand(10**11, -1)
    canvas = model.canvas(tokens_of(1))
    with pytest.raises(TraceError, match="the free memory"):
        record(model, type(canvas)(many, canvas.allowed, canvas.places, canvas.block), "resid_post")


@given(
    batch=st.integers(1, 300),
    layers=st.integers(1, 40),
    positions=st.integers(1, 2000),
    features=st.integers(1, 4000),
    steps=st.integers(1, 50),
)
def test_a_chunk_holds_one_layer_and_divides_a_batch(batch, layers, positions, features, steps):
    shape = (1000, steps, layers, positions, features)
    dims = ("example", "step", "layer", "position", "feature")
    examples, of_steps, of_layers, *inner = chunk_shape(dims, shape, 4, batch)
    assert batch % examples == 0
    assert of_layers == 1
    assert inner == [positions, features]
    assert examples * of_steps * positions * features * 4 <= max(1 << 20, positions * features * 4)


def test_logits_at_some_positions_are_those_of_all_and_no_others_are_made(monkeypatch, tokens):
    model, asked = model_of("llama", "full"), []
    whole = record(model, tokens, ["final_norm", "logits"])
    unembed = model.layout.part(model.backbone, "unembed")
    watched = unembed.register_forward_pre_hook(lambda _, taken: asked.append(taken[0].shape[1]))
    some = record(model, tokens, "logits", positions=[1, 3])
    pushed = torch.full((model.d_model,), 0.5)
    with edit(model, [add("final_norm", pushed)]):
        edited = record(model, tokens, ["final_norm", "logits"], positions=[1, 3])
    watched.remove()
    assert set(asked) == {2}
    np.testing.assert_allclose(some["logits"], whole["logits"][:, [1, 3]], atol=1e-5)
    np.testing.assert_allclose(edited["final_norm"], whole["final_norm"][:, [1, 3]] + 0.5, atol=1e-5)
    np.testing.assert_allclose(edited["logits"], unembed(torch.tensor(edited["final_norm"].values)).detach(), atol=1e-5)


def test_logits_that_are_edited_are_recorded_as_edited(tokens):
    model = model_of("llama", "full")
    whole = record(model, tokens, "logits")
    with edit(model, [add("logits", torch.ones(whole.sizes["token"]))]):
        some = record(model, tokens, "logits", positions=[1, 3])
    np.testing.assert_allclose(some["logits"], whole["logits"][:, [1, 3]] + 1, atol=1e-5)
