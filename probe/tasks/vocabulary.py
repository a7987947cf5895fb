"""The shipped word-level vocabulary: every word, number and sign that the seven tasks can write, one token each.

Small twins should spend their parameters on the tasks, not on a vocabulary. So here a word is a token, and a number
of two digits is one (a year is two: "17", "32"). Every text begins with [BOS], which gives attention a place to rest.

The tokenizer is built from the task's own words and kept in `probe/zoo/tokenizer`, since weights are shipped that
mean it: `python -m probe.tasks.vocabulary` writes it again. Ids are given in order, so new words go to the end.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from probe.tasks import greater_than, ioi, word_lists

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FOLDER = Path(__file__).parent.parent / "zoo" / "tokenizer"
SPECIAL = {"pad_token": "[PAD]", "bos_token": "[BOS]", "mask_token": "[MASK]", "unk_token": "[UNK]"}
# Two digits at most, a run of letters or underscores, or a sign: what a token is.
TOKEN = r"\d{1,2}|[^\W\d]+|[^\w\s]"
SIGNS = (*",.:;?!()+-*/=_", "___")
# What stands around the words of the pools; `ioi` and `greater_than` keep theirs as templates.
FRAMES = (
    "and a to the of",
    "The from the year to the year",
    "List:",
    "Make from:",
    "Grid",
    "Edges to",
    "Today has the that is a thing to. The blank is",
)


def tokens() -> list[str]:
    """The vocabulary in the order of its ids."""
    numbers = [*map(str, range(100)), *(f"{number:02}" for number in range(10))]
    templates = [*FRAMES, *(part for template in ioi.TEMPLATES for part in template), *greater_than.VERBS]
    framing = [token for text in templates for token in re.findall(TOKEN, text)]
    riddles = [word for riddle in word_lists.RIDDLES for word in riddle]
    words = [
        *word_lists.LETTERS,
        *framing,
        *word_lists.NAMES,
        *word_lists.PLACES,
        *word_lists.OBJECTS,
        *word_lists.EVENTS,
        *riddles,
    ]
    return list(dict.fromkeys([*SPECIAL.values(), *numbers, *SIGNS, *words]))


def build() -> PreTrainedTokenizerFast:
    """The tokenizer, made from the words above."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {token: i for i, token in enumerate(tokens())}
    backend = Tokenizer(models.WordLevel(ids, unk_token=SPECIAL["unk_token"]))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(TOKEN), behavior="isolated")]
    )
    bos = SPECIAL["bos_token"]
    backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, ids[bos])])
    # Nothing is a continuation here; this decoder is taken for its spacing before commas and full stops.
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


@cache
def shipped() -> PreTrainedTokenizerFast:
    """The tokenizer as it stands in the zoo."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(FOLDER)


if __name__ == "__main__":
    build().save_pretrained(FOLDER)
