"""Edits: what they must not change, what they must, and that nothing is left of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.decoding import PassOptions, decode
from probe.errors import TraceError
from probe.tracing import SITES, add, edit, freeze, mean, patch, record, resample, skip, zero
from probe.tracing.pattern_editing import _changes
from tests.probe.tracing.architectures import canvas_of, hooks_of, model_of, tokens_of


def logits_of(model, canvas) -> torch.Tensor:
    with torch.no_grad():
        return model.run(canvas)


@pytest.fixture
def two_runs(architecture, attention):
    """A model, a canvas, and another with other tokens but the same shape."""
    model = model_of(architecture, attention)
    canvas = canvas_of(model, attention)
    other = type(canvas)(canvas.tokens.flip(0).roll(1, 1), canvas.allowed, canvas.places, canvas.block)
    return model, canvas, other


def test_a_runs_own_values_change_nothing(two_runs):
    model, canvas, _ = two_runs
    trace, before = record(model, canvas, list(SITES)), logits_of(model, canvas)
    everywhere = [patch(name, torch.from_numpy(trace[name].values)) for name in SITES if name != "logits"]
    with edit(model, everywhere):
        torch.testing.assert_close(logits_of(model, canvas), before, atol=1e-5, rtol=0)
        again = record(model, canvas, list(SITES))
    for name in SITES:
        np.testing.assert_allclose(again[name], trace[name], atol=1e-5, err_msg=name)


def test_another_runs_residual_gives_its_logits(two_runs):
    model, canvas, other = two_runs
    theirs, wanted = record(model, other, "resid_post"), logits_of(model, other)
    for layer in range(model.n_layers):
        if layer < model.n_layers - 1:  # what follows must see the same mask, and it does
            assert not torch.allclose(wanted, logits_of(model, canvas))
        with edit(model, patch("resid_post", torch.from_numpy(theirs["resid_post"].values[:, layer]), layer=layer)):
            torch.testing.assert_close(logits_of(model, canvas), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in SITES if name != "logits"])
def test_every_site_can_be_patched_from_another_run(name, architecture):
    """All of what flows through a layer, taken from another run, makes the rest of it the other run's."""
    model = model_of(architecture, "full")
    ours, theirs = model.canvas(tokens_of(seed=1)), model.canvas(tokens_of(seed=2))
    there = record(model, theirs, list(SITES))
    with edit(model, patch(name, there)):
        here = record(model, ours, list(SITES))
    np.testing.assert_allclose(here[name], there[name], atol=1e-5)
    assert not np.allclose(here["logits"], record(model, ours, "logits")["logits"], atol=1e-4)


def test_what_an_edit_writes_is_what_flows_on(model, tokens):
    """The same edit said at different sites gives the same logits."""
    trace = record(model, tokens, ["z", "head_out", "attn_out", "resid_mid", "resid_pre"])
    canvas = model.canvas(tokens)
    one_head = logits_with(model, canvas, zero("head_out", layer=1, head=2))
    by_z = logits_with(model, canvas, zero("z", layer=1, head=2))
    less = trace["attn_out"].sel(layer=1).values - trace["head_out"].sel(layer=1, head=2).values
    by_sum = logits_with(model, canvas, patch("attn_out", less, layer=1))
    middle = trace["resid_pre"].sel(layer=1).values + less
    by_middle = logits_with(model, canvas, patch("resid_mid", middle, layer=1))
    for other in (by_z, by_sum, by_middle):
        torch.testing.assert_close(other, one_head, atol=1e-5, rtol=0)
    assert not torch.allclose(one_head, logits_of(model, canvas), atol=1e-3)


def logits_with(model, canvas, edits) -> torch.Tensor:
    with edit(model, edits):
        return logits_of(model, canvas)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from([name for name in SITES if name not in ("pattern", "resid_mid", "head_out")]),
    positions=st.lists(st.integers(-7, 6), min_size=1, max_size=3, unique_by=lambda place: place % 7),
    head=st.integers(0, 1),
)
def test_an_edit_stays_where_it_was_put(name, positions, head):
    model = model_of("llama", "full")
    before = record(model, tokens_of(), name)[name]
    where = {"position": positions}
    if SITES[name].heads:
        where["head"] = head
    if SITES[name].layered:
        where["layer"] = 0
    with edit(model, patch(name, 7.0, **where)):
        after = record(model, tokens_of(), name)[name]
    if SITES[name].layered:
        before, after = before.sel(layer=0), after.sel(layer=0)
    touched = np.zeros(before.shape, dtype=bool)
    index = [slice(None)] * before.ndim
    index[SITES[name].position_axis] = positions
    if SITES[name].heads:
        index[1] = head
    touched[tuple(index)] = True
    assert (after.values[touched] == 7).all()
    np.testing.assert_array_equal(after.values[~touched], before.values[~touched])


