"""Text in, and everything shows itself: what someone sees who comes from TransformerLens to a notebook."""

from __future__ import annotations

import warnings
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

import probe
from probe.models.unknown_words import UnknownWordWarning

PROMPT = "subject1 adverb2 verb1"
WAYS = ["ar", "masked", "block", "fluid"]


@pytest.mark.parametrize("way", WAYS)
def test_a_model_is_recorded_on_a_text(speakers, way):
    model = speakers[way]
    trace, by_ids = probe.record(model, PROMPT), probe.record(model, model.encode(PROMPT), "resid_post")
    assert {"resid_post", "pattern", "logits"} <= set(trace)
    assert trace.attrs["text"] == PROMPT
    found, expected = (torch.from_numpy(one["resid_post"].values) for one in (trace, by_ids))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    two = probe.record(model, [PROMPT, "subject2 adverb1 verb2"], "resid_post", heads=None, batch_size=1)
    assert two.sizes["example"] == 2


@pytest.mark.parametrize("way", WAYS)
def test_a_model_writes_on_from_a_text(speakers, way):
    model = speakers[way]
    run, by_ids = probe.decode(model, PROMPT, 4), probe.decode(model, model.encode(PROMPT)[0], 4)
    assert torch.equal(run.tokens, by_ids.tokens)
    assert isinstance(run.text, str)
    assert repr(run).startswith(f"Trajectory({run.text!r}: 4 tokens in {run.forward_passes} passes")
    assert "a pass" in repr(run)
    both = probe.decode(model, [PROMPT, "subject2 adverb1 verb2"], 4)
    assert len(both.text) == 2
    assert both.text[0] == run.text
    assert "2 texts, the first" in repr(both)


def test_words_that_a_model_cannot_see_are_named():
    model = probe.load("zoo:masked")
    with pytest.warns(UnknownWordWarning, match=r"does not know .*'capital'.*'France'.*\[UNK\]"):
        run = probe.decode(model, "The capital of France is", 2)
    assert run.tokens.dim() == 1
    with pytest.warns(UnknownWordWarning, match="'Zorro'"):
        probe.record(model, "When Luke and Zorro went to the", "resid_post")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownWordWarning)
        probe.record(model, "When Luke and Keith went to the", "resid_post")


def test_an_argument_that_record_lacks_is_named(speakers):
    with pytest.raises(TypeError, match=r"no argument 'batchsize'.*batch_size"):
        probe.record(speakers["ar"], PROMPT, batchsize=3)


class Tags(HTMLParser):
    """The tags of a page, and its text; a frame is a page of its own, whose scripts hold what it draws."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.framed: list[Tags] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.framed += [Tags(page) for name, page in attrs if name == "srcdoc"]

    def handle_data(self, data):
        self.text += data


def shown(thing) -> str:
    """What a notebook shows of it, as text; refused where it has other tags than a table's."""
    assert "\n" not in repr(thing)
    assert len(repr(thing)) < 400
    found = Tags(thing._repr_html_())
    assert found.tags <= {"table", "caption", "tr", "th", "td", "iframe"}
    for frame in found.framed:
        assert frame.tags <= {"meta", "style", "script", "div"}
    # In a view's JSON no character stands that could end a script.
    spelt = [frame.text.replace("\\u003c", "<").replace("\\u003e", ">") for frame in found.framed]
    return "".join([found.text, *spelt])


BAD = "<script>alert(1)</script>"


def test_everything_shows_itself_in_one_line_and_a_table():
    pair = probe.load_pair("zoo:masked", controls=False)
    batch = probe.task("ioi").batch(pair, 4, seed=0)
    run = probe.decode(pair.diffusion, "When Luke and Keith went to the", 3)
    assert "masked, full attention" in shown(pair.diffusion)
    assert "autoregressive" in shown(pair)
    assert repr(batch).startswith("Batch(ioi: 4 examples")
    assert "tokens in 3 passes" in shown(run)
    text = shown(batch)
    assert "clean" in text
    assert "target" in text


def test_names_and_tokens_are_never_markup(speakers):
    model = speakers["masked"]
    run = probe.decode(model, PROMPT, 2)
    before = model.name
    model.name = BAD
    try:
        assert BAD in shown(model)
        assert BAD in shown(probe.Pair(speakers["ar"], model, name=BAD))
    finally:
        model.name = before
    assert BAD in shown(replace(run, sampler=BAD))

    class Spells:
        def decode(self, tokens):
            return BAD

    assert shown(replace(run, tokenizer=Spells())).count(BAD) >= 2
    batch = probe.task("ioi").examples(probe.load("zoo:ar"), 2)
    odd = replace(batch, task=BAD, spelling=dict.fromkeys(range(10_000), BAD))
    assert shown(odd).count(BAD) > 2
