"""Recording: `probe.record` runs a model and returns the activations at the requested sites, as one labelled dataset.

The input can be token ids; a canvas; a batch of a task, as it is or under a reading; a decoding run, made now
(`decode=`) or before (a Trajectory). All of them use the same loop: a batch of examples is run, its forward passes
become frames, the frames become a region, and the region goes into memory or to disk.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import torch
from torch import Tensor

from probe.errors import TraceError, nearest
from probe.installed import optional
from probe.paradigms.canvas import Canvas
from probe.progress import progress
from probe.tracing import fingerprint
from probe.tracing.cost import Cost
from probe.tracing.editing import announce, open_edits
from probe.tracing.memory import Memory
from probe.tracing.recorder import Recorder, recorded_dtype
from probe.tracing.runs import Run, SinglePass, Steps, live, replay
from probe.tracing.selection import Positions, Selection, as_positions
from probe.tracing.sites import DEFAULT_SITES
from probe.tracing.store import TraceStore, Writer, open_trace
from probe.tracing.trace import Region, index_coordinates, region
from probe.tracing.tracers import TRACERS

if TYPE_CHECKING:
    import xarray

    from probe.batch import Batch
    from probe.decoding.trajectory import Trajectory
    from probe.models.model import Model
    from probe.readings import Reading

SLOTS_AT_ONCE = 8192  # in one forward pass, if no batch_size is given


class RecordingOptions(TypedDict, total=False):
    """Further options of a recording."""

    heads: int | Iterable[int] | None
    """query heads by number; of `k` and `v`, the heads that those use are kept"""
    attention: str | Tensor | None
    """another attention than the paradigm's own: "causal", "full", "block:4", or a 4D mask"""
    decode: Mapping[str, Any] | None
    """record a decoding run as it is made: {"length": 16, …}, the arguments of `probe.decode`"""
    steps: Steps
    """the steps of a decoding run to keep: a slice or numbers"""
    remote: bool | str
    """with tracer="nnsight": run on NDIF's machines"""
    batch_size: int | None
    """examples in one forward pass; by default as many as make SLOTS_AT_ONCE slots"""