def test_positions_of_an_edit_may_differ_by_example(model, tokens):
    positions = torch.tensor([[1], [4], [-1]])
    with edit(model, zero("resid_post", layer=0, position=positions)):
        after = record(model, tokens, "resid_post", layers=0)["resid_post"][:, 0]
    gone = (after == 0).all("feature").values
    assert gone.nonzero()[1].tolist() == [1, 4, 6]


def test_edits_find_inserted_tokens_by_their_place():
    model = model_of("qwen2", "fluid")
    canvas = canvas_of(model, "fluid")
    with edit(model, zero("mlp_out", layer=1, position=[4])):
        trace = record(model, canvas, "mlp_out", layers=1)
    here = (canvas.places == 4) & (canvas.block >= 0)
    np.testing.assert_array_equal((trace["mlp_out"] == 0).all("feature")[:, 0], here)


def test_skipping_a_layer_passes_the_residual_through(two_runs):
    model, canvas, _ = two_runs
    for layer in range(model.n_layers):
        with edit(model, skip(layer)):
            trace = record(model, canvas, ["resid_pre", "resid_post"])
        np.testing.assert_array_equal(trace["resid_post"].sel(layer=layer), trace["resid_pre"].sel(layer=layer))


def test_a_frozen_pattern_is_kept_whatever_the_tokens(two_runs):
    model, canvas, other = two_runs
    theirs = record(model, other, "pattern")
    with edit(model, [freeze(theirs), zero("q")]):
        np.testing.assert_array_equal(record(model, canvas, "pattern")["pattern"], theirs["pattern"])
        changed = logits_of(model, canvas)
    with edit(model, freeze(theirs)):
        torch.testing.assert_close(logits_of(model, canvas), changed)  # queries no longer matter
    assert not torch.allclose(changed, logits_of(model, canvas), atol=1e-4)


def test_one_heads_pattern_can_be_edited(model, tokens):
    before = record(model, tokens, "pattern")["pattern"]
    with edit(model, zero("pattern", layer=1, head=3, position=2)):
        after = record(model, tokens, "pattern")["pattern"]
    assert (after.sel(layer=1, head=3, query=2) == 0).all()
    others = after.where(~((after.layer == 1) & (after["head"] == 3) & (after["query"] == 2)), drop=False)
    np.testing.assert_allclose(others.fillna(before), before, atol=1e-6)


def test_mean_and_resample_within_a_batch(model, tokens):
    before = record(model, tokens, "z")["z"].sel(layer=0)
    with edit(model, mean("z", layer=0)):
        after = record(model, tokens, "z", layers=0)["z"].isel(layer=0)
    np.testing.assert_allclose(after, before.mean("example").expand_dims(example=3), atol=1e-6)
    with edit(model, resample("z", layer=0, seed=5)):
        after = record(model, tokens, "z", layers=0)["z"].isel(layer=0)
    sources = [next(n for n in range(3) if np.array_equal(after[row], before[n])) for row in range(3)]
    assert sorted(sources) == [0, 1, 2]
    assert all(source != row for row, source in enumerate(sources))
    with edit(model, resample("z")), pytest.raises(TraceError, match="at least 2 examples"):
        model.logits(tokens[:1])


def test_mean_and_resample_from_a_reference(model, tokens):
    reference = record(model, tokens_of(8, seed=9), ["mlp_out", "z"])
    with edit(model, [mean("mlp_out", reference, layer=1), resample("z", reference, layer=0, head=[1], seed=2)]):
        after = record(model, tokens, ["mlp_out", "z"])
    wanted = reference["mlp_out"].sel(layer=1).mean("example")
    np.testing.assert_allclose(after["mlp_out"].sel(layer=1), wanted.expand_dims(example=3), atol=1e-6)
    for row in after["z"].sel(layer=0, head=1).values:
        assert any(np.array_equal(row, drawn) for drawn in reference["z"].sel(layer=0, head=1).values)


