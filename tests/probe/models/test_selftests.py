"""Each self-test passes what is right, catches its own fault at load, and says "not run" where it cannot tell."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace

import pytest
import torch

import probe
from probe.errors import SelfTestError
from probe.models import loading, selftests
from probe.models.catalog import OWN_ENTRY, Entry
from probe.models.layout import LAYOUTS
from probe.models.model import Model
from probe.models.selftests import COMPUTED, FAIL, LOOKED_UP, NOT_RUN, PASS, language, run_selftests
from probe.models.selftests.streams import streams
from probe.paradigms import Autoregressive, Block, Fluid, Masked, visibility
from probe.zoo import shipped, zoo_folder
from tests.probe import toy_language
from tests.probe.tiny import MASK, VARIANTS, backbone_of, model_of, write_stock
from tests.probe.toy_language import MASK_ID, SPECIAL, WORDS

SPEAKERS = ("ar", "masked", "masked_noshift", "block", "fluid", "masks_last")
LANGUAGE = ("attention on text", "shift")


def outcomes(model: Model) -> dict[str, str]:
    return {finding.test: finding.outcome for finding in model.selftests.findings}


def refused(folder, **how) -> SelfTestError:
    with pytest.raises(SelfTestError) as caught:
        probe.load(folder, **how)
    return caught.value


@pytest.mark.parametrize("name", SPEAKERS)
def test_what_is_declared_right_passes_every_test_that_can_be_run(name, folders):
    model = probe.load(folders[name])
    assert set(outcomes(model)) == {*LOOKED_UP, *COMPUTED}
    cannot = {"mask token"} if name == "ar" else set()  # it has none
    assert {test for test, outcome in outcomes(model).items() if outcome != PASS} == cannot


@pytest.mark.parametrize("name", SPEAKERS)
def test_a_wrong_shift_is_refused(name, folders):
    declared = json.loads((folders[name] / "twinprobe.json").read_text())["shift"]
    error = refused(folders[name], shift=not declared)
    assert "shift: " in error.found
    assert ("the slot before" if not declared else "its own slot") in error.expected


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("ar", "full"), ("masked", "causal"), ("masked_noshift", "causal"), ("block", "full"), ("fluid", "full")],
)
def test_a_wrong_attention_is_refused(name, wrong, folders):
    error = refused(folders[name], attention=wrong)
    assert "attention on text: " in error.found
    assert f"text predicted best under {wrong} attention" in error.expected


def test_a_causal_model_declared_as_masked_diffusion_is_refused(folders):
    error = refused(folders["ar"], paradigm="masked", mask_id=MASK_ID)
    assert "attention on text: " in error.found
    assert "full attention" in error.expected


def test_a_masked_model_declared_autoregressive_is_refused(folders):
    assert "attention on text: " in refused(folders["masked"], paradigm="autoregressive").found


@pytest.mark.parametrize(
    ("mask_id", "told"),
    [
        (len(SPECIAL) + len(WORDS), "outside the embedding"),
        (-1, "outside the embedding"),
        (len(SPECIAL) + 3, "stands in the sample text"),
    ],
)
def test_a_wrong_mask_id_is_refused(mask_id, told, folders):
    error = refused(folders["masked"], mask_id=mask_id)
    assert "mask token: " in error.found
    assert told in error.found


def test_a_mask_that_is_a_word_of_text_is_refused_unless_it_is_declared_as_one(speakers, tmp_path):
    folder = toy_language.write(tmp_path / "worded", speakers["masked"])
    own = json.loads((folder / "twinprobe.json").read_text())
    silent = len(SPECIAL) + WORDS.index("oh")
    own |= {"mask_id": silent, "sample": [" ".join(f"subject{i % 6}" for i in range(24))]}
    (folder / "twinprobe.json").write_text(json.dumps(own))
    error = refused(folder)
    assert "the text 'oh'" in error.found
    (folder / "twinprobe.json").write_text(json.dumps({**own, "mask_is_text": True}))
    assert "an ordinary token, as declared" in probe.load(folder).selftests["mask token"].found


def test_a_special_token_that_is_not_the_tokenizer_s_own_mask_is_refused(speakers, tmp_path):
    folder = toy_language.write(tmp_path / "other", speakers["masked"])
    own = json.loads((folder / "twinprobe.json").read_text())
    other = next(number for number in range(len(SPECIAL)) if number != MASK_ID)
    (folder / "twinprobe.json").write_text(json.dumps({**own, "mask_id": other}))
    assert f"{other}, while the tokenizer's own mask is {MASK_ID}" in refused(folder).found


def test_a_diffusion_model_without_a_mask_is_refused(tmp_path):
    error = refused(write_stock(tmp_path / "m", backbone_of("llama")), paradigm="masked", tokenizer=False)
    assert "mask token: none declared" in error.found


@pytest.mark.parametrize("name", SPEAKERS)
def test_a_boolean_mask_is_refused(name, folders, monkeypatch):
    monkeypatch.setattr(visibility, "additive", lambda allowed, dtype=None: allowed[:, None])
    error = refused(folders[name])
    assert "kernels: attention of" in error.found
    assert "exactly 0 where forbidden" in error.expected


def test_a_mask_that_is_not_handed_over_is_refused(folders, monkeypatch):
    def forgotten(allowed, dtype=torch.float32):
        return torch.zeros(allowed.shape, dtype=dtype)[:, None]

    monkeypatch.setattr(visibility, "additive", forgotten)
    error = refused(folders["ar"])
    assert all(f"{test}: " in error.found for test in ("wiring", "attention reach", "kernels"))


def test_a_backbone_that_stays_causal_under_full_attention_is_refused(folders, monkeypatch):
    """As a GPT-2 of old does, whose own triangle is added to every mask."""
    right = visibility.additive

    def with_a_triangle_of_its_own(allowed, dtype=torch.float32):
        return right(allowed & torch.ones_like(allowed).tril(), dtype)

    monkeypatch.setattr(visibility, "additive", with_a_triangle_of_its_own)
    error = refused(folders["masked"])
    assert "move with nothing that they see after them" in error.found


@pytest.mark.parametrize("spoilt", [0.0, 1e-3, 2.0, float("nan")])
def test_a_spoilt_inv_freq_is_refused(spoilt, folders, monkeypatch):
    right = loading.load_backbone

    def with_spoilt_frequencies(*how):
        backbone = right(*how)
        backbone.model.rotary_emb.inv_freq[1:] *= spoilt if spoilt != 1e-3 else 1 + spoilt
        return backbone

    monkeypatch.setattr(loading, "load_backbone", with_spoilt_frequencies)
    error = refused(folders["ar"])
    assert "rotary: " in error.found
    assert "10000^(-2i/12)" in error.expected


def test_a_rope_base_that_gets_lost_on_the_way_is_refused(tmp_path, monkeypatch):
    """The formula takes its base from config.json, not from the configuration that was made of it."""
    folder = write_stock(tmp_path / "m", backbone_of("llama", rope_parameters={"rope_theta": 5e5}))
    right = loading.load_backbone

    def with_the_default_base(checkpoint, published, *how):
        published_config = checkpoint.config.pop("rope_parameters")
        backbone = right(checkpoint, published, *how)
        checkpoint.config["rope_parameters"] = published_config
        return backbone

    monkeypatch.setattr(loading, "load_backbone", with_the_default_base)
    error = refused(folder, tokenizer=False)
    assert "500000^(-2i/8)" in error.expected


def test_weights_that_are_not_finite_are_refused(tmp_path):
    backbone = backbone_of("llama")
    backbone.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    error = refused(write_stock(tmp_path / "m", backbone), tokenizer=False)
    assert all(f"{test}: " in error.found for test in ("wiring", "attention reach", "kernels"))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "paradigm",
    [
        Autoregressive(mask_id=MASK),
        Masked(mask_id=MASK),
        Block(mask_id=MASK, shift=False),
        Block(mask_id=MASK, attention="block:1"),
        Masked(mask_id=MASK, shift=False, attention="masks_last"),
        Fluid(mask_id=MASK),
    ],
    ids=lambda paradigm: f"{paradigm.name} {paradigm.attention}",
)
def test_what_needs_no_language_passes_on_random_weights_of_every_architecture(variant, paradigm):
    model = model_of(variant, paradigm)
    model.selftests = run_selftests(model)
    found = outcomes(model)
    assert [found[test] for test in ("wiring", "attention reach", "kernels")] == [PASS] * 3
    assert found["rotary"] == (NOT_RUN if variant == "gpt2" else PASS)
    assert [found[test] for test in LANGUAGE] == [NOT_RUN] * 2  # no tokenizer, so no text


@pytest.mark.parametrize("tied", [False, True])
def test_random_weights_never_pass_nor_fail_a_test_of_language(tied, speakers):
    """Behind every mask they put one and the same guess, which can favour either way of reading by accident."""
    tokenizer = speakers["ar"].tokenizer
    entry = Entry(name="toy", paradigm="masked", sample=tuple(toy_language.sample()))
    for seed in range(5):
        backbone = backbone_of("llama", seed=seed, vocab_size=len(tokenizer), tie_word_embeddings=tied)
        for paradigm in (Masked(mask_id=MASK_ID), Masked(mask_id=MASK_ID, shift=False), Autoregressive()):
            model = Model(backbone, paradigm, tokenizer, entry=entry)
            tests = run_selftests(model)
            for name in LANGUAGE:
                finding = tests[name]
                assert finding.outcome == NOT_RUN, (seed, paradigm, finding)
                assert "chance" in finding.found


def test_a_pass_that_both_tests_of_language_read_is_made_once(folders, monkeypatch):
    model = probe.load(folders["masked"], selftest="off")
    passes, right = [], Model.run_trunk

    def counted(self, canvas):
        passes.append(len(canvas.tokens))
        return right(self, canvas)

    monkeypatch.setattr(Model, "run_trunk", counted)
    text = language.hidden_text(model)
    assert not isinstance(text, str)
    with torch.no_grad():
        together = [language.attention_on_text(model, text), language.shift(model, text)]
        assert len(passes) == 2  # under full attention and under the causal one
        alone = [test(model, language.hidden_text(model)) for test in (language.attention_on_text, language.shift)]
    assert together == alone


def test_a_language_that_the_model_does_not_know_is_not_judged(folders):
    model = probe.load(folders["masked"], selftest="off")
    model.entry = None  # the English sample, every word of which is unknown
    tests = run_selftests(model)
    assert [tests[name].outcome for name in LANGUAGE] == [NOT_RUN] * 2
    assert "not in this model's vocabulary" in tests["shift"].found


@pytest.mark.parametrize("sample", ["", "oh", "oh well oh"])
def test_a_sample_too_short_to_hide_anything_in(sample, folders):
    model = probe.load(folders["masked"], selftest="off")
    model.entry = Entry(name="toy", paradigm="masked", sample=(sample,))
    tests = run_selftests(model)
    assert [tests[name].outcome for name in LANGUAGE] == [NOT_RUN] * 2
    assert tests["shift"].found == "no text long enough" + language.HOW


@pytest.mark.parametrize(
    ("name", "shift"),
    [("masked", True), ("masked-noshift", False), ("text-masked", False)],
)
def test_a_shift_is_checked_in_a_copied_folder_without_a_declaration(name, shift, tmp_path):
    """The tokenizer can write the text of one of the shipped models, so that is asked."""
    folder, original = tmp_path / "copied", zoo_folder(name)
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns(OWN_ENTRY, "snapshots", "README.md"))
    declared = {"paradigm": "masked", "mask_id": json.loads((original / OWN_ENTRY).read_text())["mask_id"]}
    right = probe.load(folder, shift=shift, **declared)
    assert [right.selftests[test].outcome for test in LANGUAGE] == [PASS] * 2
    assert not right.notes
    assert "shift: " in refused(folder, shift=not shift, **declared).found


def test_what_no_text_could_check_is_told(folders, tmp_path):
    """A language of nobody else's, and no row with a sample: neither declaration is noticed, and both are told."""
    (folder := tmp_path / "bare").mkdir()
    for file in folders["masked"].iterdir():
        if file.name != OWN_ENTRY:
            shutil.copy(file, folder)
    for shift in (True, False):
        model = probe.load(folder, paradigm="masked", mask_id=MASK_ID, shift=shift)
        assert [model.selftests[test].outcome for test in LANGUAGE] == [NOT_RUN] * 2
        assert "--text FILE" in model.selftests["shift"].found
        assert "as declared, and not checked" in repr(model)
        with torch.no_grad():
            tests = run_selftests(model, sample=toy_language.sample())
        assert tests["shift"].outcome == (PASS if shift else FAIL)
    assert not probe.load(folders["masked"]).notes


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_model_is_judged_by_its_language(name):
    model = probe.load(f"zoo:{name}")
    assert [model.selftests[test].outcome for test in LANGUAGE] == [PASS] * 2


