"""A model or a circuit with NaN in it: every measure refuses it, and says where the first one stands."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from analyses import front_loading, specialization
from analyses.circuits import (
    AttributionOptions,
    Circuit,
    Isolated,
    attribute,
    compare,
    faithfulness,
    isolated_run,
    read_json,
    write_json,
)
from analyses.components import Knockouts, Scores, scores_of
from analyses.depth import skip_effects
from analyses.specialization import selectivity
from probe.errors import ProbeError
from probe.models.model import Model
from tests.analyses.circuits.asking import batch_of, model_of


@pytest.fixture
def broken() -> Model:
    """A model one of whose MLPs, in the second layer, writes NaN."""
    model = model_of("gpt2", "full")
    with torch.no_grad():
        model.blocks[1].mlp.c_proj.weight[0, 0] = torch.nan
    return model


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return attribute(model_of("gpt2", "full"), batch_of(4), steps=1, options=AttributionOptions(example_edges=True))


def spoilt(circuit: Circuit) -> dict[str, np.ndarray]:
    source, target = circuit.graph.source("a1.h0"), circuit.graph.target("logits")
    scores = circuit.scores.copy()
    scores[source, target] = np.nan
    return {"scores": scores}


@pytest.mark.parametrize("method", ["eap-ig", "eap-ig-activations", "exact-nodes", "exact-edges"])
def test_attribution_names_the_first_node_that_writes_nan(broken, method):
    with pytest.raises(ProbeError, match=r"clean run of rows 0 to .*first in m1"):
        attribute(broken, batch_of(), method=method, steps=1)


def test_what_replaces_is_looked_at_too(broken):
    """The NaN stands where only the corrupt text reads it."""
    model, batch = model_of("gpt2", "full"), batch_of()
    only_corrupt = set(batch.corrupt.flatten().tolist()) - set(batch.clean.flatten().tolist())
    with torch.no_grad():
        model.embedding.weight[next(iter(only_corrupt))] = torch.nan
    with pytest.raises(ProbeError, match=r"corrupt run .*first in input"):
        attribute(model, batch, steps=1)


def test_isolated_runs_refuse_it(broken, circuit):
    masks = circuit.graph.valid[None]
    with pytest.raises(ProbeError, match="first in m1"):
        isolated_run(broken, batch_of(), Isolated(circuit.graph, masks))
    with pytest.raises(ProbeError, match="first in m1"):
        faithfulness(broken, batch_of(4), circuit)


def test_knock_outs_refuse_it(broken):
    with pytest.raises(ProbeError, match=r"under knock-outs.*row 0"):
        Knockouts.of(broken, batch_of()).scores()


def test_skip_effects_and_selectivity_refuse_it(broken):
    with pytest.raises(ProbeError, match="after layer 1"):
        skip_effects(broken, batch_of())
    batch, activations = batch_of(12), np.zeros((12, 2, 5))
    activations[4, 1, 3] = np.nan
    with pytest.raises(ProbeError, match="nan at example 4, layer 1, neuron 3"):
        selectivity(broken, batch, activations={"model": activations})


def test_a_circuit_with_nan_in_it_is_none(circuit):
    with pytest.raises(ProbeError, match=r"nan at source a1\.h0, target logits"):
        compare(circuit, replace(circuit, **spoilt(circuit)))
    by_example = circuit.per_example.copy()
    by_example[2, 1] = np.inf
    with pytest.raises(ProbeError, match=r"inf at example 2, node a0.h0 \(1 of"):
        replace(circuit, per_example=by_example)


def test_a_file_with_nan_in_it_is_no_circuit(circuit, tmp_path):
    path = write_json(circuit, tmp_path / "circuit.json")
    read = json.loads(path.read_text())
    read["edges"]["input->m0"]["score"] = float("nan")
    path.write_text(json.dumps(read))
    with pytest.raises(ProbeError, match="nan at source input, target m0"):
        read_json(path)


def test_depth_and_spread_of_nan_have_no_figures(circuit):
    scores = scores_of(circuit)
    values = scores.values.copy()
    values[1, 0] = np.nan
    for measure in (front_loading.index, specialization.spread):
        with pytest.raises(ProbeError, match=r"nan at example 1, node a0\.h0"):
            measure(scores, replace(scores, values=values))


def test_w1_of_no_profile_has_no_p(circuit):
    """Scores that are all noise have no profile, so nothing is as far off as they are."""
    scores = scores_of(circuit)
    nothing: Scores = replace(scores, values=np.zeros_like(scores.values))
    table = front_loading.index(nothing, nothing, parts=("all",)).table
    assert table["estimate"].isna().all()
    assert table["p"].isna().all()
