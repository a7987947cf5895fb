"""docs/how_to/add_a_paradigm.md, run: a paradigm that a package declares is loaded, asked, recorded, decoded,
attributed and put into a job, and no file of the project knows its name."""

from __future__ import annotations

import shutil

import pytest
import torch

import probe
from analyses.lens.training import answering
from probe.decoding import Sampler, writer_of
from probe.errors import ProbeError
from probe.jobs import parse_spec
from probe.jobs.run.runner import run_job as run
from probe.paradigms import INSTALLED, PARADIGMS, Masked, named
from probe.readings import reading_for
from probe.training.recipe import Recipe
from probe.zoo import zoo_folder
from tests import how_to

PAGE = "add_a_paradigm.md"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The page's package, installed, and its twin, in the folder that the page names."""
    folder = tmp_path_factory.mktemp("package")
    with pytest.MonkeyPatch.context() as monkeypatch:
        how_to.install(PAGE, folder, monkeypatch)
        shutil.copytree(zoo_folder("masked"), folder / "my-twin")
        (folder / "my-twin" / "twinprobe.json").write_text(how_to.blocks(PAGE, "json")[0])
        monkeypatch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def made(package):
    return how_to.used(PAGE)


def test_it_is_found_by_the_name_that_its_package_gave_it(package):
    assert list(INSTALLED) == [*PARADIGMS, "backwards"]
    assert named("backwards")().attention == "full"


def test_it_is_loaded_as_declared_and_paired(made):
    model = made["pair"].diffusion
    assert (model.paradigm.name, model.mask_id, model.shift) == ("backwards", 2, True)
    assert made["pair"].twins
    assert not model.selftests.failed


def test_it_writes_by_its_own_writer(made):
    written = made["run"]
    assert written.sampler == "from the end"
    assert written.committed_at[0].tolist()[-2:] == [1, 0]
    one = probe.decode(made["pair"].diffusion, made["batch"].clean[0, :-2], 2)
    assert torch.equal(one.tokens, written.tokens[0])
    assert writer_of(made["pair"].diffusion).most_passes(Sampler(), 2) == 2


def test_it_is_asked_only_what_it_can_say(made):
    """The answer to countdown is several tokens: the first one can be said when all behind it are written."""
    model = made["pair"].diffusion
    batch = probe.task("countdown").examples(model, 2)
    view = probe.readings.named("trajectory").view(model, batch)
    answer = batch.positions["answer"][:, 0][view.example]
    behind = torch.arange(batch.clean.shape[1]) > answer[:, None]
    assert not (view.hidden & behind).any()
    assert len(view.hidden) == len(batch)
    assert reading_for(model, "prefix").name == "prefix"
    assert answering(model, batch.clean, view).any(1).all()


def test_it_learns_what_it_can_say(package):
    paradigm = named("backwards")(mask_id=2)
    tokens = torch.arange(10, 30).view(2, 10)
    batch = paradigm.training_batch(tokens, torch.Generator().manual_seed(0))
    assert (batch.labels >= 0).sum(1).tolist() == [1, 1]  # one a text
    recipe = {"name": "t", "start": "zoo:ar", "tasks": {"ioi": 1.0}, "steps": 1, "paradigm": "backwards"}
    assert Recipe.model_validate(recipe).paradigm_settings() == {}
    with pytest.raises(ProbeError, match="backwards"):
        named("backward")
    with pytest.raises(ValueError, match="'weighting' is the masked and the block paradigm's"):
        Recipe.model_validate({**recipe, "weighting": "1/t"})
    with pytest.raises(ValueError, match="'settings'"):
        Recipe.model_validate({**recipe, "settings": {"no such": 1}})


def test_its_circuit_is_attributed(made):
    assert len(made["circuit"].edges)
    assert made["circuit"].edges["score"].notna().all()
    assert made["trace"]["resid_post"].sizes["layer"] == 6


def test_a_job_over_its_pair_is_done(package):
    spec = parse_spec(how_to.blocks(PAGE, "yaml")[0])
    summary = run(spec)
    assert summary.state == "complete", summary
    assert summary.report.is_file()


def test_a_subclass_writes_as_its_parent_does():
    class Mine(Masked):
        name = "mine"

    model = probe.load("zoo:masked", paradigm=Mine(mask_id=2))
    assert probe.decode(model, torch.tensor([5, 6, 7]), 2).sampler == "confidence"
