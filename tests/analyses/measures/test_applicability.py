"""A flow from nothing is no twin: measures that lay parts of both models side by side say so, and give no figure."""

from __future__ import annotations

import json

import pytest

import probe
from analyses import attention, representation
from analyses.circuits import EvaluationOptions, attribute
from analyses.circuits.comparison.compare import compare
from analyses.circuits.comparison.diff import diff
from analyses.circuits.evaluation.cross_faithfulness import cross
from analyses.measures.applicability import needs_twins
from probe.errors import ProbeError
from probe.jobs.run.model_identity import HashCache
from probe.jobs.run.plan import plan_of
from probe.jobs.spec.file import parse_spec
from probe.models.catalog import OWN_ENTRY, Entry
from probe.models.model import Model
from probe.pairs import Pair
from probe.paradigms import Autoregressive, Flow
from probe.tasks import vocabulary
from tests.analyses.circuits.synthetic import random_circuit
from tests.probe.tiny import backbone_of

WORDS = vocabulary.shipped()
MASK = WORDS.mask_token_id
PART_BY_PART = {"weight_drift", "cosine", "overlap", "circuit_diff", "cross_faithfulness"}


def made_from(ar: str | None) -> Model:
    entry = Entry(name="flow", paradigm="flow", ar=ar, mask_id=MASK, shift=False)
    backbone = backbone_of("llama", vocab_size=len(WORDS), seed=1)
    return Model(backbone, Flow(mask_id=MASK), WORDS, name="flow", entry=entry)


AR = Model(backbone_of("llama", vocab_size=len(WORDS)), Autoregressive(), WORDS, name="ar")
STRANGERS, TWINS = Pair(AR, made_from(None)), Pair(AR, made_from("zoo:ar"))
BATCH = probe.task("ioi").examples(WORDS, 6, seed=0)


@pytest.mark.parametrize(
    "measure",
    [
        representation.weight_drift,
        lambda pair: representation.cosine(pair, BATCH, reading="prefix"),
        lambda pair: cross(pair, BATCH, options=EvaluationOptions(shares=(0.1,), draws=1, resamples=20)),
    ],
)
def test_what_compares_parts_says_no_twin(measure):
    with pytest.raises(ProbeError, match="no twin"):
        measure(STRANGERS)
    assert len(measure(TWINS).table)


def test_heads_of_strangers_stand_alone():
    roles = [set(attention.heads(pair, BATCH, resamples=20).table["role"]) for pair in (STRANGERS, TWINS)]
    assert roles == [{"ar", "diffusion"}, {"ar", "diffusion", "diffusion − ar"}]


def test_circuits_know_whether_they_are_of_twins():
    found = [attribute(pair.diffusion, BATCH, method="eap").about.from_nothing for pair in (STRANGERS, TWINS)]
    assert found == [True, False]
    assert not attribute(AR, BATCH, reading="ar", method="eap").about.from_nothing
    ours, theirs = random_circuit(), random_circuit(model="flow", from_nothing=True)
    for measure in (compare, diff):
        with pytest.raises(ProbeError, match="no twin"):
            measure(ours, theirs)
        assert len(measure(theirs, theirs).table)


def test_a_job_leaves_them_out_and_says_why(tmp_path):
    folder = tmp_path / "flow"
    STRANGERS.diffusion.backbone.save_pretrained(folder)
    WORDS.save_pretrained(folder)
    declared = STRANGERS.diffusion.entry.model_dump(mode="json", exclude_defaults=True)
    (folder / OWN_ENTRY).write_text(json.dumps(declared))
    strange = {"ar": "zoo:ar", "diffusion": str(folder), "name": "from nothing"}
    job = {"pairs": [strange, "zoo:masked"], "tasks": ["ioi"], "measures": [*sorted(PART_BY_PART), "front_loading"]}
    spec = parse_spec(json.dumps({**job, "output": str(tmp_path / "run")}))
    plan = plan_of(spec, HashCache())
    assert {name.split("/")[0] for name in plan.skipped} == PART_BY_PART
    assert all("no twin" in why and "from nothing" in name for name, why in plan.skipped.items())
    done = {(unit.stage, unit.place["pair"]) for unit in plan if unit.measure}
    assert ("front_loading", "from nothing") in done
    assert {("zoo:masked", name) for name in PART_BY_PART} <= {(pair, name) for name, pair in done}
    assert needs_twins({"pair": "zoo:masked"}, spec) is None


def test_what_asks_when_tokens_are_written_says_no_to_flows_and_blanks():
    from analyses.measures.applicability import writes_several, writes_token_by_token
    from probe.jobs.spec.model import Spec

    said = {"pairs": ["zoo:flow", "zoo:masked"], "tasks": ["ioi", "countdown", "infilling"], "output": "runs/x",
            "measures": ["commitment"]}  # fmt: skip
    spec = Spec.model_validate(said)

    def asked(refuses, pair: str, task: str) -> str | None:
        return refuses({"pair": pair, "task": task}, spec)

    assert "is a flow" in str(asked(writes_token_by_token, "zoo:flow", "countdown"))
    assert asked(writes_token_by_token, "zoo:masked", "countdown") is None
    assert asked(writes_several, "zoo:masked", "countdown") is None
    assert "one token" in str(asked(writes_several, "zoo:masked", "ioi"))
    assert "middle" in str(asked(writes_several, "zoo:masked", "infilling"))
