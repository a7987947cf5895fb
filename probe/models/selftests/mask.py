"""The mask token, checked against the embedding and the tokenizer.

Mask ids collide across tokenizers, and two families use a word of the vocabulary as their mask; text with that word
would be taken for noise. So a mask must not be a token of text, unless it is declared as a word (`mask_is_text`); and a
tokenizer that names a mask of its own must name this one.
"""

from __future__ import annotations

from probe.models.model import Model
from probe.models.selftests.finding import FAIL, NOT_RUN, PASS, Finding
from probe.models.selftests.language import sample_text


def mask_token(model: Model) -> Finding:
    mask, rows = model.mask_id, model.vocabulary
    expected = f"an id below {rows} that stands for nothing in text"
    if mask is None:
        if not model.paradigm.needs_mask:
            found = f"none, and none is needed: the model is {model.paradigm.name}"
            return Finding("mask token", expected, found, NOT_RUN)
        return Finding("mask token", expected, "none declared", FAIL)
    if not model.paradigm.sees_mask:
        return Finding("mask token", expected, f"none is seen: {mask} only says that a place is open", NOT_RUN)
    if not 0 <= mask < rows:
        return Finding("mask token", expected, f"{mask}, outside the embedding", FAIL)
    if not model.has_tokenizer:
        told = f"{mask}, inside the embedding; no tokenizer to hold it against"
        return Finding("mask token", expected, told, NOT_RUN)
    if mask in model.tokenizer("\n".join(sample_text(model)))["input_ids"]:
        return Finding("mask token", expected, f"{mask}, which stands in the sample text", FAIL)
    word = _ordinary_word(model, mask)
    own = getattr(model.tokenizer, "mask_token_id", None)
    if word is None and own is not None and own != mask:
        told = f"{mask}, while the tokenizer's own mask is {own} ({model.tokenizer.mask_token})"
        return Finding("mask token", expected, told, FAIL)
    if word is None:
        return Finding("mask token", expected, f"{mask}, no token of text", PASS)
    if model.entry is not None and model.entry.mask_is_text and model.entry.mask_id == mask:
        told = f"{mask} ({word!r}), an ordinary token, as declared: text that holds it is refused"
        return Finding("mask token", expected, told, PASS)
    told = f"{mask}, which the tokenizer uses for the text {word!r} and no catalog row declares as mask_is_text"
    return Finding("mask token", expected, told, FAIL)


def _ordinary_word(model: Model, token: int) -> str | None:
    """The text that a token stands for, or None for a special token or one that the tokenizer does not have."""
    words = model.tokenizer
    special = {int(i) for i, added in getattr(words, "added_tokens_decoder", {}).items() if added.special}
    special.update(words.all_special_ids)
    if token in special or token >= len(words) or words.convert_ids_to_tokens(token) is None:
        return None
    return str(words.decode([token]))
