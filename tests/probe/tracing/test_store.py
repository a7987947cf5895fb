"""Traces on disk: equal to those in memory, whole after any interruption, and honest about damage.

The faults are real: processes that are killed, files that are cut, a limit on what a process may write.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray

from probe.errors import TraceError
from probe.paradigms.canvas import Canvas
from probe.readings import Reading, View
from probe.tracing import edit, open_trace, patch, record
from tests.forked import begin
from tests.probe.tracing.architectures import canvas_of, model_of, tokens_of

SITES = ["resid_post", "pattern", "k", "logits"]


def test_a_store_holds_what_memory_would(architecture, tmp_path, tokens):
    model = model_of(architecture, "full")
    stored = record(model, tokens, SITES, store=tmp_path / "trace.zarr", batch_size=2)
    xarray.testing.assert_equal(stored.load(), record(model, tokens, SITES, batch_size=2))
    opened = open_trace(tmp_path / "trace.zarr")
    assert opened.attrs["complete"]
    assert opened.attrs["model"] == f"tiny-{architecture}"


def test_a_stored_decoding_run(tmp_path, tokens):
    model = model_of("llama", "causal")
    how = {"decode": {"length": 3, "seed": 1}, "positions": [8, 1], "batch_size": 2}
    stored = record(model, tokens, ["resid_post", "pattern"], store=tmp_path / "trace.zarr", **how)
    in_memory = record(model, tokens, ["resid_post", "pattern"], **how)
    xarray.testing.assert_equal(stored.load(), in_memory)


def test_a_stored_run_of_uncertain_length_has_the_steps_it_took(tmp_path, tokens):
    from probe.decoding import Sampler

    model = model_of("llama", "full")
    how = {"decode": {"length": 6, "sampler": Sampler("confidence", threshold=0.0)}, "batch_size": 2}
    stored = record(model, tokens, "resid_post", store=tmp_path / "trace.zarr", **how)
    assert stored.sizes["step"] < 6
    xarray.testing.assert_equal(open_trace(tmp_path / "trace.zarr").load(), stored.load())
    xarray.testing.assert_equal(stored.load(), record(model, tokens, "resid_post", **how))


def test_a_stored_canvas(tmp_path):
    model = model_of("llama", "fluid")
    canvas = canvas_of(model, "fluid")
    stored = record(model, canvas, "resid_post", store=tmp_path / "trace.zarr", batch_size=1)
    xarray.testing.assert_equal(stored.load(), record(model, canvas, "resid_post", batch_size=1))


def test_one_layer_and_one_example_are_read_alone(tmp_path):
    """A chunk holds one layer; the others are not even there when it is read."""
    model, path = model_of("llama", "full"), tmp_path / "trace.zarr"
    record(model, tokens_of(4), "resid_post", store=path, batch_size=2)
    for chunk in (path / "resid_post" / "c").glob("*/1/**/*"):
        if chunk.is_file():
            chunk.unlink()
    trace = open_trace(path, verify=False)
    assert np.isfinite(trace["resid_post"].sel(layer=0)).all()


def test_another_recording_may_not_resume(tmp_path, tokens):
    path = tmp_path / "trace.zarr"
    record(model_of("llama"), tokens, "resid_post", store=path)
    others = [
        (model_of("llama", "causal", 1), tokens, {}),
        (model_of("llama"), tokens + 1, {}),
        (model_of("llama"), tokens, {"positions": [1]}),
        (model_of("llama"), tokens, {"attention": "full"}),
    ]
    for model, shown, how in others:
        with pytest.raises(TraceError, match="another one"):
            record(model, shown, "resid_post", store=path, **how)
    edited = tmp_path / "edited.zarr"
    for value in (1.0, 2.0):
        with edit(model_of("llama"), patch("z", value, layer=0)):
            if value == 1:
                record(model_of("llama"), tokens, "resid_post", store=edited)
                continue
            with pytest.raises(TraceError, match="another one"):
                record(model_of("llama"), tokens, "resid_post", store=edited)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(TraceError, match="a folder with other files"):
        record(model_of("llama"), tokens, "resid_post", store=tmp_path / "full")


def test_what_is_there_is_not_done_again(tmp_path, tokens):
    model, path = model_of("llama"), tmp_path / "trace.zarr"
    record(model, tokens, "resid_post", store=path, batch_size=1)
    passes = []
    model.before_run.append(passes.append)
    try:
        record(model, tokens, "resid_post", store=path, batch_size=1)
    finally:
        model.before_run.clear()
    assert not passes


def recording(path: Path, examples: int, prepare: Callable[[list], Callable[[Canvas], object]]) -> int:
    """What a process of its own does: record, with something done before each batch; 1 if it is told that it cannot."""
    model = model_of("llama", "full")
    model.before_run.append(prepare([]))
    try:
        record(model, tokens_of(examples, 12), SITES, store=path, batch_size=4)
    except TraceError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        path.with_suffix(".told").write_text(str(error))
        return 1
    return 0


def waits_in_the_middle(seen: list) -> Callable[[Canvas], object]:
    """After 50 of 100 batches it does nothing more, so that it is killed before its end, however long that takes."""
    return lambda canvas: seen.append(1) or time.sleep(0.01 if len(seen) <= 50 else 3600)


def dies_at_once(seen: list) -> Callable[[Canvas], object]:
    return lambda canvas: os.kill(os.getpid(), signal.SIGKILL)


def fills_the_disk(seen: list) -> Callable[[Canvas], object]:
    """From the sixth batch on it may write no file of more than 100 bytes, which fails a write as a full disk does."""

    def fill(canvas: Canvas) -> None:
        seen.append(1)
        if len(seen) == 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))

    return fill


def chunks(path: Path) -> int:
    return len(list((path / "written" / "c").glob("*"))) if (path / "written" / "c").exists() else 0


def test_killed_while_writing(tmp_path):
    """SIGKILL at an arbitrary moment: what was written opens, the rest resumes, and nothing tells the two apart."""
    path, examples = tmp_path / "trace.zarr", 400
    process = begin(recording, path, examples, waits_in_the_middle)
    while chunks(path) < 5:
        assert process.exitcode is None
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    partial = open_trace(path)
    there = partial.sizes["example"]
    assert 0 < there < examples
    assert not partial.attrs["complete"]
    whole = record(model_of("llama", "full"), tokens_of(examples, 12), SITES, batch_size=4)
    xarray.testing.assert_equal(partial.load(), whole.isel(example=partial["example"].values))
    model, passes = model_of("llama", "full"), []
    model.before_run.append(passes.append)
    try:
        resumed = record(model, tokens_of(examples, 12), SITES, store=path, batch_size=4)
    finally:
        model.before_run.clear()
    assert sum(len(canvas) for canvas in passes) == examples - there
    xarray.testing.assert_equal(resumed.load(), whole)
    assert resumed.attrs["complete"]
    assert not list(path.rglob("*.partial"))


def test_stopped_before_the_first_batch(tmp_path):
    path = tmp_path / "trace.zarr"
    process = begin(recording, path, 8, dies_at_once)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(TraceError, match="interrupted before its first"):
        open_trace(path)
    stored = record(model_of("llama", "full"), tokens_of(8, 12), SITES, store=path, batch_size=4)
    xarray.testing.assert_equal(stored.load(), record(model_of("llama", "full"), tokens_of(8, 12), SITES, batch_size=4))


def test_interrupted_from_the_keyboard(tmp_path):
    model, path, seen = model_of("llama", "full"), tmp_path / "trace.zarr", []

    def interrupt(canvas):
        seen.append(canvas)
        if len(seen) == 3:
            raise KeyboardInterrupt

    model.before_run.append(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            record(model, tokens_of(12), SITES, store=path, batch_size=4)
    finally:
        model.before_run.clear()
    assert open_trace(path).sizes["example"] == 8  # what the model had been through is on disk
    stored = record(model, tokens_of(12), SITES, store=path, batch_size=4)
    xarray.testing.assert_equal(stored.load(), record(model, tokens_of(12), SITES, batch_size=4))


def test_an_interrupted_reading(tmp_path):
    """What is noted of each question stands in the store too."""
    model, path, seen = model_of("llama", "full"), tmp_path / "trace.zarr", []
    batch = SimpleNamespace(clean=tokens_of(9), positions={"answer": torch.full((9, 1), 3)})

    class Answers(Reading):
        name = "answers"

        def view(self, model, batch):
            return View.still(
                torch.zeros_like(batch.clean, dtype=torch.bool).scatter(1, batch.positions["answer"], True)
            )

    def interrupt(canvas):
        seen.append(canvas)
        if len(seen) == 2:
            raise KeyboardInterrupt

    how = {"reading": Answers(), "positions": "read", "batch_size": 4}
    model.before_run.append(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            record(model, batch, "resid_post", store=path, **how)
    finally:
        model.before_run.clear()
    assert open_trace(path)["of_example"].values.tolist() == [0, 1, 2, 3]
    stored = record(model, batch, "resid_post", store=path, **how)
    xarray.testing.assert_equal(stored.load(), record(model, batch, "resid_post", **how))


def test_a_full_disk(tmp_path):
    path = tmp_path / "trace.zarr"
    process = begin(recording, path, 60, fills_the_disk)
    process.join()
    assert process.exitcode == 1
    assert "it resumes with the missing examples" in path.with_suffix(".told").read_text()
    there = open_trace(path).sizes["example"]
    assert 0 < there < 60
    stored = record(model_of("llama", "full"), tokens_of(60, 12), SITES, store=path, batch_size=4)
    whole = record(model_of("llama", "full"), tokens_of(60, 12), SITES, batch_size=4)
    xarray.testing.assert_equal(stored.load(), whole)


def test_what_cannot_fit_on_the_disk_is_refused_at_once(tmp_path):
    canvas = model_of("llama").canvas(tokens_of(1))
    many = type(canvas)(canvas.tokens.expand(10**12, -1), canvas.allowed, canvas.places, canvas.block)
    with pytest.raises(TraceError, match=r"free on that disk\); found [\d,]+\.\d TB"):
        record(model_of("llama"), many, "resid_post", store=tmp_path / "deep" / "trace.zarr")
    assert not (tmp_path / "deep").exists()


def test_what_it_will_take_is_said_before(tmp_path, tokens, caplog):
    with caplog.at_level("INFO", logger="probe.record"):
        record(model_of("llama"), tokens, ["resid_post", "logits"], store=tmp_path / "trace.zarr")
    said, bound = caplog.messages
    size = 3 * 7 * (2 * 32 + 61) * 4
    assert f"{size / 1000:.1f} kB on disk" in said
    assert "resid_post, logits of 3 examples" in said
    assert "bounded by" in bound


def files_of(path: Path, name: str) -> list[Path]:
    return sorted(file for file in (path / name / "c").rglob("*") if file.is_file())


def flipped(data: bytes) -> bytes:
    return data[:9] + bytes([data[9] ^ 4]) + data[10:]


@pytest.mark.parametrize("name", ["resid_post", "pattern", "tokens", "layer"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda file: file.write_bytes(flipped(file.read_bytes())), id="flipped"),
        pytest.param(lambda file: file.write_bytes(file.read_bytes()[:-7]), id="cut"),
        pytest.param(lambda file: file.write_bytes(b""), id="empty"),
        pytest.param(lambda file: file.unlink(), id="gone"),
    ],
)
def test_a_damaged_chunk_is_named(tmp_path, name, damage):
    path = tmp_path / "trace.zarr"
    record(model_of("llama", "full"), tokens_of(4), SITES, store=path, batch_size=2)
    open_trace(path)
    victim = files_of(path, name)[-1]
    damage(victim)
    with pytest.raises(TraceError) as caught:
        open_trace(path)
    assert str(victim.relative_to(path)) in str(caught.value)
    if name != "layer":  # labels of axes are read on opening in any case
        open_trace(path, verify=False)


def test_a_damaged_list_of_what_is_written_is_named(tmp_path):
    path = tmp_path / "trace.zarr"
    record(model_of("llama", "full"), tokens_of(40), "resid_post", store=path, batch_size=20)
    victim = files_of(path, "written")[0]
    victim.write_bytes(flipped(victim.read_bytes()))
    for way in (
        lambda: open_trace(path),
        lambda: record(model_of("llama", "full"), tokens_of(40), "resid_post", store=path, batch_size=20),
    ):
        with pytest.raises(TraceError, match="chunk written/c/0"):
            way()


def test_no_trace_is_named(tmp_path):
    with pytest.raises(TraceError, match="none there"):
        open_trace(tmp_path / "nothing.zarr")


def test_nan_ends_a_stream_and_keeps_what_was_good(tmp_path):
    from probe.models.model import Model
    from probe.paradigms import Masked
    from tests.probe.tracing.architectures import tiny_backbone

    model, path = Model(tiny_backbone("llama"), Masked(attention="full", mask_id=60)), tmp_path / "trace.zarr"

    def spoil(module, taken, given):
        return given.masked_fill(torch.ones_like(given, dtype=torch.bool), torch.inf) if len(given) == 2 else given

    handle = model.blocks[1].register_forward_hook(spoil)
    with pytest.raises(TraceError, match=r"site 'resid_post'.*layer 1, example 8, position 0"):
        record(model, tokens_of(10), SITES, store=path, batch_size=4)
    handle.remove()
    assert open_trace(path).sizes["example"] == 8
    assert record(model, tokens_of(10), SITES, store=path, batch_size=4).attrs["complete"]


def streaming(folder: Path, sites: list[str]) -> None:
    """What a process of its own does: record much, and tell by how much its memory grew beyond its peak before."""
    model = model_of("llama", "full")
    record(model, tokens_of(64, 12), sites, store=folder / "first.zarr", batch_size=64)  # what is loaded once
    Path("/proc/self/clear_refs").write_text("5")  # from now on VmHWM counts anew
    before = peak()
    trace = record(model, tokens_of(20_000, 12), sites, store=folder / "trace.zarr", batch_size=500)
    (folder / "told.json").write_text(json.dumps({"added": peak() - before, "written": trace.nbytes}))


def peak() -> int:
    return (
        int(
            next(
                line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
            ).split()[1]
        )
        * 1024
    )


def test_streaming_many_examples_takes_little_memory(tmp_path):
    process = begin(streaming, tmp_path, ["resid_post", "mlp_hidden", "pattern", "logits"])
    process.join()
    assert process.exitcode == 0
    found = json.loads((tmp_path / "told.json").read_text())
    assert found["written"] > 300e6
    assert found["added"] < 200e6