def test_edits_by_label_and_by_batch(model, tokens):
    """A trace is matched by its labels, and by example also when the examples are run a few at a time."""
    theirs = record(model, tokens_of(seed=7), "resid_post", positions=[2, 5], layers=1)
    with edit(model, patch("resid_post", theirs)):
        after = record(model, tokens, "resid_post", batch_size=2)
    np.testing.assert_array_equal(after["resid_post"].sel(layer=[1], position=[2, 5]), theirs["resid_post"])
    before = record(model, tokens, "resid_post")
    np.testing.assert_array_equal(after["resid_post"].sel(layer=0), before["resid_post"].sel(layer=0))


def test_gradients_pass_through_edits(model, tokens):
    value = torch.ones(model.d_model, requires_grad=True)
    trace = record(model, tokens, "pattern")
    pattern = torch.from_numpy(trace["pattern"].values[:, 1]).requires_grad_()
    with edit(model, [patch("resid_post", value, layer=0, position=3), freeze(pattern, layer=1)]):
        model.logits(tokens).square().sum().backward()
    assert value.grad is not None
    assert pattern.grad is not None
    direction = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))

    def loss(step: float) -> float:
        there = value.detach() + step * direction
        moved = [patch("resid_post", there, layer=0, position=3), freeze(pattern.detach(), layer=1)]
        with edit(model, moved):
            return logits_of(model, model.canvas(tokens)).double().square().sum().item()

    slope = (loss(1e-2) - loss(-1e-2)) / 2e-2
    assert slope == pytest.approx((value.grad @ direction).item(), rel=1e-2)


def test_adding_a_vector_is_what_a_hook_by_hand_does(architecture):
    """At some positions of one layer, scaled; by every site that a module puts out."""
    model, generator = model_of(architecture, "full"), torch.Generator().manual_seed(3)
    canvas, direction = model.canvas(tokens_of()), torch.randn(32, generator=generator)
    modules = {
        "resid_post": model.blocks[0],
        "attn_out": model.layout.of_block(model.blocks[0], "output"),
        "mlp_out": model.layout.of_block(model.blocks[0], "mlp_down"),
    }

    def by_hand(_module, _taken, given):
        stream = (given[0] if isinstance(given, tuple) else given).clone()
        stream[:, [2, 5]] += 4 * direction
        return (stream, *given[1:]) if isinstance(given, tuple) else stream

    for name, module in modules.items():
        handle = module.register_forward_hook(by_hand)
        expected = logits_of(model, canvas)
        handle.remove()
        one = add(name, direction, layer=0, position=[2, 5], scale=4)
        torch.testing.assert_close(logits_with(model, canvas, one), expected, atol=1e-6, rtol=0)
        assert not torch.allclose(expected, logits_of(model, canvas), atol=1e-3)


def test_adding_takes_heads_traces_and_gradients(model, tokens):
    there, before = record(model, tokens_of(seed=5), "resid_pre"), record(model, tokens, ["z", "resid_pre"])
    with edit(model, add("z", 1.0, layer=1, head=2, scale=-0.5)):
        after = record(model, tokens, "z")["z"]
    np.testing.assert_allclose(after.sel(layer=1, head=2), before["z"].sel(layer=1, head=2) - 0.5, atol=1e-6)
    np.testing.assert_array_equal(after.sel(layer=1, head=1), before["z"].sel(layer=1, head=1))
    difference = there["resid_pre"] - before["resid_pre"]
    with edit(model, add("resid_pre", difference.sel(layer=[1]))):  # what leads to the other run
        moved = record(model, tokens, "resid_pre")["resid_pre"]
    np.testing.assert_allclose(moved.sel(layer=1), there["resid_pre"].sel(layer=1), atol=1e-5)
    vector = torch.zeros(model.d_model, requires_grad=True)
    with edit(model, add("resid_post", vector, layer=0, scale=2)):
        model.logits(tokens).square().sum().backward()
    assert vector.grad is not None
    assert vector.grad.abs().sum() > 0


