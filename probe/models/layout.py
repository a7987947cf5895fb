"""Where the parts of an architecture are: one small description each, and no other code that knows a module's name.

Every architecture here is a pre-norm decoder: an embedding, layers that each add attention's and then an MLP's output
to the residual stream, a final norm, an unembedding. They differ in the names of the modules and in whether q, k and v
are one projection or three. A `Layout` says exactly that, in dotted paths; the rest of Twinprobe asks it for modules.
A package of one's own adds an architecture by a `Layout` that it declares (see docs/how_to/add_an_architecture.md):

    [project.entry-points."twinprobe.layouts"]
    starcoder2 = "my_package:LAYOUT"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from probe.errors import CheckpointError
from probe.installed import Installed

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Layout:
    """The names of one architecture's parts. Paths of layer parts are relative to the layer."""

    model_type: str  # as in config.json
    causal_lm: str  # the stock transformers class that carries the weights
    trunk: str  # everything but the unembedding
    embed: str
    layers: str
    final_norm: str
    unembed: str
    attention_norm: str
    attention: str
    query: str
    key: str
    value: str
    output: str
    mlp_norm: str
    mlp: str
    mlp_up: str
    mlp_down: str
    mlp_gate: str | None = None
    place_embed: str | None = None  # a learned position table; None where positions are rotary
    rotary: str | None = None
    obsolete: str = r"$^"  # a pattern of keys that old checkpoints have for what the class now computes

    @property
    def fused(self) -> bool:
        """Whether q, k and v are three thirds of one projection's output (GPT-2)."""
        return self.query == self.key

    def part(self, backbone: nn.Module, name: str) -> nn.Module:
        """A part of the model itself: trunk, embed, final_norm, unembed, place_embed, rotary."""
        return backbone.get_submodule(getattr(self, name))

    def blocks(self, backbone: nn.Module) -> list[nn.Module]:
        return list(backbone.get_submodule(self.layers).children())

    def of_block(self, block: nn.Module, name: str) -> nn.Module:
        """A part of one layer: attention_norm, attention, query, key, value, output, mlp_norm, mlp, …"""
        return block.get_submodule(getattr(self, name))


_LLAMA = {
    "trunk": "model",
    "embed": "model.embed_tokens",
    "layers": "model.layers",
    "final_norm": "model.norm",
    "unembed": "lm_head",
    "rotary": "model.rotary_emb",
    "obsolete": r"\.rotary_emb\.inv_freq$",
    "attention_norm": "input_layernorm",
    "attention": "self_attn",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "mlp_norm": "post_attention_layernorm",
    "mlp": "mlp",
    "mlp_up": "mlp.up_proj",
    "mlp_gate": "mlp.gate_proj",
    "mlp_down": "mlp.down_proj",
}

LAYOUTS = {
    layout.model_type: layout
    for layout in (
        Layout(
            model_type="gpt2",
            causal_lm="GPT2LMHeadModel",
            trunk="transformer",
            embed="transformer.wte",
            place_embed="transformer.wpe",
            layers="transformer.h",
            final_norm="transformer.ln_f",
            unembed="lm_head",
            attention_norm="ln_1",
            attention="attn",
            query="attn.c_attn",
            key="attn.c_attn",
            value="attn.c_attn",
            output="attn.c_proj",
            mlp_norm="ln_2",
            mlp="mlp",
            mlp_up="mlp.c_fc",
            mlp_down="mlp.c_proj",
            obsolete=r"\.attn\.(masked_)?bias$",
        ),
        Layout(model_type="llama", causal_lm="LlamaForCausalLM", **_LLAMA),
        Layout(model_type="qwen2", causal_lm="Qwen2ForCausalLM", **_LLAMA),
        Layout(model_type="qwen3", causal_lm="Qwen3ForCausalLM", **_LLAMA),
    )
}


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
