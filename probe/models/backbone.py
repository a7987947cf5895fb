"""From a checkpoint to a stock backbone with all of its weights.

For an unknown key or a missing parameter transformers only warns, and leaves random numbers. Here both are errors, and
so is a configuration that the stock class does not accept. The folder provides weights, never code: classes come from
the layout, files from the earlier inspection.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields as dataclass_fields
from typing import TYPE_CHECKING, Any, get_args

import torch

from probe.errors import CheckpointError, ProbeError, nearest
from probe.models.checkpoint import Checkpoint
from probe.models.formats import Format
from probe.models.layout import INSTALLED, layout_of, stock_class
from probe.models.settings import refuse_not_understood

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def load_backbone(
    checkpoint: Checkpoint,
    published: Format | None,
    device: torch.device,
    dtype: torch.dtype | str,
    device_map: str | dict | None = None,
) -> PreTrainedModel:
    """The weights in their stock class. `published` is None for a GGUF, which declares its architecture itself."""
    # transformers applies LoRA adapters found in a folder of weights; here it searches a place that cannot exist.
    place: dict[str, Any] = {
        "adapter_kwargs": {"subfolder": "\0"},
        "dtype": dtype,
        "device_map": device if device_map is None else device_map,
    }
    with no_messages(), _explained(checkpoint):
        if published is None:
            backbone, landed = _from_gguf(checkpoint, place)
        else:
            backbone, landed = _from_safetensors(checkpoint, published, place)
    _refuse_unlanded(checkpoint, landed, layout_of(backbone.config).obsolete)
    return backbone


def _from_safetensors(checkpoint: Checkpoint, published: Format, place: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from transformers import GenerationConfig

    config = stock_config(checkpoint, published)
    if published.splits:
        files: dict[str, Any] = {"state_dict": _split_state(checkpoint, published, config)}
    else:
        files = {"key_mapping": dict(published.keys), "use_safetensors": True}
    return stock_class(layout_of(config)).from_pretrained(  # type: ignore[return-value]  # loading info makes it two
        None if published.splits else checkpoint.folder,
        config=config,
        **files,
        local_files_only=True,
        # The folder's own may have settings of a remote class; nothing here generates with transformers.
        generation_config=GenerationConfig(),
        ignore_mismatched_sizes=True,  # reported by name below, instead of a traceback
        output_loading_info=True,
        **place,
    )


def _split_state(checkpoint: Checkpoint, published: Format, config: PretrainedConfig) -> dict[str, torch.Tensor]:
    """The tensors by stock key, joint projections split; memory-mapped, as in transformers."""
    from safetensors.torch import load_file

    each = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    widths = [each * heads for heads in (config.num_attention_heads, *(config.num_key_value_heads,) * 2)]
    state = {}
    for file in checkpoint.files:
        for key, tensor in load_file(file).items():
            stock = published.stock_key(key)
            joint = next((joint for joint in published.splits if joint in stock), None)
            if joint is None:
                state[stock] = tensor
                continue
            parts = [stock.replace(joint, part) for part in published.splits[joint]]
            state.update(zip(parts, tensor.split(widths), strict=True))
    return state


def _from_gguf(checkpoint: Checkpoint, place: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from transformers import AutoModelForCausalLM

    assert checkpoint.gguf is not None
    backbone, landed = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]  # loading info makes it two
        checkpoint.folder,
        gguf_file=checkpoint.gguf.name,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
        **place,
    )
    # transformers refuses to save a model marked as quantised, which a dequantised one no longer is.
    vars(backbone.config).pop("quantization_config", None)
    vars(backbone).pop("hf_quantizer", None)
    layout_of(backbone.config)
    return backbone, landed


def stock_config(checkpoint: Checkpoint, published: Format) -> PretrainedConfig:
    """The stock configuration of a published checkpoint, with the vocabulary size of the embedding."""
    from transformers import CONFIG_MAPPING

    fields = published.stock_fields(checkpoint.config)
    stock = CONFIG_MAPPING[fields.pop("model_type")]
    refuse_not_understood(fields, stock, INSTALLED[stock.model_type])
    config = stock(**{**_nothing_said(checkpoint.config, stock), **fields})
    embedding = layout_of(config).embed.rpartition(".")[2] + ".weight"
    rows = [shape[0] for key, shape in checkpoint.shapes.items() if published.stock_key(key).endswith(embedding)]
    if rows:
        config.vocab_size = rows[0]
    return config


def _nothing_said(published: Mapping[str, Any], stock: type[PretrainedConfig]) -> dict[str, None]:
    """Fields that may be null: a Mistral whose sliding_window is null has none, whatever the class's default."""
    may_be = {field.name for field in dataclass_fields(stock) if type(None) in get_args(field.type)}
    return {name: None for name, value in published.items() if value is None and name in may_be}


@contextmanager
def no_messages() -> Iterator[None]:
    """No progress bar of transformers, and none of its warnings: a missing key, for example, is an error here."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


# What a wrong setting or a broken header raises inside transformers; running out of memory is not among them.
_FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError, struct.error)


@contextmanager
def _explained(checkpoint: Checkpoint) -> Iterator[None]:
    """An error that names the checkpoint, for settings or a GGUF that transformers cannot read."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except ProbeError:
        raise
    except (*_FAULTS, StrictDataclassError) as fault:
        file = checkpoint.gguf or checkpoint.folder / "config.json"
        raise CheckpointError(
            f"checkpoint {file}",
            expected="a whole GGUF of a known architecture" if checkpoint.gguf else "settings the stock class takes",
            found=f"{type(fault).__name__}: {' '.join(str(fault).split())}",
            remedy="Mend the file, or download it again.",
        ) from fault


def _refuse_unlanded(checkpoint: Checkpoint, landed: dict[str, Any], obsolete: str) -> None:
    faults = {
        "parameters left unset": sorted(landed["missing_keys"]),
        "unknown keys": sorted(key for key in landed["unexpected_keys"] if not re.search(obsolete, key)),
        "shapes that differ": sorted(f"{key} {tuple(a)} ≠ {tuple(b)}" for key, a, b in landed["mismatched_keys"]),
    }
    told = "; ".join(f"{what}: {_some(names)}" for what, names in faults.items() if names)
    if told:
        raise CheckpointError(
            f"checkpoint {checkpoint.folder}",
            expected="keys that match the stock class's parameters one to one",
            found=told,
            remedy="Is config.json this checkpoint's own? A family with other key names needs a Format "
            "in probe/models/formats.py.",
        )


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def usable_device(device: str | torch.device) -> torch.device:
    """The device of a name; refused if this machine does not have it. "auto" is a GPU if there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found).item()  # a device that computes nothing (meta) is refused as well
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as problem:
        raise ProbeError(
            f"device {device!r}",
            expected="auto, cpu, or a device of this machine such as cuda or cuda:1",
            found=str(problem).splitlines()[0],
            remedy="Choose 'auto' to use what is available.",
        ) from None
    return found


def usable_dtype(dtype: str | torch.dtype | None) -> torch.dtype | str:
    """The float type of a name; None is float32, and "auto" that of the checkpoint."""
    if dtype is None:
        return torch.float32
    if dtype == "auto":
        return dtype
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if isinstance(found, torch.dtype) and found.is_floating_point:
        return found
    known = ("auto", "float32", "bfloat16", "float16", "float64")
    raise ProbeError(
        f"dtype {dtype!r}", expected="one of " + ", ".join(known), found=repr(dtype), remedy=nearest(str(dtype), known)
    )
