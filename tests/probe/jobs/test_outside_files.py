"""Whatever a file from outside holds: an answer that names it, at once, and no traceback."""

from __future__ import annotations

import json
import time
from typing import Any

import pandas as pd
import pytest

from probe.errors import ProbeError
from probe.jobs.report.contents import contents
from probe.jobs.report.render import markdown
from probe.jobs.run_folder import checked_figure, open_run
from probe.jobs.spec.file import SpecError, parse_spec, read_spec
from tests.probe.jobs.asked import text_of
from tests.probe.jobs.made_up import write_run

DEEP_JSON, LONG = "[" * 100_000, "9" * 5_000


@pytest.mark.parametrize(
    "text",
    [
        DEEP_JSON,
        f"seeds: {DEEP_JSON}",
        "a: " * 5_000,
        f"seeds: [{LONG}]",
        "name: 2020-13-45",
        "seeds: [2020-01-01]",
        "name: \ud800",
        "pairs: [\x00]",
        "? [a, b]\n: c",
        "budget: {examples: .nan}",
        "budget: {examples: 1e400}",
    ],
    ids=range(11),
)
def test_a_spec_of_any_form_is_answered(text):
    with pytest.raises(SpecError):
        parse_spec(text)


@pytest.mark.parametrize(
    "path", ["a" * 300, "a" * 300 + ".yaml", "a/" * 3_000 + "b.yaml", "with\x00null", "\ud800.yaml"]
)
def test_a_path_of_any_form_is_answered(path):
    with pytest.raises(ProbeError):
        read_spec(path)


@pytest.mark.parametrize(
    ("key", "count"), [("seeds", 20_000), ("seeds", 5_000), ("keys", 30_000), ("keys", 3_000), ("tasks", 3_000)]
)
def test_a_spec_of_thousands_of_faults_is_answered_at_once(tmp_path, key, count):
    if key == "keys":
        text = text_of(tmp_path) + "".join(f"key{number}: 1\n" for number in range(count))
    else:
        text = text_of(tmp_path, **{key: [*range(count), 0] if key == "seeds" else [f"t{n}" for n in range(count)]})
    before = time.process_time()
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert time.process_time() - before < 4  # under 2 on a machine that does nothing else
    assert len(caught.value.faults) <= 21


WRONG: list[Any] = [None, 7.5, "word", [1], {"a": {"b": []}}]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_manifest_with_values_of_any_type_is_shown_or_told(tmp_path, value):
    """Each value in turn in place of each key of the manifest, and of each key of a unit."""
    folder = write_run(tmp_path / "run", failed=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    few = [manifest["units"][0], manifest["units"][-1]]
    changed = [{**manifest, "units": few, key: value} for key in manifest]
    changed += [{**manifest, "units": [{**unit, key: value} for unit in few]} for key in few[0]]
    for one in changed:
        (folder / "manifest.json").write_text(json.dumps(one))
        try:
            markdown(contents(open_run(folder)))
        except ProbeError:
            continue


@pytest.mark.parametrize("text", [DEEP_JSON, f'{{"units": {LONG}}}', "\ud800", '{"units": NaN}', ""], ids=range(5))
def test_a_manifest_of_any_form_is_told(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", errors="surrogatepass"))
    with pytest.raises(ProbeError):
        open_run(tmp_path)


@pytest.mark.parametrize(
    "figure",
    [
        {"data": 3},
        {"data": [3]},
        {"layout": []},
        {"data": [], "layout": {"images": [{"source": "https://example.org/seen.png"}]}},
        {"data": [{"type": "image", "source": "https://example.org/seen.png"}]},
        {"data": [{"type": "scattermapbox"}]},
    ],
    ids=range(6),
)
def test_a_figure_that_would_fetch_something_is_refused(tmp_path, figure):
    with pytest.raises(ProbeError):
        checked_figure(tmp_path / "figure.json", figure)


def test_a_table_whose_words_are_no_mapping_is_told(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    from probe.jobs.run_folder import read_result

    table = pa.Table.from_pandas(pd.DataFrame({"estimate": [1.0]})).replace_schema_metadata({b"twinprobe": b"[]"})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ProbeError, match="words"):
        read_result(tmp_path / "a.parquet")
