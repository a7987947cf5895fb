"""Attribution by gradients, against the textbook's and against what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses.circuits import AttributionOptions, Circuit, attribute, attribute_by_step
from analyses.circuits.attribution.ablation import Ablation
from analyses.circuits.attribution.prompts import PromptPairs
from probe.errors import ProbeError
from probe.readings import named
from tests.analyses.circuits import textbook
from tests.analyses.circuits.asking import PARADIGMS, agree, batch_of, differences, model_of, slots_and_canvases

VARIANTS = ("gpt2", "llama-mha", "llama-gqa", "llama-mqa", "llama-biased", "qwen2", "qwen3", "qwen3-wide-heads-tied")
FAMILIES = (
    "mistral",
    "smollm3",
    "olmo2",
    "phi3",
    "gemma2",
    "gemma3",
    "gpt-neox",
    "gpt-neox-serial",
    "mixtral",
    "qwen3-moe",
    "modernbert",
)
METHODS = ("eap", "eap-ig", "eap-ig-activations")


def summed(batch, slots):
    return lambda logits: differences(batch, logits, slots).sum()


def compare_edges(circuit, expected):
    found = circuit.edges.set_index(["source", "target"])["score"]
    assert set(found.index) == set(expected)
    agree(torch.tensor([found[edge] for edge in expected]), torch.tensor(list(expected.values())))


@pytest.mark.parametrize("attention", ["causal", "full"])
@pytest.mark.parametrize("variant", [*VARIANTS, *FAMILIES])
def test_eap_ig_is_the_textbook_s(variant, attention):
    model, batch = model_of(variant, attention), batch_of()
    circuit = attribute(model, batch, method="eap-ig", steps=3, options=AttributionOptions(metric="logit_difference"))
    slots, told = slots_and_canvases(model, batch)
    compare_edges(circuit, textbook.integrated(*told, summed(batch, slots), 3))


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", *FAMILIES])
def test_the_textbook_s_model_is_the_stock_one(variant):
    model, batch = model_of(variant, "full"), batch_of()
    _, (backbone, clean, _, allowed, places) = slots_and_canvases(model, batch)
    found = textbook.forward(backbone, model.embedded(clean), allowed, places).logits
    agree(found, model.logits(clean), within=1e-5)


@pytest.mark.parametrize("variant", ["gpt2", "qwen3"])
def test_eap_is_the_textbook_s_gradient_at_the_clean_run(variant):
    model, batch = model_of(variant, "full"), batch_of()
    slots, told = slots_and_canvases(model, batch)
    compare_edges(attribute(model, batch, method="eap"), textbook.integrated(*told, summed(batch, slots), 1))


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "olmo2", "gemma2", "gpt-neox", "modernbert"])
def test_eap_ig_along_activations_is_the_textbook_s(variant):
    model, batch = model_of(variant, "full"), batch_of(n=2)
    circuit = attribute(model, batch, method="eap-ig-activations", steps=2)
    slots, told = slots_and_canvases(model, batch)
    compare_edges(circuit, textbook.integrated_along_activations(*told, summed(batch, slots), 2))


@pytest.mark.parametrize("method", ["eap-ig", "eap-ig-activations"])
def test_the_points_of_the_published_code_are_those_from_the_corrupt_run_on(method):
    model, batch = model_of("llama-gqa", "full"), batch_of(n=2)
    slots, told = slots_and_canvases(model, batch)
    slow = textbook.integrated if method == "eap-ig" else textbook.integrated_along_activations
    found = {
        points: attribute(model, batch, method=method, steps=3, options=AttributionOptions(points=points))
        for points in ("0..m-1", "1..m")
    }
    for first, circuit in enumerate(found.values()):
        compare_edges(circuit, slow(*told, summed(batch, slots), 3, first=first))
    apart = found["0..m-1"].scores - found["1..m"].scores
    assert np.abs(apart).max() > 0.01 * np.abs(found["1..m"].scores).max()
    assert [circuit.about.points for circuit in found.values()] == list(found)


def test_one_point_is_the_clean_run_by_either_convention():
    model, batch = model_of("gpt2"), batch_of(n=2)
    one, other = (
        attribute(model, batch, method="eap", options=AttributionOptions(points=p)) for p in ("1..m", "0..m-1")
    )
    np.testing.assert_array_equal(one.scores, other.scores)
    assert one.about == other.about
    with pytest.raises(ProbeError, match=r"0\.\.m-1"):
        attribute(model, batch, options=AttributionOptions(points="0…m"))


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "gemma2", "modernbert"])
def test_other_ablations_are_the_textbook_s(variant, ablation):
    model, batch = model_of(variant, "full"), batch_of(n=4)
    slots, told = slots_and_canvases(model, batch)
    backbone, clean, _, *seen = told
    own = textbook.writes(backbone, clean, *seen)
    partners = Ablation(PromptPairs.of(model, batch, named("prefix")), "resample", seed=3).partners
    instead = {
        "zero": {name: torch.zeros_like(write) for name, write in own.items()},
        "mean": {name: write.mean(0, keepdim=True).expand_as(write) for name, write in own.items()},
        "resample": textbook.writes(backbone, clean[partners], *seen),
    }[ablation]
    circuit = attribute(model, batch, steps=2, options=AttributionOptions(ablation=ablation, seed=3, rows=2))
    compare_edges(circuit, textbook.integrated(*told, summed(batch, slots), 2, instead=instead))


def test_partners_are_others():
    model, batch = model_of("gpt2", "full"), batch_of(n=9)
    prompts = PromptPairs.of(model, batch, named("ratio", draws=3))
    partners = Ablation(prompts, "resample", seed=1).partners
    assert torch.equal(partners.sort().values, torch.arange(27))
    assert (prompts.example[partners] != prompts.example).all()
    assert torch.equal(prompts.step[partners], prompts.step)
    assert not torch.equal(partners, Ablation(prompts, "resample", seed=2).partners)


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("method", METHODS)
def test_a_node_s_score_is_the_sum_of_the_edges_that_leave_it(paradigm, method):
    model, batch = model_of("llama-gqa", paradigm), batch_of()
    circuit = attribute(model, batch, method=method, steps=2)
    nodes = circuit.nodes["score"].to_numpy()
    agree(torch.tensor(circuit.scores.sum(1)), torch.tensor(nodes[:-1]))
    into_logits = circuit.scores[:, circuit.graph.target("logits")].sum()
    agree(torch.tensor([into_logits]), torch.tensor(nodes[-1:]))


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "gemma3"])
@pytest.mark.parametrize("method", METHODS)
def test_an_mlp_s_score_is_the_sum_of_its_neurons(variant, method):
    circuit = attribute(model_of(variant), batch_of(), method=method, steps=2, options=AttributionOptions(neurons=True))
    nodes = circuit.nodes.set_index("node")["score"]
    for layer in range(2):
        neurons = nodes[nodes.index.str.startswith(f"m{layer}.n")]
        assert len(neurons) == (128 if variant == "gpt2" else 48)
        bias_free = nodes[f"m{layer}"]  # an MLP's output bias is the same in both runs
        assert neurons.sum() == pytest.approx(bias_free, rel=1e-4)


@pytest.mark.parametrize("reading", ["prefix", "ratio"])
def test_examples_add_up_to_the_circuit(reading):
    model, batch = model_of("qwen2", "full"), batch_of(n=4)
    circuit = attribute(model, batch, reading=reading, steps=2, options=AttributionOptions(example_edges=True, rows=3))
    assert circuit.example_edges.shape == (4, *circuit.graph.shape)
    agree(torch.tensor(circuit.example_edges.mean(0)), torch.tensor(circuit.scores))
    agree(torch.tensor(circuit.example_edges.sum(2)), torch.tensor(circuit.per_example[:, :-1]))
    alone = attribute(model, batch[2], reading=reading, steps=2)
    agree(torch.tensor(circuit.example_edges[2]), torch.tensor(alone.scores))
    agree(torch.tensor(circuit[np.array([2])].scores), torch.tensor(alone.scores))
    weights = np.array([[0.5, 0.5, 0, 0], [0.25] * 4])
    expected = np.einsum("re,est->rst", weights, circuit.example_edges)
    agree(torch.tensor(circuit.weighted(weights)), torch.tensor(expected))


def test_roles_add_up_and_stay_at_their_positions():
    model, batch = model_of("gpt2", "causal"), batch_of()
    whole, split = (
        attribute(model, batch, steps=2, options=AttributionOptions(position_roles=roles))
        for roles in (False, ["first", "corrupted"])
    )
    assert split.graph.position_roles == ("first", "corrupted", "elsewhere")
    by_role = split.scores.reshape(len(split.graph.sources), 3, -1)
    agree(torch.tensor(by_role.sum(1)), torch.tensor(whole.scores))
    source = split.graph.source("input")
    assert np.abs(by_role[source, 1]).max() > 0
    assert np.abs(by_role[source, 2]).max() == 0  # the input differs where it was corrupted, and nowhere else


def test_by_step_and_by_rule_are_one_thing():
    """What a rule makes of all steps, from the circuits of each."""
    model, batch = model_of("llama-gqa", "full-noshift"), batch_of(n=5, written=3, answer=6)
    steps = attribute_by_step(model, batch, steps=2, options=AttributionOptions(example_edges=True))
    assert len(steps) > 1
    count, total, last = np.zeros(5), np.zeros((5, *steps[0].graph.shape)), np.zeros((5, *steps[0].graph.shape))
    for step in sorted(steps):
        examples = steps[step].about.other["examples"]
        count[examples] += 1
        total[examples] += steps[step].example_edges
        last[examples] = steps[step].example_edges
    first = np.zeros_like(last)
    first[steps[0].about.other["examples"]] = steps[0].example_edges
    assert len(set(count)) > 1  # some answers were written before others
    for rule, expected in {"mean": total / count[:, None, None], "commit": last, "first": first}.items():
        found = attribute(model, batch, reading=named("trajectory", aggregate=rule), steps=2)
        agree(torch.tensor(found.scores), torch.tensor(expected.mean(0)))


def test_the_same_model_twice_gives_the_same_circuit():
    batch = batch_of()
    one, other = (attribute(model_of("qwen3", "full"), batch) for _ in range(2))
    assert np.array_equal(one.scores, other.scores)
    assert np.array_equal(one.per_example, other.per_example)


def test_half_precision_weights_give_nearly_the_same_circuit():
    batch = batch_of()
    model, other = (model_of("llama-gqa", "full") for _ in range(2))
    other.backbone.to(torch.bfloat16)
    agree(torch.tensor(attribute(other, batch).scores), torch.tensor(attribute(model, batch).scores), within=0.05)


def test_attribution_leaves_the_model_as_it_was():
    model, batch = model_of("gpt2", "full"), batch_of()
    before = model.logits(batch.clean)
    for method in METHODS:
        attribute(model, batch, method=method, steps=2, options=AttributionOptions(directions=True))
    assert torch.equal(model.logits(batch.clean), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.backbone.modules())


def test_what_a_circuit_is_of_is_said():
    model, batch = model_of("gpt2", "full"), batch_of()
    about = attribute(model, batch, steps=4, options=AttributionOptions(ablation="mean")).about
    said = (about.task, about.reading, about.method, about.steps, about.metric, about.ablation, about.n)
    assert said == ("none", "prefix", "eap-ig", 4, "logit_difference", "mean", 3)
    logits = named("prefix").logits(model, batch)
    values = logits.gather(1, batch.target[:, None]) - logits.gather(1, batch.distractor[:, None])
    assert about.clean == pytest.approx(float(values.mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "named_in_it"),
    [
        ({"method": "eap_ig"}, "eap-ig"),
        ({"options": AttributionOptions(ablation="patch")}, "corrupt"),
        ({"options": AttributionOptions(position_roles=["anser"])}, "answer"),
        ({"steps": 0}, "whole number"),
        ({"options": AttributionOptions(metric="logits")}, "logit_difference"),
        ({"reading": "suffix"}, "prefix"),
    ],
)
def test_a_mistake_is_named(wrong, named_in_it):
    with pytest.raises(ProbeError, match=named_in_it):
        attribute(model_of("gpt2"), batch_of(), **wrong)


def test_too_many_edges_are_refused():
    circuit = attribute(model_of("gpt2"), batch_of(), steps=1)
    with pytest.raises(ProbeError, match="edges that there are"):
        circuit.top(10_000)
    with pytest.raises(ProbeError, match="example_edges=True"):
        circuit.weighted(np.ones(3))


def test_top_edges_are_the_strongest():
    circuit = attribute(model_of("gpt2"), batch_of(), steps=2)
    strongest, signed = circuit.top(7), circuit.top(7, by="signed")
    assert sorted(strongest["score"].abs(), reverse=True) == list(strongest["score"].abs())
    assert strongest["score"].abs().min() >= circuit.edges["score"].abs().iloc[7:].max()
    assert list(signed["score"]) == sorted(circuit.edges["score"])[:7]
    importance = circuit.importance(7).set_index("node")["score"]
    plain = strongest.assign(target=strongest["target"].str.split("<").str[0])
    for node, score in importance.items():
        incident = plain[(plain["source"] == node) | (plain["target"] == node)]["score"].sum()
        assert score == pytest.approx(incident, abs=1e-9)


def test_a_circuit_is_read_back_as_it_was_written(tmp_path):

    circuit = attribute(
        model_of("llama-gqa", "full"),
        batch_of(),
        steps=2,
        options=AttributionOptions(neurons=True, example_edges=True, position_roles=True),
    )
    found = Circuit.open(circuit.save(tmp_path / "ioi"))
    assert found.about == circuit.about
    assert found.graph == circuit.graph
    for name in ("scores", "per_example", "example_edges", "neurons"):
        assert np.array_equal(getattr(found, name), getattr(circuit, name))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("variant", ["mixtral", "qwen3-moe-mixed"])
def test_an_mlp_s_score_is_the_sum_of_its_experts(variant, method):
    model, batch = model_of(variant, "full"), batch_of(n=2)
    circuit = attribute(model, batch, method=method, steps=2, options=AttributionOptions(experts=True))
    nodes = circuit.nodes.set_index("node")["score"]
    for layer in range(2):
        experts = nodes[nodes.index.str.startswith(f"m{layer}.e")]
        assert len(experts) == (4 if variant == "mixtral" else 3)
        if variant == "mixtral" or layer == 1:
            agree(torch.tensor([experts.sum()]), torch.tensor([nodes[f"m{layer}"]]))
        else:
            assert (experts == 0).all()  # a plain MLP


def test_an_expert_s_score_is_what_its_write_changes_to_first_order():
    """Taken out (it writes nothing), the expert that is left alone by the router's choice of one is the whole MLP."""
    model, batch = model_of("qwen3-moe-mixed", "full"), batch_of(n=2)
    only = 1
    with torch.no_grad():
        model.blocks[1].mlp.gate.weight.zero_()
        model.blocks[1].mlp.gate.weight[only] = 1e-6
    options = AttributionOptions(experts=True, ablation="zero")
    circuit = attribute(model, batch, method="eap", options=options)
    assert circuit.experts is not None
    used = np.flatnonzero(np.abs(circuit.experts[:, 1]).sum(0))
    assert len(used) <= 2  # which of equals a router takes is its own affair
    agree(torch.tensor(circuit.experts[:, 1].sum(1)), torch.tensor(circuit.per_example[:, circuit.graph.source("m1")]))


def test_experts_are_asked_for_only_where_there_are_some():
    with pytest.raises(ProbeError, match="whose MLPs have none"):
        attribute(model_of("llama-gqa"), batch_of(n=2), options=AttributionOptions(experts=True))
    with pytest.raises(ProbeError, match="mean"):
        attribute(model_of("mixtral"), batch_of(n=2), options=AttributionOptions(experts=True, ablation="mean"))
    with pytest.raises(ProbeError, match="mlp_hidden"):
        attribute(model_of("mixtral"), batch_of(n=2), options=AttributionOptions(neurons=True))
