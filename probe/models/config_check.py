"""config.json, checked against the weights' own header before anything is allocated.

Anybody can edit a config, and the stock class allocates whatever it says: 200,000 layers, or a stream a billion wide,
fill all memory before a single weight is compared. The header of the weights' file is exact and is read in
milliseconds. Every size that it shows (layers, width, heads, the MLP, learned positions) must equal the config's:

    checkpoint my-model/config.json: expected what the header of its weights says: num_hidden_layers 24; found 200000

The vocabulary size comes from the embedding, so that field is not checked. A size missing in the config is the stock
class's default, and is checked in the same way. A GGUF has its config inside, as metadata.

No header shows the numbers of norms and rotary positions, and self-tests pass with a wrong one: the model is worse, and
still itself. So these must at least be ones that a model can be trained with: an epsilon of 1e9 makes every norm 0, and
a rotary factor of -1 turns positions round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from probe.errors import CheckpointError
from probe.models.formats import Format
from probe.models.layout import INSTALLED, Layout
from probe.outside_files import cut

Shapes = Mapping[str, tuple[int, ...]]
MOST_POSITIONS = 1 << 31
_REMEDY = "Take the config.json that was published with these weights."


def refuse_contradictions(file: Path, config: Mapping[str, Any], shapes: Shapes, published: Format) -> None:
    """Refuse a config whose sizes differ from those of its weights."""
    fields = published.stock_fields(config)
    _refuse_out_of_range(file, fields)
    layout = INSTALLED[fields["model_type"]]
    stock = {published.stock_key(key): shape for key, shape in shapes.items()}
    told = _Said(layout.model_type, fields)
    wrong = [*_odd(told), *_contradictions(told, _Held(layout, stock, file))]
    if wrong:
        raise CheckpointError(
            f"checkpoint {file}",
            expected="what the header of its weights says: " + ", ".join(expected for expected, _ in wrong),
            found=", ".join(found for _, found in wrong),
            remedy=_REMEDY,
        )


# Numbers by their name: the least, the most, and whether the name means this inside rotary settings alone.
_RANGES = (
    (re.compile(r"(^|_)eps(ilon)?$"), 1e-20, 1.0, False),
    (re.compile(r"^(rope_theta|rotary_emb_base|rope_local_base_freq|rope_base)$"), 1.0, 1e30, False),
    (re.compile(r"^(partial_rotary_factor|rotary_pct)$"), 1e-9, 1.0, False),
    (re.compile(r"^(factor|low_freq_factor|high_freq_factor)$"), 1.0, 1e6, True),
)
_ROTARY = ("rope_parameters", "rope_scaling")


def _refuse_out_of_range(file: Path, fields: Mapping[str, Any]) -> None:
    """Refuse numbers that no model is trained with."""
    wrong = list(_out_of_range(fields, rotary=False))
    if wrong:
        raise CheckpointError(
            f"checkpoint {file}",
            expected=", ".join(f"{name} from {least:g} to {most:g}" for name, _, least, most in wrong),
            found=", ".join(f"{name} {cut(repr(value), 60)}" for name, value, _, _ in wrong),
            remedy=_REMEDY,
        )


def _out_of_range(fields: Mapping[str, Any], *, rotary: bool) -> Iterator[tuple[str, Any, float, float]]:
    for name, value in fields.items():
        inside = value if isinstance(value, Mapping) and (rotary or name in _ROTARY) else {}
        yield from _out_of_range(inside, rotary=True)
        for pattern, least, most, only_rotary in _RANGES:
            if not isinstance(value, int | float) or (only_rotary and not rotary) or not pattern.search(name):
                continue
            if isinstance(value, bool) or not least <= value <= most:
                yield name, value, least, most


# The names of sizes in the stock classes.
_NAMES = {
    "num_hidden_layers": ("num_hidden_layers", "n_layer"),
    "hidden_size": ("hidden_size", "n_embd"),
    "num_attention_heads": ("num_attention_heads", "n_head"),
    "num_key_value_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "intermediate_size": ("intermediate_size", "n_inner"),
    "max_position_embeddings": ("max_position_embeddings", "n_positions"),
}
# Sizes that these classes derive from others if they are missing.
_DERIVED = {
    "gpt2": ("num_key_value_heads", "head_dim", "intermediate_size"),
    "llama": ("num_key_value_heads", "head_dim"),
    "qwen2": ("head_dim",),
}


class _Said:
    """A config's sizes; missing ones are the stock class's defaults."""

    def __init__(self, model_type: str, fields: Mapping[str, Any]):
        self.model_type, self.fields = model_type, fields

    def name(self, size: str) -> str:
        """The config's name for a size."""
        return next((name for name in _NAMES[size] if name in self.fields), size)

    def __getitem__(self, size: str) -> Any:
        given = {name: self.fields[name] for name in _NAMES[size] if name in self.fields}
        if len(set(map(repr, given.values()))) > 1:
            return " and ".join(f"{name} {value}" for name, value in given.items())
        if given or size in _DERIVED.get(self.model_type, ()):
            return next(iter(given.values()), None)
        from transformers import CONFIG_MAPPING  # takes a second, so only for configs with missing sizes

        kind = CONFIG_MAPPING[self.model_type]
        return next((getattr(kind, name) for name in _NAMES[size] if hasattr(kind, name)), None)


