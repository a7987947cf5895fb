"""Shares of two crosscoders' latents, and a comparison from models to table, resumed from its folder."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from analyses import features
from analyses.features import TrainingOptions
from analyses.features.comparison import ALONE, judges, learns, second_seeds, shares
from probe.errors import ProbeError
from probe.pairs import Pair
from probe.paradigms import Masked
from tests.analyses.planted import batch_of
from tests.probe.tiny import MASK, model_of

TWINS, SEEDS = ("ar", "diffusion"), ("diffusion", "masked-seed2")


def latents(shared: int, ar: int, diffusion: int, rare: int = 0, roles: tuple[str, str] = TWINS) -> pd.DataFrame:
    names = ["shared"] * shared + [f"{roles[0]} only"] * ar + [f"{roles[1]} only"] * diffusion + ["rare"] * rare
    return pd.DataFrame({"class": names, "nu_error": [0.9 if name == "shared" else 0.1 for name in names]})


def test_shares_are_of_latents_that_fire_and_are_held_against_the_second_seed():
    table = shares({TWINS: latents(60, 15, 25, 20), SEEDS: latents(90, 5, 5, 0, SEEDS)})
    twins = table[table["pair"] == "ar and diffusion"].set_index("class")
    assert twins.loc["diffusion only", "estimate"] == pytest.approx(0.25)
    assert twins.loc[ALONE, "estimate"] == pytest.approx(0.4)
    assert twins.loc[ALONE, "null"] == pytest.approx(0.1)
    assert twins.loc["rare or dead, of all latents", "estimate"] == pytest.approx(20 / 120)
    change = table[table["pair"].str.contains("−")].set_index("class").loc[ALONE]
    assert change["estimate"] == pytest.approx(0.3)
    assert change["low"] < 0.3 < change["high"]
    assert change["p"] < 0.001
    assert twins.loc["mean ν", "estimate"] == pytest.approx(0.6 * 0.9 + 0.4 * 0.1)
    assert twins.loc["mean ν", "null"] == pytest.approx(0.9 * 0.9 + 0.1 * 0.1)
    assert twins.loc["mean ν", "unit"] == "ratio of lengths"


def test_a_latent_without_a_ratio_is_left_out_of_the_mean():
    told = latents(3, 0, 1)
    told.loc[0, "nu_error"] = float("nan")
    rows = shares({TWINS: told}).set_index("class")
    assert rows.loc["mean ν", "estimate"] == pytest.approx((0.9 + 0.9 + 0.1) / 3)
    assert rows.loc["mean ν", "n"] == 3


def test_alike_shares_do_not_differ():
    table = shares({TWINS: latents(90, 5, 5), SEEDS: latents(88, 6, 6, 0, SEEDS)})
    assert table[table["pair"].str.contains("−")]["p"].min() > 0.2


def test_without_a_second_seed_nothing_is_tested():
    assert shares({TWINS: latents(60, 20, 20)})["p"].isna().all()


@pytest.fixture(scope="module")
def pair():
    twin, again = (model_of("llama-gqa", paradigm=Masked(mask_id=MASK, shift=True), seed=seed) for seed in (1, 2))
    return Pair(model_of("llama-gqa"), twin, {"masked-seed2": again})


def batch(n: int = 250):
    clean = torch.randint(0, 40, (n, 8), generator=torch.Generator().manual_seed(0))
    corrupt = clean.clone()
    corrupt[:, 2] += 1
    return batch_of(clean, corrupt, 6, clean[:, 6] + 1)


def test_learners_and_judges_share_no_example():
    own, other = learns(batch()), judges(batch())
    assert (len(own), len(other)) == (200, 50)
    assert torch.equal(torch.cat([own.clean, other.clean]), batch().clean)


def test_it_goes_from_models_to_a_table_and_its_figure_and_resumes(pair, tmp_path):
    options = TrainingOptions(latents=24, k=4, steps=40, rows=64)
    assert second_seeds(pair) == [SEEDS]
    found = features.compare(pair, batch(), layer=0, options=options, folder=tmp_path)
    assert {"ar and diffusion", "diffusion and masked-seed2"} < set(found.table["pair"])
    assert set(found.table["unit"]) == {"share of latents", "ratio of lengths"}
    assert found.figure().data
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/dictionary.safetensors")}
    again = features.compare(pair, batch(), layer=0, options=options, folder=tmp_path)
    pd.testing.assert_frame_equal(found.table, again.table)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/dictionary.safetensors")}
    assert len(before) == 2


def test_roles_that_the_pair_lacks_are_refused(pair):
    with pytest.raises(ProbeError, match="masked-seed2"):
        features.crosscoder(pair, batch(), roles=("ar", "masked-seed3"))