def test_a_sample_of_any_size_is_answered_at_once(folders):
    """Five million words took 40 seconds of every load."""
    model = probe.load(folders["masked"], selftest="off")
    long, short = " ".join(toy_language.sample() * 4_000), tuple(toy_language.sample())
    before = time.process_time()
    for sample in ((*short, *[long] * 20), [long] * 20, short * 50_000):
        model.entry = Entry(name="toy", paradigm="masked", sample=tuple(sample))
        assert run_selftests(model)["shift"].outcome == PASS
    assert time.process_time() - before < 5


def test_no_token_of_a_text_is_asked_for_twice():
    """Windows overlap at the end of a line, and each comes back with others of its tokens hidden."""
    texts = [torch.arange(number * 1000, number * 1000 + length) for number, length in enumerate((20, 21, 37, 70, 90))]
    tokens, asked = language._windows(texts, 20, 1000)
    hidden = tokens[asked].tolist()
    assert len(hidden) == len(set(hidden)) > 0.8 * sum(len(text) - 2 for text in texts)
    assert not asked[:, [0, -1]].any()
    assert asked.sum(1).float().mean() > 2


def test_the_depth_of_testing(folders, monkeypatch):
    assert probe.load(folders["masked"], selftest="off").selftests.findings == ()
    monkeypatch.setattr(selftests, "CHEAP", 10)
    felt = probe.load(folders["masked"])
    assert {test for test, outcome in outcomes(felt).items() if outcome == NOT_RUN} == set(COMPUTED)
    assert "twinprobe check" in felt.selftests["shift"].found
    assert outcomes(probe.load(folders["masked"], selftest="full"))["shift"] == PASS


