"""Low-rank adapters: peft's LoRA on every matrix inside the layers, folded into the weights that are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from probe.errors import ProbeError

if TYPE_CHECKING:
    from probe.models.model import Model
    from probe.training.recipe import LoraSettings


class Adapters:
    """The adapters of a model in training. `wrapped` is what the Trainer trains; the backbone's own weights rest."""

    def __init__(self, model: Model, plan: LoraSettings):
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError:
            raise ProbeError(
                "a recipe with 'lora'", expected="the package peft", found="none", remedy="pip install peft"
            ) from None
        config = LoraConfig(r=plan.rank, lora_alpha=plan.alpha, lora_dropout=plan.dropout, target_modules="all-linear")
        self.wrapped = get_peft_model(model.backbone, config)

    def folded(self) -> dict[str, Tensor]:
        """The stock class's parameters with the adapters added in; what is being trained is left as it is."""
        from peft.tuners.lora import LoraLayer

        state: dict[str, Tensor] = {}
        layers: dict[str, Any] = {
            name: layer for name, layer in self._stock.named_modules() if isinstance(layer, LoraLayer)
        }
        for name, value in self._stock.state_dict().items():
            owner, _, what = name.partition(".base_layer.")
            if owner in layers and what == "weight":
                state[f"{owner}.weight"] = value + layers[owner].get_delta_weight("default")
            elif ".lora_" not in name:
                state[name.replace(".base_layer.", ".")] = value
        return state

    def merge(self) -> None:
        """End of training: the backbone is the stock one again, its weights changed."""
        self.wrapped.merge_and_unload()

    @property
    def _stock(self):
        return self.wrapped.get_base_model()
