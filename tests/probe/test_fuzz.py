"""Two thousand files gone wrong: each is answered within two seconds, by a result or by a sentence of ours.

Every case has a seed, which a failure names: `TWINPROBE_FUZZ=SEED pytest tests/probe/test_fuzz.py` begins there. The
seeds are the same every time, unless that variable says another beginning.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import probe
from analyses.circuits.eap_ig_format import read_json, write_json
from analyses.lens.tuned import TunedLens
from analyses.measures.storage import CIRCUIT
from analyses.result import Result
from probe.errors import ProbeError
from probe.jobs.report.compare_runs import compare
from probe.jobs.report.contents import contents
from probe.jobs.report.render import markdown
from probe.jobs.run.unit_store import UnitStore
from probe.jobs.run_folder import open_run
from probe.jobs.spec.file import parse_spec, read_spec
from probe.models.adapters import apply_adapters, save_adapters
from probe.models.catalog import AdaptersOf, entries
from probe.models.checkpoint import open_checkpoint
from probe.models.source import Source
from probe.models.tokenizers import load_tokenizer
from probe.paradigms import Fluid
from probe.paradigms.attachments import load_attachments, save_attachments
from probe.paradigms.horizon import new_horizon
from probe.tasks import from_jsonl
from probe.tracing import fingerprint, open_trace
from probe.training.checkpoints import last_complete
from probe.training.curve import read_curve
from probe.training.recipe import read_recipe
from probe.zoo import zoo_folder
from tests.analyses.circuits.synthetic import random_circuit
from tests.command import twinprobe
from tests.probe.fuzz import Door, into, spoilt
from tests.probe.jobs.asked import text_of
from tests.probe.jobs.made_up import write_run
from tests.probe.models.gguf_file import write_gguf
from tests.probe.tiny import MASK, backbone_of, model_of, write_stock

FIRST = int(os.environ.get("TWINPROBE_FUZZ", "0"))
SECONDS = 2.0  # of one case, on a processor of its own
ZOO = zoo_folder("masked")


def as_json(text: str | bytes) -> bytes:
    """YAML as JSON, whose values can be spoilt one by one."""
    return json.dumps(yaml.safe_load(text)).encode()


@pytest.fixture(scope="module")
def doors(tmp_path_factory) -> dict[str, Door]:
    base = tmp_path_factory.mktemp("fuzz")
    made = [
        *_specs(base),
        *_checkpoints(base),
        *_besides(base),
        *_traces(base),
        *_runs(base),
        *_others(base),
        *_commands(base),
    ]
    return {door.name: door for door in made}


def _specs(base: Path) -> list[Door]:
    spec = as_json(text_of(base / "out", seeds=[0, 1], measures=["front_loading"]))
    row = {
        "name": "a/b",
        "paradigm": "masked",
        "mask_id": 3,
        "sampler": {"order": "margin", "steps": 4},
        "controls": {},
    }
    line = '{"clean": "a b", "corrupt": "a c", "target": " d", "distractor": " e"}\n'
    return [
        Door("a spec", spec, into(base / "spec.yaml", lambda: read_spec(base / "spec.yaml")), 120),
        Door("an override", b"budget.examples=64", lambda text: parse_spec(
            spec.decode(), "spec", [text.decode("utf-8", "surrogateescape")])),
        Door("a recipe", as_json((ZOO / "recipe.yaml").read_text()),
             into(base / "recipe.yaml", lambda: read_recipe(base / "recipe.yaml")), 120),
        Door("a recipe as it is written", (ZOO / "recipe.yaml").read_bytes(),
             into(base / "recipe.yaml", lambda: read_recipe(base / "recipe.yaml"))),
        Door("a catalog", json.dumps([row, row]).encode(),
             into(base / "catalog.yaml", lambda: entries(base / "catalog.yaml")), 120),
        Door("a task", 3 * line.encode(), into(base / "task.jsonl", lambda: from_jsonl(base / "task.jsonl")), 120),
    ]  # fmt: skip


def _checkpoints(base: Path) -> list[Door]:
    one = write_stock(base / "one", backbone_of("llama"))
    two = write_stock(base / "two", backbone_of("gpt2"))
    shards = write_stock(base / "shards", backbone_of("qwen2"), shards=2)
    named = write_stock(base / "named", backbone_of("llama"))
    words = base / "words"
    words.mkdir()
    for file in (ZOO / "tokenizer.json", ZOO / "tokenizer_config.json"):
        (words / file.name).write_bytes(file.read_bytes())
    gguf = write_gguf(base / "m.gguf", backbone_of("llama"))
    weights = one / "model.safetensors"
    entry = {"name": "mine", "paradigm": "masked", "mask_id": 3, "ar": "zoo:ar", "note": "made", "shift": True}

    def loaded(folder: Path) -> Callable[[], Any]:
        return lambda: probe.load(folder, tokenizer=False, selftest="off")

    return [
        Door("config.json", (one / "config.json").read_bytes(),
             into(one / "config.json", lambda: Source(str(one)).paradigm), 160),
        Door("config.json, loaded", (two / "config.json").read_bytes(), into(two / "config.json", loaded(two)), 80),
        Door("an index", (shards / "model.safetensors.index.json").read_bytes(),
             into(shards / "model.safetensors.index.json", lambda: open_checkpoint(shards))),
        Door("weights", weights.read_bytes(), into(weights, lambda: open_checkpoint(one))),
        Door("twinprobe.json", json.dumps(entry).encode(),
             into(named / "twinprobe.json", lambda: Source(str(named)).paradigm), 120),
        Door("tokenizer.json", (words / "tokenizer.json").read_bytes(),
             into(words / "tokenizer.json", lambda: load_tokenizer(words, "")), 60),
        Door("tokenizer_config.json", (ZOO / "tokenizer_config.json").read_bytes(),
             into(words / "tokenizer_config.json", lambda: load_tokenizer(words, "")), 60),
        Door("a gguf", gguf.read_bytes(), into(gguf, lambda: open_checkpoint(gguf)), 120),
    ]  # fmt: skip


def _besides(base: Path) -> list[Door]:
    """What lies beside a model's weights: adapters, an attachment, a tuned lens."""
    folder = base / "beside"
    folder.mkdir()
    model = model_of("llama-gqa", Fluid(mask_id=MASK))
    new_horizon(model, seed=0)
    save_attachments(model, folder)
    lens = TunedLens.identity(model)
    replace(lens, about={"weights": fingerprint.of_weights(model)}).save(folder)
    row = model.backbone.get_input_embeddings().weight[MASK]
    up = model.backbone.get_submodule("model.layers.0.mlp.up_proj").weight
    name = "model.layers.0.mlp.up_proj"
    save_adapters({f"{name}.up": up[:, :2], f"{name}.down": up[:2], "mask": row}, folder)

    base_model = model_of("llama-gqa").backbone

    def folded() -> None:
        apply_adapters(base_model, folder, AdaptersOf(rank=2, alpha=4.0), MASK)

    files = {name: folder / f"{name}.safetensors" for name in ("adapters", "horizon", "tuned_lens")}
    return [
        Door("adapters", files["adapters"].read_bytes(), into(files["adapters"], folded), 60),
        Door("an attachment", files["horizon"].read_bytes(),
             into(files["horizon"], lambda: load_attachments(model, folder)), 60),
        Door("a tuned lens", files["tuned_lens"].read_bytes(),
             into(files["tuned_lens"], lambda: TunedLens.open(folder, model)), 60),
    ]  # fmt: skip