def record(
    model: Model,
    tokens_or_batch: str | list[str] | Tensor | Canvas | Batch | Trajectory,
    sites: str | Iterable[str] | None = None,
    *,
    layers: int | Iterable[int] | None = None,
    positions: Positions | str | None = None,
    reading: str | Reading | None = None,
    tracer: str = "hooks",
    store: str | Path | None = None,
    **options: Unpack[RecordingOptions],
) -> xarray.Dataset:
    """Run a model and record the activations at `sites` (see `probe.tracing.sites`; by default DEFAULT_SITES).

        probe.record(model, "The capital of France is")["resid_post"].sel(layer=3)

    tokens_or_batch   text, token ids (example × length), a canvas, a batch of a task, or a Trajectory; several texts
                      must have one length in tokens
    layers            numbers; None is all
    positions         positions in the text, one list for all or examples × k; or one of a batch's names, or "read": the
                      slots whose logits the reading reads
    reading           "ar", "prefix", …, or a Reading; None takes a batch's clean text as it is. If a reading makes
                      several questions of an example, each question is an example here, identified by `of_example`,
                      `draw` and `ratio`
    tracer            "hooks", "transformer_lens", "nnsight", or one of an installed package
    store             a folder to stream to, as zarr; given again after an interruption, it resumes
    options           `heads`, `attention`, `decode`, `steps`, `remote`, `batch_size`: see `RecordingOptions`

    >>> trace = probe.record(pair.diffusion, batch, ["pattern"], layers=[1, 2], reading="prefix")
    >>> trace.pattern.dims
    ('example', 'layer', 'head', 'query', 'key')
    >>> trace.pattern.sel(layer=2, head=1).shape == (8, trace.sizes["query"], trace.sizes["key"])
    True
    """
    further = _checked(options)
    source, texts = _encoded(model, tokens_or_batch)
    run = _run(model, source, reading, further)
    wanted = DEFAULT_SITES if sites is None else sites
    selection = _selection(model, run, source, wanted, layers, further.get("heads"), positions)
    batch = min(further.get("batch_size") or max(1, SLOTS_AT_ONCE // run.slots), run.examples)
    cost = Cost.of(model, run, selection, batch)
    attributes = {**texts, **_attributes(model, source, run, selection, tracer, reading, further)}
    regions = _Regions(model, run, selection, tracer, further.get("remote", False))
    if store is None:
        cost.refuse_in_memory()
        memory = Memory(run.examples, recorded_dtype(model), stepped=run.steps is not None)
        for rows, made in regions.made(_batches(run.examples, batch), memory):
            memory.add(rows, made)
        times = run.times(model)
        return memory.dataset(
            lambda whole: index_coordinates(selection, whole, run.examples, run.steps, times), attributes
        )
    return _stream(Path(store), regions, cost, {**attributes, "batch_size": batch})


def _checked(options: RecordingOptions) -> RecordingOptions:
    """The options; refused if `record` has none of that name."""
    known = RecordingOptions.__annotations__
    for name in options:
        if name not in known:
            raise TypeError(f"record() has no argument {name!r}. {nearest(name, known)}")
    return options


def _encoded(model: Model, source: Any) -> tuple[Any, dict[str, Any]]:
    """Text as token ids, and the text as provenance; anything else as it is."""
    if isinstance(source, str) or (isinstance(source, list) and source and isinstance(source[0], str)):
        return model.encode(source), {"text": source}
    return source, {}


def _run(model: Model, source: Any, reading: Any, options: RecordingOptions) -> Run:
    """The run to record."""
    decode, steps, attention = options.get("decode"), options.get("steps"), options.get("attention")
    if decode is not None:
        settings = dict(decode)
        tokens = source.clean if hasattr(source, "clean") else source
        prompt = model.checked(tokens if tokens.dim() == 2 else tokens[None])
        return live(model, prompt, settings.pop("length"), steps, settings)
    if hasattr(source, "states"):
        return replay(source, steps, attention)
    if steps is not None:
        raise TraceError(
            "steps",
            expected="a decoding run",
            found=f"a {type(source).__name__}, which is a single forward pass",
            remedy="Pass decode={'length': …}, or a Trajectory.",
        )
    if isinstance(source, Canvas):
        return SinglePass(source)
    if hasattr(source, "clean"):
        return SinglePass(model.canvas(source.clean, attention)) if reading is None else _read(model, source, reading)
    return SinglePass(model.canvas(source, attention))


def _read(model: Model, batch: Batch, reading: str | Reading) -> SinglePass:
    """A batch under a reading: one question per row, of which an example may have several (draws, steps)."""
    from probe.readings import named

    questions = named(reading).ask(model, batch)
    view = questions.view
    notes = {"of_example": view.example, "draw": view.step, "ratio": view.ratio, "read_at": questions.slots[:, 0]}
    if view.soft is not None:
        notes["tau"] = view.soft.tau.masked_fill(~view.hidden, 0).amax(1)  # the lightest noise
    return SinglePass(questions.canvas, {name: note.cpu() for name, note in notes.items()})


def _selection(model: Model, run: Run, source: Any, sites: Any, layers: Any, heads: Any, positions: Any) -> Selection:
    if positions is None:
        return Selection.of(model, sites, layers, heads)
    notes = run.notes if isinstance(run, SinglePass) else {}
    if isinstance(positions, str) and positions == "read" and notes:
        return Selection.of(model, sites, layers, heads, notes["read_at"][:, None], positions_are_slots=True)
    if isinstance(positions, str):
        named = getattr(source, "positions", {})
        if positions not in named:
            raise TraceError(
                f"positions {positions!r}",
                expected="a name that the batch has" if named else "numbers, or a batch with named positions",
                found=repr(positions),
                remedy=nearest(positions, named) if named else "Name positions by number.",
            )
        positions = named[positions]
        positions = positions[notes["of_example"]] if notes else positions
    end = int(run.canvas.places.max()) + 1 if isinstance(run, SinglePass) else run.slots
    return Selection.of(model, sites, layers, heads, as_positions(positions, run.examples, end))


class _Regions:
    """Runs the batches one by one and makes regions of them."""

    def __init__(self, model: Model, run: Run, selection: Selection, tracer: str, remote: bool | str):
        if tracer not in TRACERS:
            raise TraceError(
                f"tracer {tracer!r}",
                expected="one of " + ", ".join(TRACERS),
                found=repr(tracer),
                remedy=nearest(tracer, TRACERS),
            )
        if remote and tracer != "nnsight":
            raise TraceError(
                f"remote execution with tracer {tracer!r}",
                expected='tracer="nnsight"',
                found=repr(tracer),
                remedy='Pass tracer="nnsight", or leave remote out.',
            )
        if tracer in ("transformer_lens", "nnsight"):
            optional(tracer, "tracers", f"tracer={tracer!r}")
        self.model, self.run, self.selection = model, run, selection
        self.attached = partial(TRACERS[tracer], remote=remote) if remote else TRACERS[tracer]

    def _some_logits(self) -> bool:
        """Whether only some slots' logits are recorded and nothing else needs the others; then those, of up to 152,000
        columns, are not computed."""
        selection = self.selection
        wanted = selection.has("logits") and selection.positions is not None and self.run.steps is None
        edited = any(part.site == "logits" for part in open_edits(self.model))
        return wanted and not edited and self.attached is TRACERS["hooks"]

    def made(self, batches: Iterable[slice], memory: Memory | None = None) -> Iterator[tuple[slice, Region]]:
        """The regions of some batches of examples, one after the other."""
        kept = None if self.run.steps is None else frozenset(self.run.steps)
        length = None if kept is None else self.run.slots
        room = memory.room if memory else lambda *_: None
        unembeds = self._some_logits()
        recorder = Recorder(self.model, self.selection, room, unembeds=unembeds)
        traced = self.selection.in_place_of("logits", "final_norm") if unembeds else self.selection

        def see(canvas: Canvas, step: int) -> Tensor | None:
            return recorder.see(canvas, step, keep=kept is None or step in kept, logits=kept is not None)

        with torch.no_grad(), self.attached(self.model, traced, recorder.take) as forward:
            recorder.forward = forward
            try:
                for rows in batches:
                    recorder.rows, recorder.frames = rows, []
                    trajectory = self.run.play(self.model, rows, see)
                    made = region(self.model, self.selection, recorder.frames, length, trajectory)
                    if isinstance(self.run, SinglePass):
                        made |= {name: (("example",), note[rows].numpy()) for name, note in self.run.notes.items()}
                    yield rows, made
            finally:
                announce(self.model, None, None)


def _stream(path: Path, regions: _Regions, cost: Cost, attributes: dict[str, Any]) -> xarray.Dataset:
    """Record the examples missing in a store, and open it."""
    run, selection, model = regions.run, regions.selection, regions.model
    if not path.exists():
        cost.refuse_on_disk(path, written=0)
    shown = [run.tokens] + (
        [run.canvas.allowed, run.canvas.places, run.canvas.block] if isinstance(run, SinglePass) else []
    )
    shown += [] if selection.positions is None else [selection.positions]
    shown += [value for part in open_edits(model) for value in part.change.values()]
    mark = fingerprint.of(shown, {**attributes, "weights": fingerprint.of_weights(model)})

    def labels(first: Region) -> Region:
        return index_coordinates(selection, first, run.examples, run.steps, run.times(model))

    store = TraceStore(path, mark, attributes, run.examples, cost.batch, labels)
    missing = store.missing()
    to_do = sum(rows.stop - rows.start for rows in missing)
    resumed = to_do < run.examples
    if missing:
        cost.refuse_on_disk(path, written=run.examples - to_do)
        cost.announce(path, written=run.examples - to_do)
        began = time.perf_counter()
        counted = progress(f"recording to {path.name}", run.examples, "examples", done=run.examples - to_do)
        with _written_by(store) as writer, counted as advance:
            for rows, made in regions.made(missing):
                writer.put(rows, made)
                advance(rows.stop - rows.start)
        writer.report(time.perf_counter() - began)
    return open_trace(path, verify=resumed)


@contextmanager
def _written_by(store: TraceStore) -> Iterator[Writer]:
    writer = Writer(store)
    try:
        yield writer
    except BaseException:
        writer.close(failed=True)
        raise
    writer.close()


def _batches(examples: int, batch: int) -> list[slice]:
    return [slice(at, min(at + batch, examples)) for at in range(0, examples, batch)]


@cache  # reading them from disk takes milliseconds
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "transformers", "numpy")}


def _attributes(
    model: Model, source: Any, run: Run, selection: Selection, tracer: str, reading: Any, further: RecordingOptions
) -> dict[str, Any]:
    """The provenance of a trace as JSON values."""
    own = "of the canvas" if isinstance(source, Canvas) else model.paradigm.attention
    options, attention = dict(further.get("decode") or {}), further.get("attention")
    seed = options.get("seed", getattr(source, "seed", None))
    found = {
        "model": model.name,
        "architecture": model.layout.model_type,
        "paradigm": model.paradigm.name,
        "attention": "given" if isinstance(attention, Tensor) else attention or own,
        "shift": model.shift,
        "mask_id": model.mask_id,
        "model_dtype": str(model.dtype).removeprefix("torch."),
        "dtype": str(recorded_dtype(model)).removeprefix("torch."),
        "reading": None if reading is None else str(reading),
        "task": getattr(source, "task", None),
        "seed": seed,
        "decode": {name: value if isinstance(value, int | float) else str(value) for name, value in options.items()},
        "sites": [one.name for one in selection.sites],
        "tracer": tracer,
        "edits": [str(part) for part in open_edits(model)],
        "complete": True,
        "versions": dict(_versions()),
    }
    return {name: value for name, value in found.items() if value is not None}
