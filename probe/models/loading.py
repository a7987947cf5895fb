"""Loading: from a place to a model that behaves as declared.

`where` becomes a folder, the folder a checkpoint with complete files, the checkpoint a stock class with all of its
weights, and its declaration a paradigm. Then the self-tests compare the two, and refuse a model that does not behave as
declared. Weights are memory-mapped by transformers: a big checkpoint costs its size once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from probe.collector import paused
from probe.errors import ProbeError, nearest
from probe.models.adapters import apply_adapters, note_stray
from probe.models.backbone import load_backbone, usable_device, usable_dtype
from probe.models.model import Model
from probe.models.selftests import CHEAP, SelfTests, computes, refuse_failures, run_selftests, unchecked
from probe.models.selftests.remembered import remembered
from probe.models.source import Declared, Source
from probe.models.threads import fitting_threads
from probe.paradigms import Paradigm
from probe.paradigms.attachments import attached, load_attachments

if TYPE_CHECKING:
    import torch

DEPTHS = ("auto", "full", "off")


def load(
    where: str | Path | Source,
    *,
    paradigm: str | Paradigm | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype | None = None,
    mask_id: int | None = None,
    shift: bool | None = None,
    attention: str | None = None,
    tokenizer: str | Path | bool = True,
    catalog: str | Path | None = None,
    device_map: str | dict | None = None,
    selftest: str = "auto",
) -> Model:
    """A model from `zoo:NAME`, a folder (or GGUF file), or a name in the catalog or on the Hub.

    `paradigm`, `mask_id`, `shift` and `attention` override the catalog's declaration, or replace a missing one. `dtype`
    None is float32, whatever the checkpoint's ("auto" keeps it as stored). `device_map="auto"` spreads a big model over
    several GPUs and the CPU. `selftest` is "auto" (the cheap ones for the model's size), "full" or "off". A `Source` is
    not looked up again; it has its own overrides of the catalog.

    >>> model = probe.load("zoo:masked")
    >>> model.n_layers, model.n_heads, model.mask_id, model.shift
    (6, 4, 2, True)
    """
    # What is cheap to refuse is refused before the weights are read.
    onto, kind = usable_device(device), usable_dtype(dtype)
    _refuse_unknown_depth(selftest)
    source = _source(where, catalog, Declared(paradigm, mask_id, shift, attention))
    with paused():  # the first load imports transformers
        how, words = source.paradigm, source.tokenizer(tokenizer)
        backbone = load_backbone(source.checkpoint, source.format, onto, kind, device_map)
    if source.checkpoint.adapters is not None and source.entry is not None and source.entry.adapters is not None:
        apply_adapters(backbone, source.checkpoint.adapters, source.entry.adapters, how.mask_id)
    model = Model(backbone, how, words, name=source.where, entry=source.entry, published=source.checkpoint.config)
    model.notes = note_stray(source.checkpoint.folder, source.where)
    load_attachments(model, source.folder)
    if source.entry is not None and source.entry.paradigm == how.name:
        for needed in how.needs:
            attached(model, needed)
    model.selftests = _tests(model, source, selftest, known=tokenizer in (True, False) and device_map is None)
    refuse_failures(model, model.selftests)
    if computes(model, full=selftest == "full"):
        model.notes = (*model.notes, *unchecked(model, model.selftests))
    return model


def _source(where: str | Path | Source, catalog: str | Path | None, declared: Declared) -> Source:
    if not isinstance(where, Source):
        return Source(str(where), catalog, declared)
    if catalog is not None or declared != Declared():
        raise ProbeError(
            f"loading the source {where.where!r}",
            expected="overrides of its catalog row inside the Source",
            found="further ones beside the Source",
            remedy="Pass it to Source(where, catalog, Declared(…)), or load the place itself.",
        )
    return where


def _refuse_unknown_depth(selftest: str) -> None:
    if selftest not in DEPTHS:
        raise ProbeError(
            f"selftest {selftest!r}",
            expected="one of " + ", ".join(DEPTHS),
            found=repr(selftest),
            remedy=nearest(str(selftest), DEPTHS),
        )


def _tests(model: Model, source: Source, depth: str, *, known: bool) -> SelfTests:
    """The self-tests' findings; cached if all of them run and everything that they depend on is `known`."""
    if depth == "off":
        return SelfTests(())
    full = depth == "full"
    if not known or not computes(model, full=full) or model.n_parameters > CHEAP:
        return run_selftests(model, full=full)
    with fitting_threads(model, slots=1):
        return remembered(model, source, lambda: run_selftests(model, full=full))