def _traces(base: Path) -> list[Door]:
    trace = base / "trace.zarr"
    probe.record(
        model_of("llama-gqa"), torch.arange(12).view(2, 6), ["resid_post", "pattern"], store=trace, batch_size=1
    )

    def opened(*, verify: bool) -> Callable[[], Any]:
        return lambda: open_trace(trace, verify=verify).isel(example=slice(0, 1)).resid_post.shape

    files = {"a trace": trace, **{f"a trace's {name}": trace / name for name in ("resid_post", "example", "written")}}
    chunk = trace / "resid_post" / "c" / "0" / "0" / "0" / "0"
    return [
        *(Door(name, (at / "zarr.json").read_bytes(), into(at / "zarr.json", opened(verify=name != "a trace")), 80)
          for name, at in files.items()),
        Door("a trace's chunk", chunk.read_bytes(), into(chunk, opened(verify=True)), 20),
    ]  # fmt: skip


def _runs(base: Path) -> list[Door]:
    run, other = write_run(base / "run"), write_run(base / "other")
    table, figure = sorted((run / "results").iterdir())[0], sorted((run / "figures").iterdir())[0]
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["units"] = [*manifest["units"][:2], manifest["units"][-1]]
    store = UnitStore(base / "store")
    unit = store.units / "abc"
    unit.mkdir(parents=True)
    record = {"record": {"id": "x", "stage": "y", "files": {"a": {"sha256": "0", "bytes": 1}}}, "sha256": "0"}
    first = open_run(run).done[0]
    drawn = write_run(base / "drawn")
    figure = drawn / figure.relative_to(run)
    return [
        Door("a manifest", json.dumps(manifest).encode(),
             into(run / "manifest.json", lambda: markdown(contents(open_run(run)))), 120),
        Door("a run's spec", (run / "spec.yaml").read_bytes(),
             into(other / "spec.yaml", lambda: open_run(other)), 40),
        Door("a figure", figure.read_bytes(), into(figure, lambda: open_run(drawn).figure(first))),
        Door("a table", table.read_bytes(), into(table, lambda: Result.open(table)), 80),
        Door("runs side by side", json.dumps(manifest).encode(),
             into(run / "manifest.json", lambda: compare(drawn, run).markdown()), 60),
        Door("a unit's record", json.dumps(record).encode(), into(unit / "unit.json", lambda: store.damage("abc"))),
    ]  # fmt: skip


