"""Tokenizers, from a checkpoint's files and without its code.

Several diffusion families name a tokenizer class of their own that only their remote code has; its files are always a
stock tokenizer's. So the files decide: `tokenizer.json`, else `vocab.json` with `merges.txt`, else a sentencepiece
model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from probe.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(folder: Path, architecture: str, gguf: Path | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, or inside a GGUF file."""
    import transformers

    if gguf is not None and not (folder / "tokenizer.json").is_file():
        return _read(transformers.AutoTokenizer, folder, (gguf.name,), gguf_file=gguf.name)
    byte_pairs = transformers.GPT2Tokenizer if architecture == "gpt2" else transformers.Qwen2Tokenizer
    by_files = (
        (("tokenizer.json",), transformers.PreTrainedTokenizerFast),
        (("vocab.json", "merges.txt"), byte_pairs),
        (("tokenizer.model",), transformers.LlamaTokenizer),
    )
    for files, kind in by_files:
        if all((folder / file).is_file() for file in files):
            return _read(kind, folder, files)
    raise CheckpointError(
        f"tokenizer of {folder}",
        expected="tokenizer.json, or vocab.json with merges.txt, or tokenizer.model",
        found="none of them",
        remedy="Copy the tokenizer's files to the weights, or pass tokenizer=FOLDER, or tokenizer=False to do "
        "without one (token ids only).",
    )


def _read(kind: type, folder: Path, files: tuple[str, ...], **how: str) -> PreTrainedTokenizerBase:
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **how)
    except Exception as problem:  # the readers of these formats raise bare Exceptions
        raise CheckpointError(
            f"tokenizer of {folder}",
            expected=f"a readable one in {' and '.join(files)}",
            found=f"{type(problem).__name__}: {problem}",
            remedy="Download the files again, pass tokenizer=FOLDER with a tokenizer.json, or tokenizer=False to do "
            "without one (token ids only).",
        ) from None
