"""Every architecture that has a layout: those shipped here, and those that other packages declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probe.errors import CheckpointError
from probe.installed import Installed
from probe.models.layout.description import Layout
from probe.models.layout.gemma import GEMMA2, GEMMA3
from probe.models.layout.gpt2 import GPT2
from probe.models.layout.gpt_neox import GPT_NEOX
from probe.models.layout.llama import LLAMA, MISTRAL, QWEN2, QWEN3, SMOLLM3
from probe.models.layout.mixtures import GLM4_MOE, MIXTRAL, QWEN3_MOE
from probe.models.layout.modernbert import MODERNBERT
from probe.models.layout.olmo2 import OLMO2
from probe.models.layout.phi3 import PHI3

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_DENSE = (GPT2, LLAMA, MISTRAL, QWEN2, QWEN3, SMOLLM3, OLMO2, PHI3, GEMMA2, GEMMA3, GPT_NEOX)
_SHIPPED = (*_DENSE, MIXTRAL, QWEN3_MOE, GLM4_MOE, MODERNBERT)

LAYOUTS = {layout.model_type: layout for layout in _SHIPPED}

INSTALLED: Installed[Layout] = Installed(
    "twinprobe.layouts", LAYOUTS, lambda thing: isinstance(thing, Layout), "a probe.models.layout.Layout"
)


def layout_of(config: PretrainedConfig) -> Layout:
    """The layout of a stock configuration."""
    try:
        return INSTALLED[config.model_type]
    except KeyError:
        raise CheckpointError(
            f"model_type {config.model_type!r}",
            expected="an architecture that has a layout: " + ", ".join(sorted(INSTALLED)),
            found=repr(config.model_type),
            remedy="Declare a Layout for it (docs/how_to/add_an_architecture.md).",
        ) from None


def stock_class(layout: Layout) -> type[PreTrainedModel]:
    """The transformers class that a layout's weights go into."""
    import transformers

    return getattr(transformers, layout.causal_lm)