def _others(base: Path) -> list[Door]:
    circuit = random_circuit(seed=1)
    graph, saved, stored = base / "graph.json", circuit.save(base / "circuit.npz"), base / "stored"
    stored.mkdir()
    CIRCUIT.save(circuit, stored)
    state = base / "checkpoint-3" / "trainer_state.json"
    state.parent.mkdir()
    curve = base / "curve.csv"
    return [
        Door("a graph of EAP-IG", write_json(circuit, graph).read_bytes(), into(graph, lambda: read_json(graph)), 40),
        Door("a circuit", saved.read_bytes(), into(saved, lambda: type(circuit).open(saved)), 80),
        Door("a stored circuit", (stored / "circuit.json").read_bytes(),
             into(stored / "circuit.json", lambda: CIRCUIT.open(stored))),
        Door("a trainer's state", b'{"log_history": [{"step": 1, "loss": 0.5}], "global_step": 3}',
             into(state, lambda: last_complete(base)), 40),
        Door("a curve", b"step,tokens,flops,loss,ioi\n1,64,100,2.5,\n2,128,200,2.25,0.5\n",
             into(curve, lambda: read_curve(base)), 60),
    ]  # fmt: skip


def _commands(base: Path) -> list[Door]:
    """The command line's own functions, called in this process on a spoilt file."""

    def told(*words: str) -> Callable[[], None]:
        def ask() -> None:
            ended = twinprobe(*words)
            assert ended.returncode in (0, 1, 2), ended
            assert "Traceback" not in ended.stdout + ended.stderr
            assert ended.returncode != 2 or "error" in ended.stderr.lower()

        return ask

    run, folder = write_run(base / "told"), write_stock(base / "checked", backbone_of("llama"))
    spec, task, recipe, rows = (base / name for name in ("a.yaml", "b.jsonl", "c.yaml", "d.yaml"))
    line = '{"clean": "Luke gave", "corrupt": "Keith gave", "target": "it", "distractor": "to"}\n'
    row = {"name": "a/b", "paradigm": "masked", "mask_id": 3}
    manifest = (run / "manifest.json").read_bytes()
    return [
        Door("run --dry-run", as_json(text_of(base / "out", measures=["front_loading"])),
             into(spec, told("run", str(spec), "--dry-run")), 16),
        Door("report", manifest, into(run / "manifest.json", told("report", str(run))), 8),
        Door("compare", manifest, into(run / "manifest.json", told("compare", str(run), str(run))), 12),
        Door("check", (folder / "config.json").read_bytes(),
             into(folder / "config.json", told("check", str(folder))), 16),
        Door("task", line.encode(), into(task, told("task", str(task))), 24),
        Door("catalog", json.dumps([row]).encode(), into(rows, told("catalog", "--catalog", str(rows))), 24),
        Door("adapt", as_json((ZOO / "recipe.yaml").read_text()),
             into(recipe, told("adapt", str(recipe), "--out", str(base / "made"), "--as-it-is")), 24),
    ]  # fmt: skip


