"""A mixture's time is reckoned with the experts at work for a token, its memory with all."""

from __future__ import annotations

import pytest

from probe.jobs.run.model_identity import HashCache, pair_identity
from probe.jobs.spec.file import parse_spec
from probe.models.checkpoint import open_checkpoint
from probe.models.experts import active_parameters, at_work, mlp_widths
from tests.probe.jobs.asked import text_of
from tests.probe.models.published import PUBLISHED
from tests.probe.tiny import VARIANTS, backbone_of, config_of, write_stock

SHARES = {"mixtral": 2 / 4, "qwen3-moe-mixed": 1 / 3, "glm4-moe": 2 / 8, "llama-gqa": 1, "gpt2": 1}


@pytest.mark.parametrize("variant", SHARES)
def test_parameters_at_work_are_all_but_the_idle_experts(variant, tmp_path):
    architecture, other = VARIANTS[variant]
    backbone = backbone_of(architecture, **other)
    checkpoint = open_checkpoint(write_stock(tmp_path / variant, backbone))
    idle = sum(part.numel() for name, part in backbone.named_parameters() if ".experts." in name)
    assert at_work(checkpoint.config) == pytest.approx(SHARES[variant])
    found = active_parameters(checkpoint.config, checkpoint.shapes, backbone.num_parameters())
    assert found == backbone.num_parameters() - round(idle * (1 - SHARES[variant]))


def test_experts_that_are_published_one_by_one_are_known_too(tmp_path):
    published = PUBLISHED["llada-moe"]
    place = str(published.write(tmp_path / published.folder, published.backbone()))
    spec = parse_spec(
        text_of(tmp_path / "run", measures=["spread"], pairs=[{"ar": "zoo:ar", "diffusion": place, "controls": {}}])
    )
    model = pair_identity(spec.pairs[0], None, HashCache()).models["diffusion"]
    assert model.active < model.parameters
    assert f"({model.active:,} at work for a token)" in model.facts["described"]


def test_widths_are_means_over_layers():
    """One plain layer of width 48, and one with 8 experts of 24, of which 2 work, and one that every token shares."""
    glm = config_of("glm4_moe", **VARIANTS["glm4-moe"][1])
    assert mlp_widths(glm) == ((48 + 3 * 24) / 2, (48 + 9 * 24) / 2)
    assert mlp_widths(config_of("llama")) == (48, 48)
