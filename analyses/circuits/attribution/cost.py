"""Cost: the memory and time of an attribution, estimated beforehand and without the weights.

    cost(config, n=256, length=32)      # for a transformers configuration: memory and time on this device
    Llama 7B shape, 256 prompts × 32 tokens, m = 5: 31.2 GB (14.5 GB of it weights), 48 rows at a time, 2 min 10 s

Memory is counted: what autograd saves of a pass, what the attribution keeps (node outputs and input gradients), and the
weights. Time is measured. A model of the same shape with one layer, and one with two, both with made-up weights and a
small vocabulary, are attributed, on as many tokens as take about a second. Their difference is the time of a layer on
this device, with everything that a count of FLOPs leaves out. Only the product of node outputs and input gradients
grows with the square of the layers; its FLOPs are counted, and its speed is timed by itself.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from analyses.circuits.attribution.batching import free_memory, rows_that_fit
from analyses.circuits.attribution.edge_scoring import TILE, WIDE
from analyses.circuits.attribution.input_gradients import HELD
from analyses.circuits.graph import Graph

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from analyses.circuits.attribution.gradients import Attribution
    from probe.models.model import Model

_DEPTHS = (1, 2)  # layers of the models that are timed
SECONDS = 1.0  # of work a layer that is timed
_SHORTEST = 16  # tokens of a text that is timed
_WORDS = 512  # their vocabulary
_FLOAT = 4  # bytes of what the attribution keeps
PATTERNS = 3  # of a layer, at a time, where they are made again for their gradient


@dataclass(frozen=True)
class Asked:
    """What of an attribution's options takes memory."""

    directions: bool = False
    neurons: bool = False
    by_row: bool = False  # scores of each row
    roles: int = 1  # blocks of targets


PLAIN = Asked()


