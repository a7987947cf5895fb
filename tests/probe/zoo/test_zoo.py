"""The shipped models: what is there, by which names, how well it answers, and what its card says of it."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from safetensors import safe_open
from scipy.stats import binomtest
from torch import Tensor

import probe
from analyses import Result
from probe.cli import main
from probe.errors import CheckpointError
from probe.models.catalog import OWN_ENTRY
from probe.models.tokenizers import load_tokenizer
from probe.paradigms import named
from probe.tasks import TASKS, vocabulary
from probe.tasks.score import score
from probe.training import read_recipe
from probe.training.batches import TrainingBatches
from probe.training.card import CARD, POOL
from probe.training.curve import read_curve
from probe.training.recipe import Text
from probe.training.text import held_out
from probe.zoo import CHARACTERS, FETCHED, adapted, curve_folder, curves, shipped, snapshots, studies, study, zoo_folder

TWINS = shipped()
RECIPES = {name: read_recipe(zoo_folder(name) / "recipe.yaml") for name in TWINS}
ASKED = [name for name, of in RECIPES.items() if of.tasks]
READERS = [name for name in TWINS if name not in ASKED]  # of running text
DIFFUSION = [name for name in ASKED if RECIPES[name].paradigm != "autoregressive" and RECIPES[name].start]
TAUGHT = [name for name in ASKED if name != "flow-scratch"]  # how little one from nothing learns is what it shows
LEARNT = {"ioi": 0.98, "greater_than": 0.98, "induction": 0.95}
FLOWS_LEARNT = dict.fromkeys(LEARNT, 0.95)  # what was asked of the others is not asked of flows: see their cards


def test_the_zoo_holds_what_its_makefile_remakes():
    file = zoo_folder("ar").parent.parent.parent / "Makefile"
    made = dict(re.findall(r"^(ZOO|CURVES) := (.*)$", file.read_text().replace("\\\n", ""), re.M))
    assert sorted(made["ZOO"].split()) == shipped()
    assert sorted(made["CURVES"].split()) == sorted({*curves()} - {*shipped(), *adapted()})


@pytest.mark.parametrize("name", TAUGHT)
def test_local_tasks_are_learnt_on_held_out_questions(name):
    model = probe.load(f"zoo:{name}", selftest="off")
    flows = model.paradigm.inpaints
    for task, least in (FLOWS_LEARNT if flows else LEARNT).items():
        found = score(model, probe.task(task), 50 if flows else 200)
        assert found.interval[1] >= least, f"{task}: {found}"  # not refuted by this sample


@pytest.fixture(scope="module")
def book() -> tuple[Text, Tensor]:
    """The text that all readers learnt from, and a hundred pieces that were held out of it."""
    (text,) = RECIPES[READERS[0]].texts
    return text, held_out(text, load_tokenizer(CHARACTERS, ""), 100)


@pytest.mark.parametrize("name", READERS)
def test_running_text_is_read_better_than_its_commonest_sign(name, book):
    text, texts = book
    assert [(one.files, one.length) for one in RECIPES[name].texts] == [(text.files, text.length)]
    given = texts.shape[1] // 2
    model = probe.load(f"zoo:{name}", selftest="off")
    found = (probe.decode(model, texts[:, :given], 1).tokens[:, given].cpu() == texts[:, given]).sum().item()
    commonest = texts.flatten().bincount().max().item() / texts.numel()
    assert binomtest(found, len(texts), commonest, alternative="greater").pvalue < 0.01


@pytest.mark.parametrize("name", TWINS)
def test_a_model_stands_beside_the_recipe_and_the_curve_of_its_making(name):
    recipe = read_recipe(zoo_folder(name) / "recipe.yaml")
    assert recipe.name == name
    curve = read_curve(curve_folder(name))
    assert curve["step"][-1] == recipe.steps
    assert curve["tokens"] == sorted(curve["tokens"])


@pytest.mark.parametrize("name", sorted({*curves()} - {*adapted()}))
def test_a_curve_counts_the_tokens_of_its_recipes_training_batches(name, monkeypatch, tmp_path):
    """What a task is asked by default may change; the recipe beside the weights must go on saying what they learnt."""
    monkeypatch.setattr("probe.training.batches.EXAMPLES", 64)  # enough: all are of one length
    recipe = read_recipe(curve_folder(name) / "recipe.yaml")
    curve = read_curve(curve_folder(name))
    words = vocabulary.shipped() if recipe.text is None else load_tokenizer(CHARACTERS, "")
    batches = TrainingBatches(
        recipe, named(recipe.paradigm)(mask_id=0, **recipe.paradigm_settings()), words, mask_id=0, cache=tmp_path
    )
    logged = int(curve["step"][0])
    assert sum(batches[step].canvas.tokens.numel() for step in range(logged)) == curve["tokens"][0]


@pytest.mark.parametrize("name", TWINS)
def test_a_card_says_how_well_it_answers_each_task_and_how_it_was_made(name):
    text = (zoo_folder(name) / CARD).read_text()
    rows = re.findall(r"^\| ([\w:-]+) \| ([\d.]+) \[[\d.]+, [\d.]+\] of (\d+) \|", text, re.M)
    assert [row[0] for row in rows] == (list(TASKS) if name in ASKED else ["zoo:moby-dick"])
    made = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.S).group(1))
    assert made == yaml.safe_load((zoo_folder(name) / "recipe.yaml").read_text())


def test_snapshots_are_what_a_model_was_on_its_way():
    kept = snapshots("masked")
    assert kept == [f"masked@{step}" for step in read_recipe(zoo_folder("masked") / "recipe.yaml").snapshots]
    first = probe.load(f"zoo:{kept[0]}", selftest="off")
    assert first.paradigm.name == "masked"
    with pytest.raises(probe.ProbeError, match=r"zoo:masked@7.*snapshot"):
        probe.load("zoo:masked@7")


@pytest.mark.parametrize("name", DIFFUSION)
def test_both_twins_of_each_pair_solve_a_pool_of_every_task(name):
    found = re.findall(r"\| (\d+) of (\d+) \|$", (zoo_folder(name) / CARD).read_text(), re.M)
    assert len(found) == len(TASKS)
    assert all(int(both) >= POOL for both, _ in found)


def test_the_pool_is_there_as_the_card_says():
    batch = probe.task("sudoku").batch(probe.load_pair("zoo:masked", controls=False), POOL)
    both, tried = re.search(
        r"^\| sudoku .*\| (\d+) of (\d+) \|$", (zoo_folder("masked") / CARD).read_text(), re.M
    ).groups()
    assert len(batch) == POOL
    assert batch.selection_rate == pytest.approx(int(both) / int(tried))


def test_a_claim_that_is_not_known_is_refused_with_the_nearest(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["twinprobe", "claims", "horizon"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "horizons" in capsys.readouterr().err


@pytest.mark.parametrize("name", adapted())
def test_a_real_twin_is_adapters_for_a_base_that_is_fetched(name):
    """What can be told of it without its base; `twinprobe check` asks the rest."""
    recipe, declared = (
        read_recipe(zoo_folder(name) / "recipe.yaml"),
        json.loads((zoo_folder(name) / OWN_ENTRY).read_text("utf-8")),
    )
    assert (recipe.name, declared["name"], declared["base"]) == (name, name, recipe.start)
    assert declared["base"].removeprefix("zoo:") in FETCHED
    assert declared["paradigm"] == recipe.paradigm
    assert declared.get("controls", {}) == recipe.controls
    assert {control.removeprefix("zoo:") for control in recipe.controls.values()} <= {*adapted()}
    assert read_curve(curve_folder(name))["step"][-1] == recipe.steps
    assert recipe.lora is not None
    with safe_open(zoo_folder(name) / "adapters.safetensors", "pt") as held:
        shapes = {key: held.get_slice(key).get_shape() for key in held.keys()}  # noqa: SIM118  (it is no mapping)
    assert {shape[0] for key, shape in shapes.items() if key.endswith(".down")} == {recipe.lora.rank}
    assert len(shapes) == 1 + 30 * 7 * 4  # the mask's row; of each of the base's matrices two factors with their scales


def test_a_kept_study_is_read_back():
    for name in studies():
        measured = {Result.open(file).name for file in study(name)}
        assert {"answers", "front_loading", "circuit_overlap"} <= measured
    with pytest.raises(CheckpointError, match="smollm2"):
        study("smolm2")
