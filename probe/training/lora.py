"""Low-rank adapters: peft's LoRA on every matrix inside the layers, with frozen base weights.

At the end they are folded into the saved weights, or saved separately (see probe.models.adapters): then one row of the
embedding is trained with them, the mask's, which the AR model did not use.

With `rest: int8` the frozen weights are int8 during training, and logits are computed only at labelled slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from probe.errors import ProbeError
from probe.models import windows
from probe.models.adapters import MASK_ROW
from probe.paradigms import visibility
from probe.paradigms.canvas import Canvas, places_of
from probe.training.rounded import Rounded
from probe.training.unembedding import Teacher, Unembedding

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.training.recipe import LoraSettings


class Adapters:
    """The adapters of a model in training. The Trainer trains `wrapped`; the backbone's own weights are frozen."""

    def __init__(self, model: Model, settings: LoraSettings):
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError:
            raise ProbeError(
                "a recipe with 'lora'", expected="the package peft", found="none", remedy="pip install peft"
            ) from None
        self.settings, self.model = settings, model
        self.table = model.embedding.weight.detach()
        mask = None if settings.fold else model.paradigm.given_mask()
        learnt: dict[str, Any] = {}
        if mask is not None:
            learnt["trainable_token_indices"] = {model.layout.embed.rpartition(".")[2]: [mask]}
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules="all-linear",
            # GPT-2's matrices are transposed.
            fan_in_fan_out=not isinstance(model.layout.of_block(model.blocks[0], "output"), nn.Linear),
            **learnt,
        )
        self.wrapped = get_peft_model(model.backbone, config)
        self._whole: dict[str, nn.Module] = {}
        self._unembedding: Unembedding | None = None
        if mask is not None:  # start from the mean embedding: the mask is an unknown word
            with torch.no_grad():
                self.row.copy_(self.table.mean(0))

    @property
    def row(self) -> Tensor:
        """The mask's row of the embedding, if it is trained."""
        (found,) = [value for name, value in self.wrapped.named_parameters() if "trainable_tokens_delta" in name]
        return found[0] if found.dim() == 2 else found

    def round(self, compiled: bool) -> None:
        """Replace the frozen weights by int8."""
        self._refuse_odd_parts()
        for name, layer in self._layers.items():
            self._whole[name], layer.base_layer = layer.base_layer, Rounded(layer.base_layer)
        self._unembedding = Unembedding(self.table, self.model.paradigm.given_mask(), compiled)

    def _refuse_odd_parts(self) -> None:
        odd = {type(layer.base_layer).__name__ for layer in self._layers.values()} - {"Linear"}
        if self.model.logit_cap is not None:
            odd.add("logits with a cap")
        if self.model.layout.head is not None:
            odd.add("a head before the unembedding")
        if odd or not self.model.config.tie_word_embeddings:
            raise ProbeError(
                f"model {self.model.name!r} with 'rest: int8'",
                expected="linear layers, and an unembedding that is tied to the embedding, without head or cap",
                found=", ".join(sorted(odd)) or "an unembedding of its own",
                remedy="Leave out 'rest'.",
            )

    def restore(self) -> None:
        """Restore the frozen weights."""
        for name, layer in self._layers.items():
            layer.base_layer = self._whole.pop(name, layer.base_layer)
        self._unembedding = None

    @property
    def rounded(self) -> bool:
        """Whether the frozen weights are int8, so that `loss` computes the loss."""
        return self._unembedding is not None

    def loss(
        self,
        shown: Mapping[str, Any],
        labels: Tensor,
        weights: Tensor,
        text: Tensor | None = None,
        soft: Tensor | None = None,
    ) -> Tensor:
        """The loss of a training batch; `shown` are the backbone's arguments from the Trainer. Logits are computed only
        at labelled slots and not kept."""
        assert self._unembedding is not None
        places = shown["position_ids"]
        hidden = self._hidden(shown["input_ids"], shown["attention_mask"], places)
        teacher = None
        if text is not None and soft is not None:
            teacher = Teacher(self._teacher_hidden(text), places, soft)
        return self._unembedding.loss(hidden, labels, weights, self.row, teacher)

    @torch.no_grad()
    def teacher_logits(self, text: Tensor, places: Tensor) -> Tensor:
        """The prediction of the model without its adapters for the token after each position of a text; the mask is
        excluded."""
        logits = self.model.unembed(self._teacher_hidden(text)).float()
        logits[..., self.model.paradigm.given_mask()] = -torch.inf
        return at_places(logits, places)

    @torch.no_grad()
    def _teacher_hidden(self, text: Tensor) -> Tensor:
        """The last hidden states of the model without its adapters, on a text under causal attention."""
        places = places_of(text)
        with self.wrapped.disable_adapter():
            canvas = Canvas(text, visibility.visible("causal", text), places, torch.zeros_like(places))
            return self._hidden(text, windows.masks(canvas, self.model.windows), places)

    def _hidden(self, tokens: Tensor, mask: Any, places: Tensor) -> Tensor:
        hidden_here = (tokens == self.model.mask_id)[..., None]
        shown = torch.where(hidden_here, self.row, torch.nn.functional.embedding(tokens, self.table))
        shown = shown * getattr(self.model.embedding, "embed_scale", 1.0)  # Gemma's
        trunk = self.model.layout.part(self._stock, "trunk")
        return trunk(inputs_embeds=shown, attention_mask=mask, position_ids=places, use_cache=False).last_hidden_state

    def read(self, checkpoint: Path) -> None:
        """Load the adapters from a checkpoint of the Trainer's."""
        from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(self.wrapped, load_peft_weights(str(checkpoint), device="cpu"))

    def by_themselves(self) -> dict[str, Tensor]:
        """Both matrices of every layer, by the name of its weight in the stock class, and the mask's row."""
        state = {}
        for name, layer in self._layers.items():
            state[f"{name}.down"] = layer.lora_A["default"].weight.detach()
            state[f"{name}.up"] = layer.lora_B["default"].weight.detach()
        return {**state, MASK_ROW: self.row.detach()}

    def folded(self) -> dict[str, Tensor]:
        """The stock class's parameters with the adapters added; the model in training is not changed."""
        layers, state = self._layers, {}
        for name, value in self._stock.state_dict().items():
            owner, _, what = name.partition(".base_layer.")
            if owner in layers and what == "weight":
                state[f"{owner}.weight"] = value + layers[owner].get_delta_weight("default")
            elif ".lora_" not in name:
                state[name.replace(".base_layer.", ".")] = value
        return state

    def merge(self) -> None:
        """End of training: the backbone is the stock one again, its weights changed."""
        self.restore()
        self.wrapped.merge_and_unload()

    @property
    def _layers(self) -> dict[str, Any]:
        from peft.tuners.lora import LoraLayer

        return {name: layer for name, layer in self._stock.named_modules() if isinstance(layer, LoraLayer)}

    @property
    def _stock(self):
        return self.wrapped.get_base_model()


def at_places(values: Tensor, places: Tensor) -> Tensor:
    """From values by position of a text (batch × length × …) to values by slot (batch × slots × …)."""
    rows = torch.arange(len(values), device=values.device)[:, None]
    return values[rows, places.clamp(max=values.shape[1] - 1)]
