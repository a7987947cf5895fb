"""python tests/benchmarks/families.py: how close every family comes to what it is held against.

Small random models (2 layers, width 32). Logits, hidden states and attentions are compared with the stock class left to
itself, logits also under full attention; EAP-IG with its definition, computed edge by edge from the weights. Families
that are published under other names are written as published, loaded, and compared with their stock class under the
attention that is declared of them; what is said of published code was run beside it once.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

import probe
from analyses.circuits import attribute
from probe.models.families import families
from probe.models.formats import FORMATS
from probe.models.layout import LAYOUTS
from tests.analyses.circuits import textbook
from tests.analyses.circuits.asking import batch_of, differences, model_of, slots_and_canvases
from tests.probe.models.closeness import closeness
from tests.probe.models.published import PUBLISHED
from tests.probe.slow_masks import slow_visible
from tests.probe.tiny import VARIANTS, stock_logits, tokens_of


def edges(variant: str) -> float:
    """EAP-IG's scores under full attention, relative to the largest."""
    model, batch = model_of(variant, "full"), batch_of(n=2)
    slots, told = slots_and_canvases(model, batch)
    expected = textbook.integrated(*told, lambda logits: differences(batch, logits, slots).sum(), 2)
    found = attribute(model, batch, steps=2).edges.set_index(["source", "target"])["score"]
    largest = max(map(abs, expected.values()))
    return max(abs(found[edge] - score) for edge, score in expected.items()) / largest


def as_published(name: str) -> float:
    """Logits of a checkpoint written as published, against its stock class."""
    published = PUBLISHED[name]
    backbone = published.backbone()
    tokens = tokens_of(2, 40, vocabulary=10_000)
    tokens[:, 3::5] = published.mask_id or 0
    with tempfile.TemporaryDirectory() as folder:
        model = probe.load(published.write(Path(folder) / published.folder, backbone), tokenizer=False, selftest="off")
        theirs = stock_logits(backbone, tokens, slow_visible(published.attention, tokens, published.mask_id))
        return float((model.logits(tokens) - theirs).abs().max())


# What tests call a tiny published checkpoint, where it is not its format's name.
ALSO = {"diffucoder": "dream", "fluid": "openpangu", "diffugpt-s": "diffugpt", "diffugpt-m": "diffugpt"}


def _is(name: str, format: str) -> bool:
    """Whether a tiny published checkpoint is of a format: "wedlm 8B" is one of "wedlm"."""
    first = name.partition(",")[0].partition(" ")[0]
    return ALSO.get(first, first) == format


def main() -> None:
    torch.set_num_threads(1)
    columns = ("logits", "logits, full attention", "hidden states", "attentions", "sums")
    print("| family | held against | " + " | ".join(columns) + " | EAP-IG |")
    print("|---" * 8 + "|")
    for layout in LAYOUTS.values():
        worst: dict[str, float] = {}
        for variant in (name for name, (architecture, _) in VARIANTS.items() if architecture == layout.model_type):
            for what, apart in {**closeness(variant), "EAP-IG": edges(variant)}.items():
                worst[what] = max(worst.get(what, 0.0), apart)
        print(f"| {layout.family} | `{layout.causal_lm}` | " + " | ".join(f"{x:.0e}" for x in worst.values()) + " |")
    print()
    print("| published under another name | goes into | logits, against that class | held against, once |")
    print("|---" * 4 + "|")
    of = {family.name: family for family in families()}
    for published in {one.name: one for one in FORMATS}.values():
        own = [name for name in PUBLISHED if _is(name, published.name)]
        apart = f"{max(map(as_published, own)):.0e}" if own else "as LLaMA"
        family = of[published.family]
        print(f"| {family.name} | `{family.stock}` | {apart} | {family.checked} |")


if __name__ == "__main__":
    main()
