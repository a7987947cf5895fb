"""Weights that are kept elsewhere: every function gives what it gives of the same weights in memory, or says no."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import cpu_offload, disk_offload

import analyses
import probe
from probe.errors import ProbeError
from probe.models.model import Model
from probe.models.selftests import run_selftests
from probe.models.weights import device_of, weight_of
from probe.pairs import Pair
from probe.tasks import Batch
from probe.tracing import fingerprint
from tests.probe.tiny import VARIANTS, backbone_of, write_stock

SITES = ["resid_post", "pattern", "head_out", "attn_out", "logits"]


def _edited(model: Model, batch: Batch) -> list[np.ndarray]:
    with probe.edit(model, [probe.zero("head_out", layer=0, head=1), probe.skip(1)]):
        return [model.logits(batch.clean).numpy()]


def _stored(model: Model, batch: Batch) -> list[np.ndarray]:
    with TemporaryDirectory() as folder:
        sites = ["head_out", "resid_post"]
        trace = probe.record(model, batch.clean, sites, store=Path(folder) / "trace.zarr")
        return [trace[site].values for site in sites]


def _alone(model: Model, batch: Batch) -> pd.DataFrame:
    circuit = analyses.circuits.attribute(model, batch, reading="ar", method="eap")
    return analyses.circuits.faithfulness(model, batch, circuit, reading="ar").table


FUNCTIONS: dict[str, Callable[[Model, Batch], object]] = {
    "logits": lambda model, batch: [model.logits(batch.clean).numpy()],
    "record": lambda model, batch: [part.values for part in probe.record(model, batch.clean, SITES).values()],
    "edit": _edited,
    "decode": lambda model, batch: [probe.decode(model, batch.clean[:2], 3, seed=0).tokens.numpy()],
    "fingerprint": lambda model, _: [np.array(fingerprint.of_weights(model))],
    "lens.direct": lambda model, batch: analyses.lens.direct(model, batch, reading="ar").table,
    "lens.component_lens": lambda model, batch: analyses.lens.component_lens(model, batch, reading="ar").table,
    "lens.curves": lambda model, batch: analyses.lens.logit_lens(model, batch, reading="ar").table,
    "attention.heads": lambda model, batch: analyses.attention.heads(model, batch.clean).table,
    "attribute": lambda model, batch: analyses.circuits.attribute(model, batch, reading="ar", steps=2).edges,
    "record to disk": lambda model, batch: _stored(model, batch),
    "run alone": lambda model, batch: _alone(model, batch),
    "weight drift": lambda model, _: analyses.representation.weight_drift(Pair(_other(model), model)).table,
}


def _other(model: Model) -> Model:
    architecture, more = VARIANTS[{"gpt2": "gpt2", "llama": "llama-gqa"}[model.layout.model_type]]
    return Model(backbone_of(architecture, seed=7, **more, vocab_size=model.vocabulary), model.paradigm, name="other")


@pytest.fixture(scope="module", params=["gpt2", "llama-gqa"])
def model_and_batch(request):
    """A model in memory, the same weights kept in memory beside the modules, and on disk; and something to ask."""
    words = probe.load("zoo:ar", selftest="off")
    batch = probe.task("ioi").examples(words, 3)
    architecture, more = VARIANTS[request.param]
    backbone = backbone_of(architecture, **more, vocab_size=words.vocabulary)
    return Model(backbone, words.paradigm, words.tokenizer), batch


@pytest.fixture(scope="module", params=["cpu", "disk"])
def offloaded(request, model_and_batch, tmp_path_factory):
    here, batch = model_and_batch
    architecture, more = VARIANTS[{"gpt2": "gpt2", "llama": "llama-gqa"}[here.layout.model_type]]
    backbone = backbone_of(architecture, **more, vocab_size=here.vocabulary)
    if request.param == "cpu":
        cpu_offload(backbone, torch.device("cpu"))
    else:
        disk_offload(backbone, str(tmp_path_factory.mktemp("offloaded")), torch.device("cpu"))
    assert any(parameter.is_meta for parameter in backbone.parameters())
    return here, Model(backbone, here.paradigm, here.tokenizer), batch


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_computed_from_offloaded_weights_is_what_is_computed_from_weights_in_memory(name, offloaded):
    here, elsewhere, batch = offloaded
    expected, found = (FUNCTIONS[name](model, batch) for model in (here, elsewhere))
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-5)
        return
    for one, other in zip(found, expected, strict=True):
        if one.dtype.kind == "U":
            assert one == other
        else:
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_self_tests_pass(offloaded):
    _, elsewhere, _ = offloaded
    tests = run_selftests(elsewhere)
    assert {tests[name].outcome for name in ("wiring", "attention reach", "kernels", "streams")} == {"pass"}


@pytest.mark.parametrize("tracer", ["nnsight", "transformer_lens"])
def test_tracers_with_modules_of_their_own_say_no(tracer, offloaded):
    _, elsewhere, batch = offloaded
    with pytest.raises(ProbeError, match="weights that are in memory"):
        probe.record(elsewhere, batch.clean, ["resid_post"], tracer=tracer)


def test_training_says_no(offloaded):
    _, elsewhere, _ = offloaded
    with pytest.raises(ProbeError, match="kept elsewhere"), elsewhere.trainable():
        pass


def test_weights_that_nobody_keeps_are_refused_by_name():
    layer = torch.nn.Linear(3, 2, device="meta")
    assert device_of(layer) == torch.device("meta")
    with pytest.raises(ProbeError, match="meta device"):
        weight_of(layer)


def test_a_checkpoint_that_is_loaded_onto_disk(tmp_path):
    """What `device_map` does with a model that is larger than memory."""
    folder = write_stock(tmp_path / "m", backbone_of("llama"))
    whole = probe.load(folder, tokenizer=False)
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "disk"}
    layers = {"model.layers.0": "cpu", "model.layers.1": "disk"}
    spread = probe.load(folder, tokenizer=False, device_map={**places, **layers})
    assert any(parameter.is_meta for parameter in spread.backbone.parameters())
    tokens = torch.arange(12)[None]
    found, expected = (probe.record(model, tokens, ["head_out", "logits"]) for model in (spread, whole))
    for name in found:
        np.testing.assert_allclose(found[name].values, expected[name].values, atol=1e-5)


READS_A_PARAMETER = {"get_parameter", "parameters", "named_parameters", "state_dict", "_parameters"}
MAY = {
    "probe/models/weights.py",  # the one place
    "probe/models/shared.py",  # asks whether they have changed, never for their numbers
    "probe/models/adapters.py",  # writes into weights that it has found to be in memory
    "analyses/circuits/attribution/cost.py",  # fills a model of its own making
    "analyses/features/training.py",  # asks its optimizer for its state
    "probe/tracing/tracers/module_view.py",  # shares them, and refuses what is not there
}
ROOMS = ("probe/models", "probe/tracing", "probe/decoding", "probe/readings", "probe/tasks", "analyses")


def test_no_other_code_reads_a_parameter_by_itself():
    """What is new must ask `weight_of`, too. Training, which refuses offloaded weights, may read them."""
    root = Path(__file__).parent.parent.parent.parent
    files = {path for room in ROOMS for path in (root / room).rglob("*.py")} - {root / name for name in MAY}
    assert [f"{path.relative_to(root)}:{line}" for path in sorted(files) for line in _reads(path)] == []


def _reads(path: Path) -> list[int]:
    """The lines on which a file reads a parameter's numbers; its shape and type may be read."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)]
    harmless = {id(node.value) for node in nodes if node.attr in ("shape", "dtype")}
    return [
        node.lineno
        for node in nodes
        if id(node) not in harmless and (node.attr in READS_A_PARAMETER or _of_a_module(node))
    ]


def _of_a_module(node: ast.Attribute) -> bool:
    """projection.weight, but not a weight of something else."""
    named = {"projection", "module", "norm", "output", "unembed", "embedding", "linear", "down", "mlp"}
    owner = node.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return node.attr in ("weight", "bias") and name in named
