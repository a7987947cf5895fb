"""`fetch`: files that the real twins need and that are not in the package."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from probe.cli.screen import app, out


class Source(StrEnum):
    """What can be fetched."""

    BASE = "smollm2"
    TEXT = "smollm2-text"


@app.command(epilog="Example: [cyan]twinprobe fetch smollm2[/]")
def fetch(
    what: Annotated[Source, typer.Argument(help="The base of the real twins, or the text that they are made from.")],
    given: Annotated[
        Path | None,
        typer.Option("--from", help="Use this copy of the downloaded file.", exists=True, dir_okay=False),
    ] = None,
) -> None:
    """Fetch the base of the real twins into the user's cache, or make their training text."""
    from probe.cache import cache_folder
    from probe.fetching.corpus import fetch_text
    from probe.fetching.smollm2 import fetch_base

    if what is Source.BASE:
        fetch_base(given)
    else:
        for told in fetch_text(given):
            out.print(Text(told))
    out.print(Text(f"{cache_folder() / what}"))