def test_a_mask_outside_the_embedding_stops_the_forward_passes_and_says_why():
    tests = run_selftests(model_of("llama-gqa", Masked(mask_id=1000)))
    assert tests["mask token"].outcome == FAIL
    assert tests["wiring"].outcome == NOT_RUN
    assert "outside the embedding" in tests["wiring"].found


def layout_with(monkeypatch, architecture: str, **wrong: str) -> None:
    monkeypatch.setitem(LAYOUTS, architecture, replace(LAYOUTS[architecture], **wrong))


@pytest.mark.parametrize(
    ("architecture", "wrong", "told"),
    [
        ("llama", {"mlp_norm": "input_layernorm"}, "resid_pre + attn_out = resid_mid"),
        ("llama", {"output": "mlp.down_proj"}, "resid_pre + attn_out = resid_mid"),
        ("llama", {"mlp_down": "mlp.gate_proj"}, "resid_mid + mlp_out = resid_post"),
        ("llama", {"value": "self_attn.k_proj"}, "pattern · v = z"),
        ("llama", {"mlp": "mlp.act_fn", "mlp_down": "mlp.act_fn"}, "resid_mid + mlp_out = resid_post"),
        ("gpt2", {"mlp_norm": "ln_1"}, "resid_pre + attn_out = resid_mid"),
        ("qwen3", {"value": "self_attn.k_norm"}, "pattern · v = z"),
        ("qwen2", {"attention_norm": "norm", "mlp_norm": "norm"}, "no attribute"),
    ],
)
def test_a_layout_whose_streams_do_not_add_up_is_refused(architecture, wrong, told, tmp_path, monkeypatch):
    """The logits are right all the same: no other test sees it."""
    folder = write_stock(tmp_path / "m", backbone_of(architecture))
    layout_with(monkeypatch, architecture, **wrong)
    error = refused(folder, tokenizer=False)
    assert "streams: " in error.found
    assert told in error.found
    assert "wiring: " not in error.found


