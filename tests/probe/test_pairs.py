"""Pairs: twins that can be compared, and every other two models refused."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import probe
from probe.errors import CheckpointError, ProbeError
from probe.models.model import Model
from probe.pairs import Pair, TwoAutoregressiveWarning, load_pair
from probe.paradigms import Autoregressive, Block, Masked
from tests.probe import toy_language
from tests.probe.tiny import MASK, VARIANTS, backbone_of, model_of, tokens_of, write_stock


@pytest.fixture
def places(tmp_path):
    """An AR model, its masked twin, which says so, and a control."""
    folders = {
        name: write_stock(tmp_path / name, backbone_of("llama", seed=i))
        for i, name in enumerate(("ar", "twin", "more"))
    }
    own = {"name": "twin", "paradigm": "masked", "mask_id": MASK, "ar": str(folders["ar"])}
    (folders["twin"] / "twinprobe.json").write_text(json.dumps({**own, "controls": {"ar-cpt": str(folders["more"])}}))
    return folders


def refused(*models: Model, **how) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        Pair(*models, **how)
    return caught.value


def test_a_twin_that_names_its_ar_model_and_controls(places):
    pair = load_pair(str(places["twin"]), tokenizer=False)
    assert (pair.ar.paradigm.name, pair.diffusion.paradigm.name) == ("autoregressive", "masked")
    assert list(pair.controls) == ["ar-cpt"]
    assert list(pair.models) == ["ar", "diffusion", "ar-cpt"]
    assert pair.vocabulary == 48
    assert load_pair(places["twin"], tokenizer=False, controls=False).controls == {}


@pytest.mark.parametrize("role", ["ar", "diffusion"])
def test_a_control_cannot_take_the_place_of_a_twin(places, role):
    """`models` is by role: a control called "ar" would be shown, and measured, as the AR model."""
    own = json.loads((places["twin"] / "twinprobe.json").read_text())
    (places["twin"] / "twinprobe.json").write_text(json.dumps({**own, "controls": {role: str(places["more"])}}))
    with pytest.raises(ProbeError, match=f"names other than those of the twins.*'{role}'"):
        load_pair(places["twin"], tokenizer=False)


def test_whoever_is_autoregressive_can_be_shown_the_twin_s_canvas(places):
    pair = load_pair(places["twin"], tokenizer=False)
    assert [model.mask_id for model in pair.models.values()] == [MASK] * 3
    canvas = pair.diffusion.canvas(tokens_of(2, 7, masked=0.4))
    assert all(torch.isfinite(model.run(canvas)).all() for model in pair.models.values())


def test_two_places(places):
    pair = load_pair(
        (places["ar"], places["more"]), tokenizer=False, paradigm="block", mask_id=MASK, attention="block:2"
    )
    assert (pair.ar.paradigm.name, pair.ar.paradigm.attention, pair.ar.shift) == ("autoregressive", "causal", True)
    assert pair.diffusion.paradigm == Block(mask_id=MASK, attention="block:2")
    assert str(places["ar"]) in pair.name


def test_what_is_said_of_the_twin_is_not_said_of_its_ar_model(places):
    pair = load_pair(places["twin"], tokenizer=False, shift=False, attention="block:3")
    assert (pair.diffusion.shift, pair.diffusion.paradigm.attention) == (False, "block:3")
    assert {(model.shift, model.paradigm.attention) for model in (pair.ar, pair.controls["ar-cpt"])} == {
        (True, "causal")
    }


@pytest.mark.parametrize("places", [("a",), ("a", "b", "c"), ()])
def test_a_pair_is_two_places(places):
    with pytest.raises(ProbeError) as caught:
        load_pair(places)
    assert caught.value.found == str(len(places))
    assert "(AR, DIFFUSION)" in caught.value.remedy


def test_a_model_without_a_known_twin(places):
    with pytest.raises(ProbeError) as caught:
        load_pair(places["ar"], tokenizer=False)
    assert caught.value.found == "no AR twin declared for it"
    assert "load_pair((AR, DIFFUSION))" in caught.value.remedy


def test_a_twin_whose_ar_model_is_not_there(places):
    own = json.loads((places["twin"] / "twinprobe.json").read_text())
    (places["twin"] / "twinprobe.json").write_text(json.dumps({**own, "ar": "./nowhere/at/all"}))
    with pytest.raises(CheckpointError, match="nowhere"):
        load_pair(places["twin"], tokenizer=False)


def test_the_ar_model_comes_first():
    error = refused(model_of(paradigm=Masked(mask_id=MASK)), model_of(paradigm=Autoregressive()))
    assert error.found == "a masked model first"


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"num_hidden_layers": 3}, "3 layers"),
        ({"num_key_value_heads": 1}, "(1 for keys and values)"),
        ({"hidden_size": 64}, "d 64"),
        ({"num_attention_heads": 2}, "2 heads"),
    ],
)
def test_unlike_shapes(other, told):
    ar = model_of("llama-gqa")
    unlike = Model(backbone_of("llama", **other), Masked(mask_id=MASK))
    assert told in refused(ar, unlike).found
    assert told in refused(ar, model_of(paradigm=Masked(mask_id=MASK)), controls={"x": unlike}).found


def test_unlike_architectures():
    assert "qwen2, 2 layers" in refused(model_of("llama-gqa"), model_of("qwen2", Masked(mask_id=MASK))).found


@pytest.mark.parametrize("variant", VARIANTS)
def test_twins_of_every_architecture(variant):
    pair = Pair(model_of(variant, Autoregressive()), model_of(variant, Masked(mask_id=MASK), seed=1))
    assert pair.ar.mask_id == MASK


def words(*vocabulary: str, mask: str | None = None) -> PreTrainedTokenizerFast:
    ids = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=vocabulary[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {} if mask is None else {"mask_token": mask}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=vocabulary[0], **special)


def with_words(tokenizer, paradigm) -> Model:
    return Model(backbone_of("llama"), paradigm, tokenizer)


def test_unlike_vocabularies():
    ar = with_words(words("?", "a", "b", "c"), Autoregressive())
    for other in (words("?", "b", "a", "c"), words("?", "x", "y", "z")):  # exchanged, and nothing in common
        error = refused(ar, with_words(other, Masked(mask_id=MASK)))
        assert error.expected == "one vocabulary"
        assert "1 being 'a' and" in error.found


def test_a_twin_may_have_its_mask_and_further_words():
    ar = with_words(words("?", "a", "b"), Autoregressive())
    masked = Masked(mask_id=4)
    pair = Pair(ar, with_words(words("?", "a", "b", "c", "[MASK]", mask="[MASK]"), masked))
    assert pair.tokenizer is ar.tokenizer


def test_a_row_more_for_the_mask():
    """DiffuGPT-m: the mask is a row that the AR model does not have."""
    ar = Model(backbone_of("gpt2"), Autoregressive())
    twin = Model(backbone_of("gpt2", vocab_size=49), Masked(mask_id=48))
    pair = Pair(ar, twin)
    assert (pair.vocabulary, pair.ar.mask_id) == (48, None)


def test_a_pair_that_speaks(folders, tmp_path, speakers):
    own = tmp_path / "masked"
    toy_language.write(own, speakers["masked"])
    declared = json.loads((own / "twinprobe.json").read_text())
    (own / "twinprobe.json").write_text(json.dumps({**declared, "ar": str(folders["ar"])}))
    pair = probe.load_pair(own)
    assert not any(model.selftests.failed for model in pair.models.values())
    tokens = pair.ar.encode("subject1 adverb2 verb1")
    assert pair.tokenizer.decode(pair.ar.logits(tokens)[0, -1].argmax()) in ("object2", "oh", "well")


def test_pairs_share_their_ar_model_and_controls(places):
    one, other = (load_pair(places["twin"], tokenizer=False) for _ in range(2))
    assert one.ar is other.ar
    assert one.controls["ar-cpt"] is other.controls["ar-cpt"]
    assert one.diffusion is not other.diffusion


def test_a_model_that_was_changed_is_not_shared(places):
    one = load_pair(places["twin"], tokenizer=False)
    with torch.no_grad():
        next(one.ar.backbone.parameters()).mul_(2)
    other = load_pair(places["twin"], tokenizer=False)
    assert one.ar is not other.ar
    assert one.controls["ar-cpt"] is other.controls["ar-cpt"]


def test_other_files_or_another_mask_are_another_model(places):
    one = load_pair(places["twin"], tokenizer=False)
    other = load_pair(places["twin"], tokenizer=False, mask_id=MASK - 1)
    assert one.ar is not other.ar
    assert (one.ar.mask_id, other.ar.mask_id) == (MASK, MASK - 1)
    write_stock(places["ar"], backbone_of("llama", seed=9))
    assert load_pair(places["twin"], tokenizer=False).ar is not one.ar


def test_two_ar_models_are_asked_about(places):
    with pytest.warns(TwoAutoregressiveWarning, match="paradigm='masked'"):
        load_pair((places["ar"], places["more"]), tokenizer=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TwoAutoregressiveWarning)
        load_pair((places["ar"], places["more"]), tokenizer=False, paradigm="autoregressive")
        load_pair((places["ar"], places["twin"]), tokenizer=False)
