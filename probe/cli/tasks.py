"""`task`: examples of a task, with the masked, the asked and the changed tokens marked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from probe.cli.screen import Json, app, out
from probe.errors import ProbeError

if TYPE_CHECKING:
    from probe.tasks.show import Shown, Token


@app.command(epilog="Example: [cyan]twinprobe task countdown --show 5 --knob numbers=3[/]")
def task(
    name: Annotated[
        str,
        typer.Argument(help="ioi, greater_than, induction, countdown, sudoku, paths, infilling, or a JSONL file"),
    ],
    show: Annotated[int, typer.Option(min=1, help="How many examples.")] = 3,
    tokenizer: Annotated[
        str | None, typer.Option(help="A model or folder whose tokenizer to use; default: the shipped one.")
    ] = None,
    knob: Annotated[list[str] | None, typer.Option(help="A knob of the task, as name=value; repeatable.")] = None,
    seed: int = 0,
    split: Annotated[str, typer.Option(help="train, test or calibration")] = "test",
    as_json: Json = False,
) -> None:
    """Show examples of a task: clean, corrupt, target, with the masked and the changed tokens marked."""
    from probe.tasks import from_jsonl
    from probe.tasks import task as named_task

    asked = from_jsonl(name) if name.endswith(".jsonl") else named_task(name, **dict(map(_knob, knob or ())))
    words = _tokenizer(tokenizer)
    batch = asked.examples(words, show, seed=seed, split=split)
    shown = asked.show(batch, words, show)
    if as_json:
        texts = {which: batch.texts(words, which) for which in ("clean", "corrupt")}
        rows = [
            {"clean": texts["clean"][i], "corrupt": texts["corrupt"][i], "target": s.target, "distractor": s.distractor}
            for i, s in enumerate(shown)
        ]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    out.print(Text(asked.describe()))
    written, asked_for, changed = ("[in brackets]", "underline"), ("[?so]", _ASKED), ("{so}", _CHANGED)
    out.print(Text.assemble("The model writes the tokens ", written, "; the asked one is marked ", asked_for,
                            "; tokens that differ between clean and corrupt ", changed, "."))  # fmt: skip
    for example in shown:
        out.print(_example_table(example))


_ASKED, _CHANGED = "bold underline cyan", "bold yellow"


def _example_table(example: Shown) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row()
    for name, tokens in (("clean", example.clean), ("corrupt", example.corrupt)):
        table.add_row(name, Text(" ").join(_token_text(token) for token in tokens))
    table.add_row("target", Text(example.target, style=_ASKED))
    table.add_row("distractor", Text(example.distractor))
    return table


def _token_text(token: Token) -> Text:
    style = _ASKED if token.asked else "underline" if token.masked else _CHANGED if token.changed else ""
    return Text(str(token), style=style)


def _knob(written: str) -> tuple[str, Any]:
    from probe.outside_files import FileKind

    name, equals, value = written.partition("=")
    if not equals:
        raise ProbeError(
            f"--knob {written}", expected="name=value", found=repr(written), remedy="For example --knob numbers=4."
        )
    try:
        return name, FileKind("--knob").yaml_of(value, name)  # numbers and true/false as such
    except ProbeError:
        return name, value  # signs that mean something to YAML, such as * in operators=*+


def _tokenizer(where: str | None) -> Any:
    from probe.models.checkpoint import FILE
    from probe.models.source import resolve
    from probe.models.tokenizers import load_tokenizer
    from probe.tasks import vocabulary

    if where is None:
        return vocabulary.shipped()
    path = resolve(where)
    if path.suffix == ".gguf":
        return load_tokenizer(path.parent, "", path)
    config = path / "config.json"  # a folder of a tokenizer alone has none
    return load_tokenizer(path, str(FILE.object(config).get("model_type")) if config.is_file() else "")