class _Held:
    """The sizes in the header of some weights; None where it shows none."""

    def __init__(self, layout: Layout, shapes: Shapes, file: Path):
        self.layout, self.shapes = layout, shapes
        stem = layout.layers.rpartition(".")[2]
        numbered = re.compile(rf"(?:^|\.){re.escape(stem)}\.(\d{{1,9}})\.(.+)")
        found = [match for match in map(numbered.search, shapes) if match]
        self.layers = len({int(match[1]) for match in found})
        self.first = {match[2]: shapes[match.string] for match in found if match[1] == found[0][1]}
        if not found:
            raise CheckpointError(
                f"checkpoint {file}",
                expected=f"the keys of {layout.model_type}, such as {layout.layers}.0.{layout.query}.weight",
                found="unknown keys: " + (cut(", ".join(sorted(shapes)[:4])) or "none"),
                remedy=_REMEDY,
            )

    def part(self, name: str) -> tuple[int, int] | None:
        """(out, in) of a projection of a layer."""
        path = getattr(self.layout, name)
        shape = self.first.get(f"{path}.weight") if path else None
        if shape is None or len(shape) != 2:
            return None
        return (shape[1], shape[0]) if self.transposed else (shape[0], shape[1])

    @property
    def transposed(self) -> bool:
        """GPT-2 writes its projections as (in, out)."""
        query = self.first.get(f"{self.layout.query}.weight")
        return self.layout.fused and query is not None and len(query) == 2 and query[1] == 3 * query[0]

    def rows(self, name: str) -> tuple[int, ...] | None:
        """The shape of a table outside the layers: the embedding, or learned positions."""
        path = getattr(self.layout, name)
        key = path and path.rpartition(".")[2] + ".weight"
        return next((shape for one, shape in self.shapes.items() if key and one.endswith(key)), None)


def _odd(said: _Said) -> Iterator[tuple[str, str]]:
    """Sizes that are not whole numbers, as (expected, found)."""
    for size in ("num_hidden_layers", "hidden_size", "num_attention_heads"):
        if not _whole(said[size]):
            yield f"{said.name(size)}, a whole number", f"{said.name(size)} {cut(repr(said[size]), 60)}"
    for size in ("num_key_value_heads", "head_dim", "intermediate_size", "max_position_embeddings"):
        if said[size] is not None and not _whole(said[size]):
            yield f"{said.name(size)}, a whole number", f"{said.name(size)} {cut(repr(said[size]), 60)}"


def _contradictions(said: _Said, held: _Held) -> Iterator[tuple[str, str]]:
    """Sizes of the config that differ from the weights', as (expected, found)."""
    embedding, positions = held.rows("embed"), held.rows("place_embed")
    up, query, key = held.part("mlp_up"), held.part("query"), held.part("key")
    exact = {
        "num_hidden_layers": held.layers,
        "hidden_size": embedding[1] if embedding and len(embedding) == 2 else None,
        "max_position_embeddings": positions[0] if positions else None,
        "intermediate_size": up[0] // (2 if held.layout.mlp_gate == held.layout.mlp_up else 1) if up else None,
    }
    for size, there in exact.items():
        told = said[size]
        if there is not None and _whole(told) and told != there:
            yield f"{said.name(size)} {there:,}", f"{said.name(size)} {told:,}"
    heads, kv_heads = said["num_attention_heads"], said["num_key_value_heads"]
    if not _whole(heads) or query is None:
        return
    shared = kv_heads if _whole(kv_heads) else heads
    in_all = heads + 2 * shared if held.layout.fused else heads
    each = said["head_dim"] if _whole(said["head_dim"]) else query[0] // in_all
    if in_all * each != query[0]:
        yield (
            f"{'queries, keys and values' if held.layout.fused else 'heads'} whose widths add up to {query[0]:,}",
            f"{said.name('num_attention_heads')} {heads:,} of width {each:,}"
            + (f" and num_key_value_heads {shared:,}" if held.layout.fused and shared != heads else ""),
        )
    if key is not None and not held.layout.fused and _whole(kv_heads) and kv_heads * each != key[0]:
        yield f"heads of keys whose widths add up to {key[0]:,}", f"num_key_value_heads {kv_heads:,} of width {each:,}"


def _whole(value: Any) -> bool:
    return type(value) is int and 0 < value <= MOST_POSITIONS
