"""The Jacobian lens against autograd written out, against TransformerLens', and where the answer was planted."""

from __future__ import annotations

import pytest
import torch

from analyses import lens
from analyses.lens.transport import transports
from probe.errors import ProbeError
from probe.models.model import Model
from probe.paradigms import Masked
from probe.readings import named
from probe.readings.reading import Prompts, View
from tests.analyses.planted import MASK, batch_of, relay
from tests.probe.tiny import MASK as TINY_MASK
from tests.probe.tiny import model_of, tokens_of

LEFT, ITSELF, RIGHT = range(3)


def asked(model: Model, tokens: torch.Tensor, slots: list[int]) -> Prompts:
    """Every row of some text, read at one slot each."""
    view = View.still(torch.zeros(tokens.shape, dtype=torch.bool))
    return Prompts(model.canvas(tokens), torch.tensor(slots)[:, None], view)


def written_out(model: Model, tokens: torch.Tensor, slot: int, layer: int) -> torch.Tensor:
    """∂ final residual at `slot` / ∂ residual after `layer`, an element at a time: out × slots × in."""
    seen: dict[str, torch.Tensor] = {}
    blocks = [*model.blocks, model.layout.part(model.backbone, "final_norm")]

    def of(stream: torch.Tensor) -> torch.Tensor:
        def put(_module, taken):
            return (stream[None], *taken[1:])

        def keep(_module, taken):
            seen["end"] = taken[0]

        handles = [blocks[layer + 1].register_forward_pre_hook(put), blocks[-1].register_forward_pre_hook(keep)]
        model.run_trunk(model.canvas(tokens), eager=True)
        for handle in handles:
            handle.remove()
        return seen["end"][0, slot]

    def watch(_module, taken):
        seen["start"] = taken[0].detach()[0]

    handle = blocks[layer + 1].register_forward_pre_hook(watch)
    model.run_trunk(model.canvas(tokens))
    handle.remove()
    found = torch.autograd.functional.jacobian(of, seen["start"])
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "qwen3"])
def test_it_is_the_jacobian_by_its_definition(variant):
    model = model_of(variant, Masked(mask_id=TINY_MASK))
    tokens, slot = tokens_of(1, 6, masked=0.4), 3
    (part,) = transports(model, asked(model, tokens, [slot]))
    for layer in (-1, 0):
        true = written_out(model, tokens, slot, layer)
        sides = [true[:, :slot].sum(1), true[:, slot], true[:, slot + 1 :].sum(1)]
        torch.testing.assert_close(part.jacobian[0, layer + 1], torch.stack(sides), atol=1e-4, rtol=1e-4)
        energy = true.square().sum((0, 2))
        by_side = torch.stack([energy[:slot].sum(), energy[slot], energy[slot + 1 :].sum()])
        torch.testing.assert_close(part.energy[0, layer + 1], by_side, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(part.jacobian[0, -1, ITSELF], torch.eye(model.d_model))
    assert not part.jacobian[0, -1, [LEFT, RIGHT]].any()
    assert part.even.tolist() == [pytest.approx([3 / 6, 1 / 6, 2 / 6])]


def test_on_a_causal_model_it_is_that_of_transformer_lens():
    """Theirs sums over targets and averages sources; ours summed over sources and averaged over targets is the same."""
    from transformer_lens.tools.analysis.jacobian_lens import _jacobian_for_prompt, _ordinary_vjp

    from probe.tracing.tracers.transformer_lens import boot

    model, tokens = model_of("llama-gqa"), tokens_of(1, 7)
    bridge = boot(model)
    theirs = _jacobian_for_prompt(
        bridge, tokens, source_layers=[0], dim_batch=8, skip_first_positions=0, backward_provider=_ordinary_vjp
    )
    targets = list(range(6))  # they leave the last position out
    found = list(transports(model, asked(model, tokens.expand(6, -1), targets)))
    ours = torch.cat([part.jacobian for part in found]).sum(2).mean(0)
    torch.testing.assert_close(ours[1], theirs[0], atol=1e-4, rtol=1e-4)
    assert not torch.cat([part.jacobian for part in found])[:, :, RIGHT].any()


def test_what_is_planted_to_the_right_arrives_from_the_right_until_it_was_fetched():
    """The token at slot 5 goes to slot 3 in layer 1, to the mask at slot 1 in layer 2; layers 3 and 4 do nothing."""
    how = {"n_layers": 5, "first": 1, "source": 5, "via": 3, "at": 1, "n": 8}
    seeing = relay(**how, paradigm=Masked(mask_id=MASK, shift=False))
    table = lens.jacobian(seeing.model, seeing.batch, reading="one_mask").table
    share = table.set_index(["measure", "layer"])["estimate"]
    assert (share["arrives from the right"].loc[-1:1] > 0.01).all()
    assert (share["arrives from the right"].loc[2:] < 1e-12).all()  # a softmax is never quite 0
    assert (share["arrives from the left"] < 1e-12).all()
    assert share["arrives from itself", 4] == 1
    blind = relay(n_layers=5, first=1, n=8, paradigm=Masked(mask_id=MASK, shift=False))
    blind_table = lens.jacobian(blind.model, blind.batch, reading="one_mask").table
    assert (blind_table.query("measure == 'arrives from the right'")["estimate"] < 1e-12).all()


def test_it_reads_what_a_later_layer_will_conclude_and_the_logit_lens_does_not():
    """The word is at the answer's slot after layer 1; only layer 4 turns it into the answer."""
    planted = relay(n_layers=6, first=0, wait=3, n=64)
    table = lens.jacobian(planted.model, planted.batch, reading="ar", examples=64).table.set_index(["measure", "layer"])
    rank = table["estimate"].unstack("layer")
    assert (rank.loc["rank of the target, own slot", 1:3] < 1.5).all()
    assert (rank.loc["rank of the target, logit lens", 1:3] > 3).all()
    assert rank.loc["rank of the target, own slot", 0] > 3  # it is not yet there
    gain = table.loc["gain over the logit lens, own slot"]
    assert (gain.loc[1:3, "estimate"] > 0).all()
    assert gain.loc[5, "estimate"] == pytest.approx(0, abs=1e-5)


def test_along_a_decoding_run_each_step_has_its_own():
    model = model_of("llama-gqa", Masked(mask_id=TINY_MASK, shift=False))
    clean = tokens_of(8, 7)
    corrupt = clean.clone()
    corrupt[:, 1] = (corrupt[:, 1] + 1) % TINY_MASK
    batch = batch_of(clean, corrupt, 4, (clean[:, 4] + 1) % TINY_MASK)
    places = torch.tensor([[4, 5, 6]]).expand(8, -1)
    batch = type(batch)(**{**vars(batch), "positions": {**batch.positions, "completion": places}})
    table = lens.jacobian(model, batch, reading=named("trajectory", seed=1)).table
    shares = table[table["measure"].str.startswith("arrives")].groupby(["step", "layer"])["estimate"].sum()
    assert table["step"].nunique() > 1
    assert shares.to_numpy() == pytest.approx(1)


def test_too_few_examples_are_refused():
    planted = relay(n=3)
    with pytest.raises(ProbeError, match="at least 4 examples"):
        lens.jacobian(planted.model, planted.batch, reading="ar")
