"""Loading: from a place to a model that is what it is declared to be.

`where` becomes a folder, the folder a checkpoint whose files are whole, the checkpoint stock weights in a stock class
with every key landed, and what the catalog declares of it a paradigm. Then the self-tests hold the one against the
other, and a model that does not behave as declared is not handed over. Weights are memory-mapped by transformers: a big
checkpoint costs its size once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from probe.errors import CheckpointError, ProbeError, nearest
from probe.models.catalog import OWN_ENTRY, Entry, entries, entry_for, validated
from probe.models.checkpoint import Checkpoint, open_checkpoint, read_json
from probe.models.formats import Format, format_of
from probe.models.layout import layout_of, stock_class
from probe.models.model import Model
from probe.models.selftests import SelfTests, refuse_failures, run_selftests
from probe.models.tokenizers import load_tokenizer
from probe.paradigms import Paradigm, named
from probe.zoo import shipped, zoo_folder

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def load(
    where: str | Path,
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

    `paradigm`, `mask_id`, `shift` and `attention` override what the catalog declares, or stand in for a row. `dtype`
    None is float32, whatever the checkpoint holds ("auto" keeps it as stored). `device_map="auto"` spreads a big model
    over several GPUs and the CPU. `selftest` is "auto" (what is cheap for the model's size), "full" or "off".
    """
    folder = resolve(str(where), catalog)
    checkpoint = open_checkpoint(folder)
    published = format_of(checkpoint.config, list(checkpoint.shapes)) if checkpoint.gguf is None else None
    entry = _declared(str(where), checkpoint, catalog, explicit=paradigm is not None)
    backbone = _backbone(checkpoint, published, _device(device), _dtype(dtype), device_map)
    words = _tokenizer(tokenizer, checkpoint, backbone.config.model_type)
    manner = _paradigm(entry, checkpoint, paradigm, mask_id=mask_id, shift=shift, attention=attention)
    model = Model(backbone, manner, words, name=str(where), entry=entry, published=checkpoint.config)
    return _tested(model, selftest)


def resolve(where: str, catalog: str | Path | None = None) -> Path:
    """The folder (or GGUF file) that `where` means."""
    if where.startswith("zoo:"):
        return zoo_folder(where.removeprefix("zoo:"))
    path = Path(where).expanduser()
    if path.is_dir() or (path.suffix == ".gguf" and path.is_file()):
        return path
    known = [row.name for row in entries(catalog)]
    if where in known or (where.count("/") == 1 and not where.startswith((".", "/", "~"))):
        return _from_hub(where, known)
    raise CheckpointError(
        f"model {where!r}",
        expected="zoo:NAME, a folder, or a name in the catalog",
        found="no such folder or name",
        remedy=nearest(where, [*known, *(f"zoo:{name}" for name in shipped())]),
    )


