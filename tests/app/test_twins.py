"""Which twins can be chosen: those that are shipped, and those in the folders that the app was started with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from app import selection
from probe import zoo


def made(folder: Path, **declared: object) -> Path:
    """A twin of one's own: the shipped masked one, with other declarations."""
    shutil.copytree(zoo.zoo_folder("masked"), folder, ignore=shutil.ignore_patterns("snapshots"))
    own = folder / "twinprobe.json"
    own.write_text(json.dumps({**json.loads(own.read_text()), "controls": {}, **declared}))
    return folder


@pytest.fixture
def started(tmp_path, monkeypatch) -> Path:
    """The app is started with `mine`; `secret` lies beside it."""
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr("sys.argv", ["main.py", str(tmp_path / "mine")])
    return tmp_path


def test_the_shipped_twins_are_offered_and_their_controls_are_not(started):
    assert selection.pairs()[0] == "zoo:masked"
    assert {"zoo:fluid", "zoo:flow"} <= set(selection.pairs())
    assert not {"zoo:ar", "zoo:masked-seed2", "zoo:ar-cpt"} & set(selection.pairs())


def test_a_twin_in_the_folder_is_offered_and_one_beside_it_is_not(started):
    mine = made(started / "mine" / "twin")
    secret = made(started / "secret")
    (started / "mine" / "link").symlink_to(secret, target_is_directory=True)
    assert [name for name in selection.pairs() if not name.startswith("zoo:")] == [str(mine)]


def test_a_twin_whose_ar_model_lies_elsewhere_is_not_offered(started):
    made(started / "mine" / "twin", ar=str(made(started / "secret")))
    made(started / "mine" / "controlled", controls={"seed": str(started / "secret")})
    assert all(name.startswith("zoo:") for name in selection.pairs())


def test_twins_of_the_catalog_are_offered_only_where_both_are_in_the_cache(monkeypatch):
    from probe.models.catalog import entries

    row = next(row for row in entries() if row.ar and "/" in row.name)
    here = {row.name}
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda name, _: "config.json" if name in here else None
    )
    selection.cataloged.cache_clear()
    assert selection.cataloged() == ()
    here.add(str(row.ar))
    selection.cataloged.cache_clear()
    assert row.name in selection.cataloged()
    selection.cataloged.cache_clear()


def test_the_real_twins_are_offered_where_they_and_their_base_are(tmp_path, monkeypatch):
    entry = selection.Source("zoo:masked").entry
    assert entry is not None
    monkeypatch.setattr(zoo, "adapted", lambda: ["real"])
    monkeypatch.setattr(selection, "Source", lambda name: type("Told", (), {"entry": entry}))
    for fetched in (False, True):
        monkeypatch.setattr(selection, "_fetched", lambda here=fetched: here)
        selection.shipped.cache_clear()
        assert ("zoo:real" in selection.shipped()) == fetched
    selection.shipped.cache_clear()
