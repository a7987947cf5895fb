"""What every command shares: the app it registers with, the screen it prints to, and how errors are printed.

Everything that comes from a model, a tokenizer or a file is shown as plain text, never as markup.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from probe.errors import ProbeError

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="twinprobe",
    help="What changes inside a language model when an autoregressive one becomes a diffusion one?",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"twinprobe {version('twinprobe')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


class Screen(Console):
    """A console on which a text cannot move the cursor or set colours: its control characters are shown as signs."""

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=segment.text.translate(_CONTROL))


_CONTROL = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


# A pipe has no width of its own; tables are then given room, so that what reads them finds whole words.
out = Screen(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)

Where = Annotated[
    str, typer.Argument(help="zoo:NAME, a folder, a GGUF file, or a name in the catalog", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")]
CatalogFile = Annotated[
    Path | None, typer.Option("--catalog", help="A YAML file of catalog rows of your own.", show_default=False)
]


def tell(problem: ProbeError) -> None:
    """Print a user's mistake with what to do about it."""
    console = Screen(stderr=True)
    told = Table.grid(padding=(0, 2))
    told.add_column(style="bold", no_wrap=True)
    told.add_column(overflow="fold")
    for name, words in (("expected", problem.expected), ("found", problem.found), ("do", problem.remedy)):
        told.add_row(name, Text(words))
    console.print(Text.assemble(("error ", "bold red"), problem.thing))
    console.print(told)
