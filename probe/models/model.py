"""A model: a stock backbone, its paradigm and its tokenizer.

The backbone is a plain transformers model; a `Model` adds what transformers does not have: the attention that the
weights were trained with (always passed as an explicit additive float mask), the mask token, and which slot predicts a
token. Parameters do not require gradients, so a plain call builds no graph; code that needs gradients (an edit, an
attribution) requests them at its inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from probe.errors import TokenError
from probe.models import windows
from probe.models.facts import heads_in_words, mask_in_words, windows_in_words
from probe.models.layout import Columns, Layout, layout_of
from probe.models.lengths import check_length
from probe.models.scope import ContextValue, Listeners
from probe.models.threads import fitting_threads
from probe.models.token_checks import (
    refuse_mask,
    refuse_odd_tokens,
    refuse_unequal_lengths,
    refuse_unlearned_places,
)
from probe.models.unknown_words import warn_of_unknown_words
from probe.models.weights import device_of, refuse_absent, weight_of, widths_of
from probe.notebook import table
from probe.paradigms.canvas import Canvas
from probe.paradigms.paradigm import Paradigm

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

    from probe.models.catalog import Entry
    from probe.models.selftests.finding import SelfTests


class Model:
    """Backbone + paradigm + tokenizer."""

    def __init__(
        self,
        backbone: PreTrainedModel,
        paradigm: Paradigm,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        name: str = "unnamed",
        entry: Entry | None = None,
        published: Mapping[str, Any] | None = None,
    ):
        self.backbone = backbone.eval().requires_grad_(False)
        self.paradigm = paradigm
        self.layout: Layout = layout_of(backbone.config)
        self.windows: windows.Windows = windows.windows_of(backbone.config)
        self.name = name
        self.entry = entry
        self.published = published or {}  # config.json as its publisher wrote it
        self.selftests: SelfTests | None = None
        self.notes: tuple[str, ...] = ()  # notes that its user should see
        self.attachments: dict[str, nn.Module] = {}  # what it has besides the backbone (probe.paradigms.attachments)
        # Two openings for edits, each thread's own: who is told what each forward pass is about to see, and the name of
        # an attention function registered with transformers that replaces the stock ones while a pattern is edited.
        self.before_run = Listeners()
        self._attention_override: ContextValue[str | None] = ContextValue(None)
        self.turn = RLock()  # held for one forward pass: transformers reads the attention to use from the config
        # What gradients are to go through instead of the backbone itself: in training on several devices its wrapper,
        # which adds up what each has found.
        self.wrapper: nn.Module | None = None
        self._tokenizer = tokenizer

    def __repr__(self) -> str:
        shape = f"{self.layout.model_type}, {self.n_layers} layers × {self.n_heads} heads, d {self.d_model}"
        how = f"{self.paradigm.name}, {self.paradigm.attention} attention, {'shift' if self.shift else 'no shift'}"
        told = "; ".join((shape, how, f"mask {self.mask_id}", f"{self.dtype} on {self.device}", *self.notes))
        return f"Model({self.name}: {told})"

    def _repr_html_(self) -> str:
        return table(f"Model {self.name}", self.facts.items())

    # What it is

    @property
    def facts(self) -> dict[str, str]:
        """Its properties by name, for a table."""
        paradigm = self.paradigm
        heads = heads_in_words(self.n_heads, self.n_kv_heads)
        return {
            "name": self.name,
            "writes": f"{paradigm.name}, {paradigm.attention} attention, {'with' if self.shift else 'without'} shift",
            "shape": f"{self.layout.model_type}, {self.n_layers} layers × {heads}, d {self.d_model}",
            "parameters": f"{self.n_parameters:,}, {str(self.dtype).removeprefix('torch.')} on {self.device}",
            **({"windows": windows_in_words(self.windows)} if any(self.windows) else {}),
            **({"note": "; ".join(self.notes)} if self.notes else {}),
            "vocabulary": f"{self.vocabulary:,} tokens, {mask_in_words(self.mask_id, self._tokenizer)}",
        }

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        if self._tokenizer is None:
            raise TokenError(
                f"model {self.name!r}",
                expected="a tokenizer",
                found="a model that was loaded with tokenizer=False",
                remedy="Load it with a tokenizer, or pass token ids.",
            )
        return self._tokenizer

    @property
    def has_tokenizer(self) -> bool:
        return self._tokenizer is not None

    @property
    def mask_id(self) -> int | None:
        return self.paradigm.mask_id

    @property
    def shift(self) -> bool:
        return self.paradigm.shift

    @property
    def attention_override(self) -> str | None:
        """The attention function that this thread's forward passes use instead of the stock ones."""
        return self._attention_override.get()

    @attention_override.setter
    def attention_override(self, name: str | None) -> None:
        self._attention_override.set(name)
        if name is None:  # whoever calls the backbone itself finds it as it was
            with self.turn:
                self.config._attn_implementation = self.kernel(eager=False)

    @property
    def config(self):
        return self.backbone.config

    @property
    def n_layers(self) -> int:
        return self.config.num_hidden_layers

    @property
    def n_heads(self) -> int:
        return self.config.num_attention_heads

    @cached_property
    def n_kv_heads(self) -> int:
        """Heads of keys and values. Like `d_head` it comes from the weights: a configuration may have a field that its
        class ignores, and a class may read one that its configuration lacks."""
        if self.layout.by_head:
            return self.n_heads
        wide = widths_of(self.layout.of_block(self.blocks[0], "key"))[1]
        return (wide // self.d_head - self.n_heads) // 2 if self.layout.fused else wide // self.d_head

    @property
    def d_model(self) -> int:
        return self.config.hidden_size

    @cached_property
    def d_head(self) -> int:
        return widths_of(self.layout.of_block(self.blocks[0], "output"))[0] // self.n_heads

    @cached_property
    def parallel(self) -> bool:
        """Whether attention and MLP run in parallel."""
        return self.layout.runs_parallel(self.config)

    @cached_property
    def qkv_columns(self) -> dict[str, Columns]:
        """The columns of queries ("q"), keys and values in their projections' outputs."""
        return self.layout.columns(self.n_heads, self.n_kv_heads, self.d_head)

    @property
    def logit_cap(self) -> float | None:
        """The cap c of logits, c · tanh(logit / c); None if there is none."""
        return None if self.layout.logit_cap is None else getattr(self.config, self.layout.logit_cap)

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: every smaller id is a token of the backbone."""
        return self.embedding.weight.shape[0]

    @property
    def embedding(self) -> nn.Embedding:
        return self.layout.part(self.backbone, "embed")  # type: ignore[return-value]  # every layout names an Embedding

    @property
    def embedding_table(self) -> Tensor:
        """The tokens' embeddings (token, feature), in memory or offloaded; Gemma's are scaled."""
        rows, scale = weight_of(self.embedding), getattr(self.embedding, "embed_scale", None)
        return rows if scale is None else rows * torch.as_tensor(scale).to(rows)

    def embedded(self, tokens: Tensor) -> Tensor:
        """The embeddings' part in the residual stream, after their norm if they have one (ModernBERT)."""
        found = self.embedding(tokens.to(self.device))
        return found if self.layout.embed_norm is None else self.embed_write(found)

    @property
    def embed_write(self) -> nn.Module:
        """The module whose output is the embeddings' part in the residual stream."""
        return self.layout.part(self.backbone, "embed_write")

    @property
    def device(self) -> torch.device:
        """The device of its first module."""
        return device_of(self.embedding)

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.weight.dtype

    @property
    def n_parameters(self) -> int:
        return self.backbone.num_parameters()

    @cached_property
    def blocks(self) -> list[nn.Module]:
        """The layers, in order."""
        return self.layout.blocks(self.backbone)

    # What it does

    def canvas(self, tokens: Tensor, attention: str | Tensor | None = None, *, padding: Tensor | None = None) -> Canvas:
        """The canvas of plain text, under this model's attention or a given one."""
        return self.paradigm.canvas(self.checked(tokens), attention=attention, padding=padding)

    def logits(self, tokens: Tensor, attention: str | Tensor | None = None, *, padding: Tensor | None = None) -> Tensor:
        """Logits (batch, length, vocabulary) for tokens (batch, length).

        `attention` overrides the paradigm's own: "causal", "full", "block:4", "masks_last", or a 4D additive float
        mask. Layers with a sliding window keep it under each of them. `padding` is True on padded tokens, on either
        side.
        """
        return self.run(self.canvas(tokens, attention, padding=padding))

    def run(self, canvas: Canvas, *, eager: bool = False, **inputs: Tensor) -> Tensor:
        """Logits for a canvas. `eager` computes attention patterns; SDPA is faster if they are not needed."""
        called = self.wrapper if self.wrapper is not None and torch.is_grad_enabled() else self.backbone
        with self.turn, fitting_threads(self, canvas.tokens.numel()):
            return called(**self._inputs(canvas, eager, inputs)).logits

    def run_trunk(self, canvas: Canvas, *, eager: bool = False, cache: Cache | None = None, **inputs: Tensor) -> Tensor:
        """The final norm's output for a canvas: everything but the unembedding, and the head before it if there is one.

        With a `cache` (transformers' own class) the canvas has only the new slots, and its `allowed` says which slots
        of the cache, including the new ones, each of them sees.
        """
        trunk = self.layout.part(self.backbone, "trunk")
        kept = {} if cache is None else {"past_key_values": cache, "use_cache": True}
        with self.turn, fitting_threads(self, canvas.tokens.numel()):
            return trunk(**self._inputs(canvas, eager, inputs) | kept).last_hidden_state

    def unembed(self, hidden: Tensor) -> Tensor:
        """Logits of what `run_trunk` returned, or of a part of it."""
        if self.layout.head is not None:
            hidden = self.layout.part(self.backbone, "head")(hidden)
        return self.capped(self.layout.part(self.backbone, "unembed")(hidden))

    def capped(self, raw: Tensor) -> Tensor:
        """Logits of the unembedding's own output."""
        cap = self.logit_cap
        return raw if cap is None else (raw / cap).tanh() * cap

    def kernel(self, eager: bool) -> str:
        """The attention for transformers: SDPA has no cap, and would silently ignore it."""
        cap = self.layout.attention_cap and getattr(self.config, self.layout.attention_cap)
        return "eager" if eager or cap is not None else "sdpa"

    def _inputs(self, canvas: Canvas, eager: bool, inputs: dict[str, Tensor]) -> dict[str, Any]:
        # transformers looks the attention up at every call, so the choice costs nothing and needs no second model.
        self.config._attn_implementation = self.attention_override or self.kernel(eager)
        canvas = canvas.to(self.device)
        refuse_unlearned_places(self.name, int(canvas.places.max()), self._learned_places, self.config)
        for tell in self.before_run:
            tell(canvas)
        shown = inputs or self.paradigm.shown(self, canvas)
        return {
            **shown,
            "attention_mask": self.attention_masks(canvas),
            "position_ids": canvas.places,
            "use_cache": False,
        }

    @property
    def _learned_places(self) -> int | None:
        """The rows of a learned position table, if there is one."""
        if self.layout.place_embed is None:
            return None
        return self.layout.part(self.backbone, "place_embed").weight.shape[0]  # type: ignore[index]  # an Embedding

    def attention_masks(self, canvas: Canvas) -> Tensor | dict[str, Tensor]:
        """The additive float mask of a canvas for the backbone: one, or one per kind of layer if some have a sliding
        window."""
        return windows.masks(canvas, self.windows, self.dtype)

    def allowed(self, canvas: Canvas, layer: int) -> Tensor:
        """Visibility (batch or 1, queries, keys) in one layer: that of the canvas, within the layer's window."""
        return windows.allowed(canvas, self.windows[layer])

    def checked(self, tokens: Tensor) -> Tensor:
        """Tokens on this model's device, refused unless they are (batch, length) ids of its embedding."""
        refuse_odd_tokens(self.name, tokens, self.vocabulary)
        self.check_length(*tokens.shape)
        return tokens.to(self.device, torch.long)

    def check_length(self, rows: int, length: int) -> None:
        """Refuse texts of a length that this model or memory cannot hold; warn of one beyond its training."""
        limit = getattr(self.config, "max_position_embeddings", None)
        check_length(self.name, limit, rows, length, learned=self.layout.place_embed is not None)

    def encode(self, text: str | list[str]) -> Tensor:
        """Token ids (batch, length) of texts that tokenize to one length; refused if they contain the mask token.

        A warning names words that the tokenizer does not know: the model sees [UNK] instead.
        """
        texts = [text] if isinstance(text, str) else list(text)
        rows = self.tokenizer(texts)["input_ids"]
        refuse_unequal_lengths(self.name, rows)
        tokens = torch.tensor(rows)
        self.refuse_mask_in(tokens)
        warn_of_unknown_words(self.tokenizer, texts, rows, self.name)
        return self.checked(tokens)

    def refuse_mask_in(self, tokens: Tensor) -> None:
        """Refuse text that contains the mask token: DiffuGPT and DiffuLLaMA use an ordinary word as mask."""
        if self.mask_id is not None:
            refuse_mask(self.name, tokens, self.mask_id, self._tokenizer)

    @contextmanager
    def trainable(self) -> Iterator[Model]:
        """Switch on parameter gradients and dropout inside the context."""
        refuse_absent(self.backbone, f"training of model {self.name!r}")
        parts = (self.backbone, *self.attachments.values())
        for part in parts:
            part.train().requires_grad_(True)
        try:
            yield self
        finally:
            for part in parts:
                part.eval().requires_grad_(False)
