"""Which token of one model belongs to which of another; cosine, outlier dimensions and drift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import probe
from analyses import representation
from analyses.representation.cosine import cosines, z_scored
from analyses.representation.drift import modules
from analyses.representation.outliers import outlying, without_outliers
from analyses.representation.states import Beside, Recorded, aligned
from probe.models.model import Model
from probe.pairs import Pair
from probe.paradigms import Autoregressive, Masked
from tests.analyses.planted import batch_of
from tests.probe.tiny import MASK, VARIANTS, backbone_of, model_of

N = 12


def texts():
    clean = torch.randint(0, 40, (N, 7), generator=torch.Generator().manual_seed(0))
    corrupt = clean.clone()
    corrupt[:, 1] = (corrupt[:, 1] + 1) % 40
    return batch_of(clean, corrupt, 6, (clean[:, 6] + 1) % 40)


def traces(shift: bool):
    ar, diffusion = model_of("llama-gqa"), model_of("llama-gqa", Masked(mask_id=MASK, shift=shift), seed=1)
    batch = texts()
    return [probe.record(model, batch, "resid_post", reading=how) for model, how in ((ar, "ar"), (diffusion, "prefix"))]


def beside(a, b):
    """Of each group, what both traces hold."""
    tokens = aligned(Recorded(a), Recorded(b))
    return {group: tokens[rows].states() for group, rows in tokens.groups.items()}


def test_twins_that_shift_are_aligned_by_index():
    a, b = traces(shift=True)
    both = beside(a, b)
    assert list(both) == ["clean", "masked"]
    masked = both["masked"]
    np.testing.assert_array_equal(masked.a, a.resid_post.values[:, :, 6])
    np.testing.assert_array_equal(masked.b, b.resid_post.values[:, :, 6])
    assert len(both["clean"].a) == N * 6


def test_a_twin_without_shift_answers_one_slot_later():
    a, b = traces(shift=False)
    both = beside(a, b)
    assert list(both) == ["clean", "masked", "before a mask"]
    np.testing.assert_array_equal(both["masked"].a, a.resid_post.values[:, :, 5])  # AR answers at i - 1
    np.testing.assert_array_equal(both["masked"].b, b.resid_post.values[:, :, 6])  # the mask itself at i
    np.testing.assert_array_equal(both["before a mask"].b, b.resid_post.values[:, :, 5])
    assert len(both["clean"].a) == N * 5


def test_traces_of_other_texts_are_refused():
    a, b = traces(shift=True)
    with pytest.raises(probe.ProbeError, match="same visible tokens"):
        beside(a, b.isel(example=slice(None, None, -1)))
    with pytest.raises(probe.ProbeError, match="same visible tokens"):
        beside(a, b.isel(example=slice(0, 5)))


def beside_of(a, b):
    return Beside(a, b, np.arange(len(a)), np.full(len(a), "clean", dtype=object))


def test_an_outlier_dimension_spoils_the_cosine_until_it_is_dropped():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 300, 1, 16))
    a[..., 3] = b[..., 3] = 100.0
    both = beside_of(a, b)
    assert np.nonzero(outlying(a)[0])[0].tolist() == [3]
    assert cosines(a, b).mean() > 0.99
    for treated in (without_outliers(both), z_scored(both)):
        assert abs(cosines(treated.a, treated.b).mean()) < 0.05
    plain = generator.normal(size=(300, 1, 16))
    assert not outlying(plain).any()


def test_what_all_tokens_share_is_taken_out_by_z_scores_alone():
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(2, 300, 1, 16)) + 3 * generator.normal(size=16)
    both = beside_of(a, b)
    assert cosines(without_outliers(both).a, without_outliers(both).b).mean() > 0.7
    assert abs(cosines(z_scored(both).a, z_scored(both).b).mean()) < 0.05
    turned = beside_of(a, 4 * a + 1)
    assert cosines(z_scored(turned).a, z_scored(turned).b) == pytest.approx(np.ones((300, 1)))


def same_weights(variant: str = "llama-gqa") -> Pair:
    ar, twin = (model_of(variant, paradigm) for paradigm in (Autoregressive(mask_id=MASK), Masked(mask_id=MASK)))
    return Pair(ar, twin, name="same")


def test_cosine_of_the_same_states_is_1_and_its_null_is_not():
    pair, batch = same_weights(), texts()
    trace = probe.record(pair.ar, batch, "resid_post", reading="ar")
    result = representation.cosine(pair, batch, traces={"ar": trace, "twice": trace})
    assert result.table["estimate"].tolist() == pytest.approx([1] * len(result.table))
    assert (result.table["null"] < 0.9).all()
    assert result.figure().data


def test_outliers_are_found_where_they_were_put():
    pair, batch = same_weights(), texts()
    trace = probe.record(pair.ar, batch, "resid_post", reading="ar")
    trace.resid_post[:, 1, :, 7] = 500.0
    result = representation.outliers(pair.ar, batch, traces={"model": trace})
    assert result.table[["layer", "dimension"]].to_numpy().tolist() == [[1, 7]]
    assert result.table["share"].iloc[0] > 0.9
    assert result.figure().data


@pytest.mark.parametrize("variant", ["gpt2", "llama-gqa", "qwen3", "modernbert"])
def test_drift_is_0_of_the_same_weights_and_known_of_others(variant):
    pair = same_weights(variant)
    assert (representation.weight_drift(pair).table["estimate"] == 0).all()
    architecture, other = VARIANTS[variant]
    backbone = backbone_of(architecture, **other)
    part = pair.ar.layout.of_block(pair.ar.layout.blocks(backbone)[1], "mlp_down")
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.mul_(1.25)
    changed = replace(pair, diffusion=Model(backbone, Masked(mask_id=MASK)))
    table = representation.weight_drift(changed).table.set_index(["layer", "module"])["estimate"]
    assert table[1, "mlp_down"] == pytest.approx(0.25)
    assert (table.drop((1, "mlp_down")) == 0).all()


@pytest.mark.parametrize(
    "variant", ["gpt2", "llama-gqa", "llama-biased", "qwen3", "phi3", "gemma2", "gpt-neox", "mixtral", "modernbert"]
)
def test_drift_counts_every_parameter_once(variant):
    model = model_of(variant)
    counted = sum(part.numel() for _, _, parts in modules(model) for part in parts)
    assert counted == sum(parameter.numel() for parameter in model.backbone.parameters())


def test_the_thirds_of_a_fused_projection_are_told_apart():
    pair = same_weights("gpt2")
    backbone = backbone_of("gpt2")
    d = backbone.config.n_embd
    with torch.no_grad():
        for parameter in backbone.transformer.h[0].attn.c_attn.parameters():
            parameter[..., d : 2 * d] *= 3  # the keys
    changed = replace(pair, diffusion=Model(backbone, Masked(mask_id=MASK)))
    table = representation.weight_drift(changed).table.set_index(["layer", "module"])["estimate"]
    assert [table[0, part] for part in ("query", "key", "value")] == [0, pytest.approx(2), 0]


def test_the_keys_of_a_projection_that_holds_head_after_head_are_told_apart():
    pair = same_weights("gpt-neox")
    backbone = backbone_of("gpt_neox")
    with torch.no_grad():
        for parameter in backbone.gpt_neox.layers[0].attention.query_key_value.parameters():
            parameter.unflatten(0, (4, 3, 8))[:, 1] *= 3  # each head's keys
    changed = replace(pair, diffusion=Model(backbone, Masked(mask_id=MASK)))
    table = representation.weight_drift(changed).table.set_index(["layer", "module"])["estimate"]
    assert [table[0, part] for part in ("query", "key", "value")] == [0, pytest.approx(2), 0]


def test_rows_that_only_one_vocabulary_has_are_left_out():
    pair = same_weights()
    architecture, other = VARIANTS["llama-gqa"]
    backbone = backbone_of(architecture, **other)
    backbone.resize_token_embeddings(50)
    changed = replace(pair, diffusion=Model(backbone.requires_grad_(False), Masked(mask_id=MASK)))
    assert (representation.weight_drift(changed).table["estimate"] == 0).all()