def _from_hub(name: str, known: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.safetensors", "*.json", "*.txt", "tokenizer.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as problem:  # offline, not found, gated: the hub's errors share no base class
        raise CheckpointError(
            f"model {name!r}",
            expected="a checkpoint in the local cache or on the Hub",
            found=f"neither ({type(problem).__name__})",
            remedy="Download it where there is a network and pass its folder. " + nearest(name, known),
        ) from None


def _declared(where: str, checkpoint: Checkpoint, catalog: str | Path | None, *, explicit: bool) -> Entry | None:
    own = checkpoint.folder / OWN_ENTRY
    if own.is_file():
        return validated(read_json(own), str(own))
    model_type = None if explicit else checkpoint.config.get("model_type")
    return entry_for(where, model_type, entries(catalog))


def _device(device: str | torch.device) -> torch.device:
    if device != "auto":
        try:
            return torch.device(device)
        except RuntimeError:
            raise ProbeError(
                f"device {device!r}",
                expected="auto, cpu, cuda or cuda:N",
                found=repr(device),
                remedy="Name one of these.",
            ) from None
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | str:
    if dtype is None:
        return torch.float32
    if dtype == "auto" or isinstance(dtype, torch.dtype):
        return dtype
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        known = ("auto", "float32", "bfloat16", "float16", "float64")
        raise ProbeError(
            f"dtype {dtype!r}", expected="one of " + ", ".join(known), found=repr(dtype), remedy=nearest(dtype, known)
        )
    return found


def _backbone(
    checkpoint: Checkpoint,
    published: Format | None,
    device: torch.device,
    dtype: torch.dtype | str,
    device_map: str | dict | None,
) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    place: dict[str, Any] = {"dtype": dtype, "device_map": device if device_map is None else device_map}
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its report of missing keys is a warning; here they are an error
    try:
        if published is None:
            assert checkpoint.gguf is not None
            backbone = AutoModelForCausalLM.from_pretrained(
                checkpoint.folder, gguf_file=checkpoint.gguf.name, trust_remote_code=False, **place
            )
            # transformers refuses to save a model that says it is quantised, which a dequantised one no longer is.
            vars(backbone.config).pop("quantization_config", None)
            layout_of(backbone.config)
            return backbone
        config = stock_config(checkpoint, published)
        backbone, landed = stock_class(layout_of(config)).from_pretrained(  # type: ignore[misc]  # returns two things
            checkpoint.folder,
            config=config,
            key_mapping=dict(published.keys),
            use_safetensors=True,
            local_files_only=True,
            # The folder's own may carry settings of a remote class; nothing here generates through transformers.
            generation_config=GenerationConfig(),
            ignore_mismatched_sizes=True,  # reported below, by name, instead of a traceback
            output_loading_info=True,
            **place,
        )
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
    _refuse_unlanded(checkpoint, landed)
    return backbone


def stock_config(checkpoint: Checkpoint, published: Format) -> PretrainedConfig:
    """The stock configuration of a published checkpoint, its vocabulary counted from the embedding itself."""
    from transformers import CONFIG_MAPPING

    fields = published.stock_fields(checkpoint.config)
    config = CONFIG_MAPPING[fields.pop("model_type")](**fields)
    layout = layout_of(config)
    rows = [
        shape[0]
        for key, shape in checkpoint.shapes.items()
        if published.stock_key(key).endswith(layout.embed.rpartition(".")[2] + ".weight")
    ]
    if rows:
        config.vocab_size = rows[0]
    return config


def _refuse_unlanded(checkpoint: Checkpoint, landed: dict[str, Any]) -> None:
    faults = {
        "parameters left unset": sorted(landed["missing_keys"]),
        "keys that land nowhere": sorted(landed["unexpected_keys"]),
        "shapes that differ": sorted(f"{key} {tuple(a)} ≠ {tuple(b)}" for key, a, b in landed["mismatched_keys"]),
    }
    told = "; ".join(f"{what}: {_some(names)}" for what, names in faults.items() if names)
    if told:
        raise CheckpointError(
            f"checkpoint {checkpoint.folder}",
            expected="every key to land in the stock class and every parameter to be set",
            found=told,
            remedy="Is config.json this checkpoint's own? A family with other key names needs a Format "
            "in probe/models/formats.py.",
        )


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _tokenizer(asked: str | Path | bool, checkpoint: Checkpoint, architecture: str) -> PreTrainedTokenizerBase | None:
    if asked is False:
        return None
    if asked is True:
        return load_tokenizer(checkpoint.folder, architecture, checkpoint.gguf)
    return load_tokenizer(Path(asked), architecture)


def _paradigm(
    entry: Entry | None,
    checkpoint: Checkpoint,
    asked: str | Paradigm | None,
    *,
    mask_id: int | None,
    shift: bool | None,
    attention: str | None,
) -> Paradigm:
    """What is declared, with what the caller says on top."""
    if isinstance(asked, Paradigm):
        manner = asked
    else:
        own_mask = _declared_mask(entry, checkpoint) if mask_id is None else mask_id
        if asked is None:
            manner = entry.to_paradigm(own_mask) if entry else named("autoregressive")(mask_id=own_mask)
        elif entry is not None and entry.paradigm == named(asked).name:
            manner = entry.to_paradigm(own_mask)
        else:  # another way of writing than the declared one brings its own attention and shift
            manner = named(asked)(mask_id=own_mask)
    said = {"mask_id": mask_id, "shift": shift, "attention": attention}
    return replace(manner, **{name: value for name, value in said.items() if value is not None})


def _declared_mask(entry: Entry | None, checkpoint: Checkpoint) -> int | None:
    in_config = checkpoint.config.get("mask_token_id")
    if entry is None:
        return in_config
    if entry.mask_id == "config" and in_config is None:
        raise CheckpointError(
            f"model {entry.name!r}",
            expected="mask_token_id in its config.json, where this family keeps it",
            found="none",
            remedy="Pass mask_id=, as its publisher states it.",
        )
    if isinstance(entry.mask_id, int) and in_config not in (None, entry.mask_id):
        raise CheckpointError(
            f"model {entry.name!r}",
            expected=f"mask token {entry.mask_id}, as the catalog declares",
            found=f"{in_config} in its config.json",
            remedy="Say which is right with mask_id=.",
        )
    return in_config if entry.mask_id == "config" else entry.mask_id


def _tested(model: Model, depth: str) -> Model:
    depths = ("auto", "full", "off")
    if depth not in depths:
        raise ProbeError(
            f"selftest {depth!r}",
            expected="one of " + ", ".join(depths),
            found=repr(depth),
            remedy=nearest(depth, depths),
        )
    if depth == "off":
        model.selftests = SelfTests(())
        return model
    model.selftests = run_selftests(model, full=depth == "full")
    refuse_failures(model, model.selftests)
    return model