NAMES = (
    *(
        "a spec",
        "an override",
        "a recipe",
        "a recipe as it is written",
        "a catalog",
        "a task",
        "config.json",
        "an index",
    ),
    *(
        "config.json, loaded",
        "weights",
        "twinprobe.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "a gguf",
        "a manifest",
    ),
    *("a run's spec", "a figure", "a table", "runs side by side", "a unit's record", "a graph of EAP-IG", "a circuit"),
    *("a stored circuit", "a trainer's state", "a curve", "adapters", "an attachment", "a tuned lens", "a trace"),
    *("a trace's resid_post", "a trace's example", "a trace's written", "a trace's chunk"),
    *("run --dry-run", "report", "compare", "check", "task", "catalog", "adapt"),
)


def test_every_door_is_tried_and_all_cases_are_two_thousand(doors):
    assert set(doors) == set(NAMES)
    assert sum(door.cases for door in doors.values()) >= 2_000


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_a_file_gone_wrong_is_answered(doors, name):
    door = doors[name]
    door.enter(door.valid)
    for seed in range(FIRST, FIRST + door.cases):
        before = time.process_time()
        trouble = wrong_with(door, spoilt(door.valid, seed))
        took = time.process_time() - before
        assert not trouble, f"{name}, seed {seed}: {trouble}"
        assert took < SECONDS, f"{name}, seed {seed}: {took:.1f} s"
    door.enter(door.valid)


@pytest.mark.parametrize("name", ["a spec", "a catalog", "config.json", "a manifest", "a graph of EAP-IG"])
def test_much_of_what_is_spoilt_is_refused(doors, name):
    """Otherwise nothing was tried."""
    door = doors[name]
    found = [refusal_of(door, spoilt(door.valid, seed)) for seed in range(20)]
    door.enter(door.valid)
    assert sum(one is not None for one in found) >= 4


def test_a_seed_spoils_alike(doors):
    valid = doors["a spec"].valid
    assert [spoilt(valid, seed) for seed in range(20)] == [spoilt(valid, seed) for seed in range(20)]
    assert len({spoilt(valid, seed) for seed in range(20)}) > 15


def refusal_of(door: Door, content: bytes) -> ProbeError | None:
    try:
        door.enter(content)
    except ProbeError as problem:
        return problem
    return None


def wrong_with(door: Door, content: bytes) -> str:
    """What is wrong with how a door answers; nothing, where it answers with a result or a sentence of ours."""
    try:
        problem = refusal_of(door, content)
    except Exception as other:
        return f"{type(other).__name__}: {other}; from {content[:200]!r}"
    return "" if problem is None else _no_sentence(problem)


def _no_sentence(problem: ProbeError) -> str:
    """What an error lacks of a sentence that can be read anywhere."""
    parts = {name: getattr(problem, name) for name in ("thing", "expected", "found", "remedy")}
    empty = [name for name, words in parts.items() if not isinstance(words, str) or not words.strip()]
    if empty:
        return f"no {', '.join(empty)}"
    if len(str(problem)) > 15_000:
        return f"{len(str(problem)):,} characters"
    try:
        str(problem).encode()
    except UnicodeEncodeError:
        return "characters that cannot be written"
    return ""