def test_an_architecture_with_norms_behind_its_parts_is_no_llama(tmp_path, monkeypatch):
    """OLMo 2 runs under a LLaMA's layout, module names and all, and its streams do not add up."""
    monkeypatch.setitem(LAYOUTS, "olmo2", replace(LAYOUTS["llama"], model_type="olmo2", causal_lm="Olmo2ForCausalLM"))
    monkeypatch.setitem(LAYOUTS, "olmo2", replace(LAYOUTS["olmo2"], attention_norm="post_feedforward_layernorm"))
    error = refused(write_stock(tmp_path / "m", backbone_of("olmo2")), tokenizer=False)
    assert error.found.startswith("streams: ")


@pytest.mark.parametrize("variant", VARIANTS)
def test_streams_add_up_in_every_architecture_and_precision(variant):
    for dtype in (torch.float32, torch.bfloat16):
        model = model_of(variant)
        model.backbone.to(dtype)
        finding = streams(model)
        assert finding.outcome == PASS, finding


def test_a_missing_inv_freq_is_a_finding(folders, monkeypatch):
    right = loading.load_backbone

    def without_frequencies(*how):
        backbone = right(*how)
        del backbone.model.rotary_emb.inv_freq
        return backbone

    monkeypatch.setattr(loading, "load_backbone", without_frequencies)
    assert "rotary: no inv_freq" in refused(folders["ar"]).found
