"""The shipped vocabulary is the one that the words of the tasks make; weights mean its ids."""

from __future__ import annotations

import hashlib
import json

from probe.tasks import vocabulary


def test_the_shipped_folder_is_what_is_built(tmp_path):
    vocabulary.build().save_pretrained(tmp_path)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        built, shipped = (json.loads((folder / file).read_text()) for folder in (tmp_path, vocabulary.FOLDER))
        if file == "tokenizer_config.json":  # which notes how it was made
            built, shipped = ({**config, "is_local": None, "backend": None} for config in (built, shipped))
        assert built == shipped


def test_no_id_has_moved():
    """Pinned: weights have been trained on these 471. A word that is added goes to the end."""
    tokens = vocabulary.tokens()
    assert hashlib.sha256("\n".join(tokens[:471]).encode()).hexdigest()[:16] == "00f177f753014db2"
    assert vocabulary.shipped().get_vocab() == {token: i for i, token in enumerate(tokens)}


def test_a_word_is_a_token_and_a_text_comes_back():
    shipped = vocabulary.shipped()
    text = "When Luke and Keith went to the museum, Keith gave a flower to Luke"
    assert shipped.decode(shipped.encode(text), skip_special_tokens=True) == text
    assert len(shipped.encode(text)) == 16
    assert shipped.convert_ids_to_tokens(shipped.encode("from 1732"))[1:] == ["from", "17", "32"]
    assert shipped.mask_token_id == shipped.convert_tokens_to_ids("[MASK]") != shipped.unk_token_id