def test_adding_at_some_steps_of_a_run(model, tokens):
    trajectory = decode(model, tokens, 3, seed=0)
    plain = record(model, trajectory, "resid_post")["resid_post"]
    with edit(model, add("resid_post", torch.ones(model.d_model), layer=1, step=range(1, 3))):
        steered = record(model, trajectory, "resid_post")["resid_post"]
    added = (steered - plain).sel(layer=1).mean(("example", "position", "feature"))
    np.testing.assert_allclose(added, [0, 1, 1], atol=1e-6)


def test_what_cannot_be_added_is_named(model, tokens):
    with pytest.raises(TraceError, match="NaN or infinity"):
        add("resid_post", torch.tensor([1.0, torch.nan]))
    with pytest.raises(TraceError, match="the value for add"), edit(model, add("resid_post", torch.ones(5))):
        model.logits(tokens)
    with edit(model, add("resid_post", torch.ones(model.d_model), layer=1, scale=4)):
        assert record(model, tokens, "logits").attrs["edits"] == ["add (4 times) resid_post layer [1]"]


def test_edits_at_one_step_of_a_run(model, tokens):
    trajectory = decode(model, tokens, 3, seed=0)
    plain = record(model, trajectory, "resid_post")
    with edit(model, zero("resid_post", layer=1, step=1)):
        edited = record(model, trajectory, "resid_post")
    assert (edited["resid_post"].sel(layer=1, step=1) == 0).all()
    np.testing.assert_array_equal(edited["resid_post"].sel(step=[0, 2]), plain["resid_post"].sel(step=[0, 2]))
    seen = []
    with edit(model, zero("resid_post", layer=1, step=1)):
        decode(
            model,
            tokens,
            3,
            seed=0,
            passes=PassOptions(forward=lambda canvas: (seen.append(model.run(canvas)), seen[-1])[1]),
        )
    assert [bool((logits == logits[0, 0]).all()) for logits in seen] == [False, True, False]


def test_contexts_nest_and_end(model, tokens):
    canvas = model.canvas(tokens)
    before, hooks = logits_of(model, canvas), hooks_of(model)
    with edit(model, zero("mlp_out", layer=0)):
        outer = logits_of(model, canvas)
        with edit(model, [patch("mlp_out", 1.0, layer=0), freeze(record(model, canvas, "pattern"))]):
            assert (record(model, canvas, "mlp_out")["mlp_out"].sel(layer=0) == 1).all()
        torch.testing.assert_close(logits_of(model, canvas), outer)
    torch.testing.assert_close(logits_of(model, canvas), before, atol=0, rtol=0)
    assert hooks_of(model) == hooks


def test_nothing_is_left_after_an_exception(model, tokens):
    canvas = model.canvas(tokens)
    before, hooks = logits_of(model, canvas), hooks_of(model)
    everywhere = [zero(name) for name in SITES]
    with pytest.raises(RuntimeError, match="inside"), edit(model, everywhere):
        raise RuntimeError("inside")
    with pytest.raises(TraceError), edit(model, [*everywhere, zero("z", layer=9)]):
        pass
    with pytest.raises(TraceError, match="the value for"), edit(model, patch("z", torch.zeros(5, 5))):
        logits_of(model, canvas)
    assert hooks_of(model) == hooks
    assert model.attention_override is None
    assert not model.before_run
    assert not any(_changes.values())
    torch.testing.assert_close(logits_of(model, canvas), before, atol=0, rtol=0)


def test_edits_are_told_in_the_trace(model, tokens):
    with edit(model, [zero("z", layer=0, head=1), skip(1)]):
        trace = record(model, tokens, "logits")
    assert trace.attrs["edits"] == ["zero z layer [0] head [1]", "zero attn_out layer [1]", "zero mlp_out layer [1]"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: zero("resid"), "Did you mean"),
        (lambda: zero("mlp_out", head=1), "a site that has heads"),
        (lambda: zero("k", head=2), "The model has 2"),
        (lambda: skip(2), "The model has 2"),
    ],
)
def test_mistakes_are_named(model, wrong, said):
    with pytest.raises(TraceError, match=said), edit(model, wrong()):
        pass


def test_a_trace_without_the_site_is_named(model, tokens):
    with pytest.raises(TraceError, match="Record it with sites="):
        patch("z", record(model, tokens, "q"))