@dataclass(frozen=True)
class Shape:
    """The numbers that determine the cost of a pass."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_mlp: int  # at work for a token, a mean over layers; of experts, those that a token is sent to
    d_mlp_held: int  # in memory: of all experts
    vocabulary: int
    gated: bool
    itemsize: int
    directions: bool = False  # keys and values twice

    @classmethod
    def of(cls, model: Model) -> Shape:
        return cls.of_config(model.config, model.dtype)

    @classmethod
    def of_config(cls, config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> Shape:
        from probe.models.experts import mlp_widths
        from probe.models.layout import layout_of

        heads, layout = config.num_attention_heads, layout_of(config)
        width, held = map(round, mlp_widths(config))
        return cls(
            n_layers=config.num_hidden_layers,
            n_heads=heads,
            n_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            d_head=getattr(config, "head_dim", None) or config.hidden_size // heads,
            d_model=config.hidden_size,
            d_mlp=width,
            d_mlp_held=held,
            vocabulary=config.vocab_size,
            gated=layout.mlp_gate is not None or layout.experts is not None,
            itemsize=dtype.itemsize,
        )

    @property
    def graph(self) -> Graph:
        return Graph(self.n_layers, self.n_heads, self.n_kv_heads, directions=self.directions)

    @property
    def read_heads(self) -> int:
        """Heads that read: queries, keys and values, the latter two twice where they are split by direction."""
        return self.n_heads + (4 if self.directions else 2) * self.n_kv_heads

    @property
    def projections(self) -> int:
        """How wide queries, keys and values are together."""
        return self.read_heads * self.d_head

    @property
    def saved(self) -> int:
        """Bytes that autograd saves per layer and position, with frozen parameters."""
        heads = self.n_heads * self.d_head
        # Queries, keys and values (repeated for every head), and their mix; or what the mix is made of again.
        attention = 2 * heads + self.projections if self.directions else 4 * heads
        mlp = (3 if self.gated else 4) * self.d_mlp
        norms = 2 * self.d_model * (self.itemsize + (_FLOAT if self.itemsize < _FLOAT else 0))
        return (attention + mlp) * self.itemsize + norms

    @property
    def kept(self) -> int:
        """Bytes that the attribution keeps per layer and position."""
        narrow = self.n_heads * self.d_head + 2 * self.d_model + self.projections
        held = HELD * (self.d_model * self.itemsize + self.read_heads * _FLOAT)
        return narrow * _FLOAT + self.projections * self.itemsize + held

    @property
    def weights(self) -> int:
        """Bytes of the weights, an untied unembedding counted."""
        return self.itemsize * (self.n_layers * self._layer(self.d_mlp_held) + 2 * self.vocabulary * self.d_model)

    @property
    def at_work(self) -> int:
        """A layer's parameters that work for a token: of experts, those that it is sent to."""
        return self._layer(self.d_mlp)

    def _layer(self, d_mlp: int) -> int:
        heads = self.n_heads * self.d_head
        own = (self.n_heads + 2 * self.n_kv_heads) * self.d_head
        return self.d_model * (own + heads + (3 if self.gated else 2) * d_mlp)

    def row(self, slots: int, asked: Asked = PLAIN) -> int:
        """Bytes that one row of an attribution takes, beside what all rows share."""
        shape = replace(self, directions=asked.directions)
        answer = 6 * self.vocabulary * _FLOAT
        passing = slots * self.n_layers * shape.saved + answer + 8 * slots**2 + shape.patterns(slots)
        return slots * shape.standing(asked) + passing + (shape.scores * asked.roles if asked.by_row else 0)

    def standing(self, asked: Asked) -> int:
        """Bytes of a position that are there from the first pass to the last."""
        neurons = self.d_mlp * _FLOAT if asked.neurons else 0
        return self.n_layers * (self.kept + neurons) + 6 * self.d_model * _FLOAT

    def patterns(self, slots: int) -> int:
        """Bytes of a layer's patterns while their gradient is made, where they are made openly: with directions."""
        return PATTERNS * self.n_heads * slots**2 * _FLOAT if self.directions else 0

    @property
    def scores(self) -> int:
        """Bytes of the scores of all edges, once; where each row has its own, it has them twice for a while."""
        return 2 * _FLOAT * math.prod(self.graph.shape)

    def together(self, rows: int, slots: int, device: str, asked: Asked = PLAIN) -> int:
        """Bytes that an attribution takes, the weights apart: its rows, or what they keep and a tile of products."""
        shape = replace(self, directions=asked.directions)
        tile = shape.tile(slots if asked.by_row else rows * slots, device)
        scores = shape.scores * asked.roles
        products = rows * slots * shape.standing(asked) + tile + scores * (rows if asked.by_row else 1)
        return max(rows * self.row(slots, asked) + (0 if asked.by_row else scores), products)

    def tile(self, tokens: int, device: str) -> int:
        """Bytes of some tokens' writes and reads at the width of the stream, while they are multiplied out."""
        sources, columns, points = len(self.graph.sources), self.graph.qkv_per_layer + 1, HELD * self.n_layers
        at_once = min(self.n_layers, -(-WIDE // columns))
        streams = points * (self.d_model * (1 if self.itemsize == _FLOAT else 2) + sources)
        most = TILE.get(device, TILE["cpu"]) // (_FLOAT * self.d_model * (sources + WIDE + columns - 1))
        beside = max(at_once * columns * self.d_model, streams)
        return _FLOAT * min(tokens, max(1, most)) * (sources * self.d_model + beside)

    def patched_row(self, slots: int) -> int:
        """Bytes that one row of a circuit run alone takes."""
        streams = len(self.graph.sources) + 3 * self.graph.qkv_per_layer + 12
        return slots * streams * self.d_model * _FLOAT + 6 * self.vocabulary * _FLOAT + 8 * slots**2

    def pair_flops(self, tokens: int) -> int:
        """FLOPs of outputs times gradients, over all layers."""
        return 2 * tokens * self.d_model * self.graph.n_edges


def bytes_a_row(model: Model, slots: int, asked: Asked = PLAIN) -> int:
    return Shape.of(model).row(slots, asked)


def bytes_a_patched_row(model: Model, slots: int) -> int:
    return Shape.of(model).patched_row(slots)


@dataclass(frozen=True)
class Cost:
    """Bytes and seconds of one attribution."""

    shape: Shape
    rows: int
    at_once: int
    length: int
    steps: int
    memory: int
    seconds: float
    free: int
    device: str

    @property
    def fits(self) -> bool:
        return self.memory <= self.free

    def __str__(self) -> str:
        from probe.tracing.cost import readable

        shape = f"{self.shape.n_layers} layers, d {self.shape.d_model}"
        weights, whole = readable(self.shape.weights), readable(self.memory)
        fits = "fits" if self.fits else "does not fit"
        return (
            f"{shape}, {self.rows} rows × {self.length} tokens, m = {self.steps}, on {self.device}: {whole} "
            f"({weights} of it weights; {fits} in {readable(self.free)}), {self.at_once} rows at a time, "
            f"{_readable_time(self.seconds)}"
        )


def cost(
    config: PretrainedConfig,
    *,
    n: int,
    length: int,
    steps: int = 5,
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    at_once: int | None = None,
) -> Cost:
    """The cost of EAP-IG for a model of this configuration: `n` rows of `length` tokens. A pair costs twice as much."""
    from probe.models.backbone import usable_device

    place = usable_device(device)
    shape = Shape.of_config(config, dtype)
    free = free_memory(place)
    beside = max(0, free - shape.weights)
    at_once = min(n, at_once or rows_that_fit(place, shape.row(length), free=beside))
    seconds = _seconds(config, shape, n, length, steps, place, dtype, at_once)
    memory = shape.weights + shape.together(at_once, length, place.type)
    return Cost(shape, n, at_once, length, steps, memory, seconds, free, str(place))


def _seconds(
    config: PretrainedConfig, shape: Shape, n: int, length: int, steps: int, place, dtype: torch.dtype, at_once: int
) -> float:
    speed = _product_speed(shape, place)
    thin = [replace(shape, n_layers=depth) for depth in _DEPTHS]
    rows, short, few = _affordable(shape, at_once, length, steps, speed)
    timed = [_timed(config, depth, rows, short, few, place, dtype) for depth in _DEPTHS]
    linear = [took - one.pair_flops(rows * short) / speed for took, one in zip(timed, thin, strict=True)]
    layer = max(0.0, (linear[1] - linear[0]) / (_DEPTHS[1] - _DEPTHS[0]))
    whole = linear[0] + layer * (shape.n_layers - _DEPTHS[0])
    tokens = at_once * length
    chunk = whole * tokens / (rows * short) * _passes(steps) / _passes(few) + shape.pair_flops(tokens) / speed
    return chunk * n / at_once


def _passes(steps: int) -> int:
    """In units of a forward pass: one forward and one backward for each point, and two forward."""
    return 3 * steps + 2


def _affordable(shape: Shape, rows: int, length: int, steps: int, speed: float) -> tuple[int, int, int]:
    """So many rows, tokens and steps as a layer takes a second for: what is timed is a sample, and what is left of it
    goes with tokens and passes. An estimate that takes as long as the work is none."""
    affordable = SECONDS * speed / (2 * shape.at_work)
    rows = max(1, min(rows, int(affordable / (length * _passes(steps)))))
    if rows * length * _passes(steps) > affordable:
        steps = max(1, min(steps, int((affordable / length - 2) / 3)))
    return rows, min(length, max(_SHORTEST, int(affordable / (rows * _passes(steps))))), steps


def _timed(config, depth: int, rows: int, length: int, steps: int, place, dtype: torch.dtype) -> float:
    """Seconds for a chunk of rows in a model of this many layers."""
    from analyses.circuits.attribution import gradients

    work = random_attribution(_thin(config, depth, place, dtype), rows, length, steps)
    gradients.along_inputs(work, slice(0, rows))  # once to get warm
    return _clock(lambda: gradients.along_inputs(work, slice(0, rows)), place)


def _thin(config, depth: int, place, dtype: torch.dtype) -> Model:
    """A model of a configuration's shape, with fewer layers and words. Its weights are all alike: drawing those of a
    7B's layer takes longer than a pass through it."""
    from probe.models.layout import layout_of, stock_class
    from probe.models.model import Model
    from probe.paradigms import Masked

    fields: dict[str, Any] = copy.deepcopy(config.to_dict())
    for name in ("layer_types", "no_rope_layers", "quantization_config", "torch_dtype", "dtype"):
        fields.pop(name, None)
    layers = "n_layer" if "n_layer" in fields else "num_hidden_layers"
    special = {name: None for name in fields if name.endswith("_token_id")}
    thin = type(config)(**{**fields, layers: depth, "vocab_size": _WORDS, **special})
    with torch.device("meta"):
        backbone = stock_class(layout_of(thin))._from_config(thin, dtype=dtype)
    backbone = backbone.to_empty(device=place)
    for part in (*backbone.parameters(), *backbone.buffers()):
        part.detach().fill_(0.01 if part.is_floating_point() else 0)
    return Model(backbone, Masked(attention="full", mask_id=0), name="a thin one")


def random_attribution(model: Model, rows: int, length: int, steps: int) -> Attribution:
    """An attribution of random prompts, for its cost."""
    from analyses.circuits.attribution.ablation import Ablation
    from analyses.circuits.attribution.gradients import Attribution
    from analyses.circuits.attribution.metrics import logit_difference
    from analyses.circuits.attribution.prompts import PromptPairs, Truth
    from probe.readings import AR
    from probe.readings.reading import Prompts, View

    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, min(_WORDS, model.vocabulary), (2, rows, length), generator=generator).to(model.device)
    view = View.still(torch.zeros(rows, length, dtype=torch.bool))
    slots = torch.full((rows, 1), length - 1)
    clean, corrupt = (Prompts(model.canvas(one), slots, view) for one in tokens)
    weight, words = torch.ones(rows), torch.arange(rows, device=model.device) % 2 + 1
    truth = Truth(words, 3 - words, words[:0], words[:, None] < 0, words[:, None] < 0)
    prompts = PromptPairs(model, AR(), clean, corrupt, truth, view.example, view.step, weight, list(range(rows)))
    return Attribution(model, prompts, Graph.of(model), logit_difference, Ablation(prompts), steps)


def _product_speed(shape: Shape, place: torch.device) -> float:
    """FLOPs per second of outputs times gradients, in float32, half the sources by one layer's targets."""
    sources, targets = len(shape.graph.sources) // 2 + 1, shape.graph.qkv_per_layer
    wide = max(1, (1 << 26) // (4 * (sources + targets)))
    outputs, inputs = torch.randn(sources, wide, device=place), torch.randn(targets, wide, device=place)
    return 2 * sources * targets * wide / _clock(lambda: outputs @ inputs.T, place, times=5)


def _clock(work: Callable[[], Any], place: torch.device, times: int = 1) -> float:
    def now() -> float:
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        return time.perf_counter()

    start = now()
    for _ in range(times):
        work()
    return (now() - start) / times


def _readable_time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
