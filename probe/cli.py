"""The command line: each verb parses its words, calls one function of the library, and shows what it returned.

A user's mistake is a `ProbeError` and is printed as such, never as a traceback. Exit codes: 0 all is well; 1 it ran and
something failed (a self-test, a unit of a job); 2 the command was given something it cannot use; 130 interrupted.
Everything that comes from a model, a tokenizer or a file is shown as plain text, never as markup.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from probe.errors import ProbeError

if TYPE_CHECKING:
    from probe.models.catalog import Entry
    from probe.models.selftests import SelfTests
    from probe.tasks.show import Shown, Token

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="twinprobe",
    help="What changes inside a language model when an autoregressive one becomes a diffusion one?",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# A pipe has no width of its own; tables are then given room, so that what reads them finds whole words.
out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)

Where = Annotated[
    str, typer.Argument(help="zoo:NAME, a folder, a GGUF file, or a name in the catalog", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of a table.")]
CatalogFile = Annotated[
    Path | None, typer.Option("--catalog", help="A YAML file of catalog rows of your own.", show_default=False)
]


def main() -> None:
    """The entry point: errors that a user can act on are told, not traced."""
    try:
        app()
    except ProbeError as problem:
        _tell(problem)
        sys.exit(UNUSABLE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _tell(problem: ProbeError) -> None:
    console = Console(stderr=True)
    told = Table.grid(padding=(0, 2))
    told.add_column(style="bold", no_wrap=True)
    told.add_column(overflow="fold")
    for name, words in (("expected", problem.expected), ("found", problem.found), ("do", problem.remedy)):
        told.add_row(name, Text(words))
    console.print(Text.assemble(("error ", "bold red"), problem.thing))
    console.print(told)


@app.command(epilog="Example: [cyan]twinprobe check zoo:tiny-masked[/]")
def check(
    where: Annotated[
        list[str] | None,
        typer.Argument(help="Models to check; all shipped ones when none is named.", show_default=False),
    ] = None,
    catalog: CatalogFile = None,
    paradigm: Annotated[str | None, typer.Option(help="Check it as this paradigm instead of the declared one.")] = None,
    mask_id: Annotated[int | None, typer.Option(help="Its mask token.")] = None,
    shift: Annotated[bool | None, typer.Option("--shift/--no-shift", help="Where its answers are read.")] = None,
    attention: Annotated[str | None, typer.Option(help="causal, full, block:N or masks_last.")] = None,
    as_json: Json = False,
) -> None:
    """Run the load-time self-tests in full; exits with 1 if one fails."""
    from probe.models.loading import load
    from probe.models.selftests import run_selftests
    from probe.zoo import shipped

    declared = {"paradigm": paradigm, "mask_id": mask_id, "shift": shift, "attention": attention, "catalog": catalog}
    tests: dict[str, SelfTests] = {}
    for place in where or [f"zoo:{name}" for name in shipped()]:
        model = load(place, selftest="off", **declared)
        tests[place] = run_selftests(model)
        if not as_json:
            out.print(_selftest_table(place, repr(model), tests[place]))
    if as_json:
        rows = {place: [vars(finding) for finding in found.findings] for place, found in tests.items()}
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    if any(found.failed for found in tests.values()):
        raise typer.Exit(FAILED)


_VERDICT_STYLES = {"pass": "green", "fail": "bold red", "not run": "yellow"}


def _selftest_table(place: str, described: str, tests: SelfTests) -> Table:
    table = Table(
        title=Text(place, style="bold"), caption=Text(described), title_justify="left", caption_justify="left"
    )
    for heading in ("test", "expected", "found"):
        table.add_column(heading, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for finding in tests.findings:
        cells = [Text(words) for words in (finding.test, finding.expected, finding.found)]
        table.add_row(*cells, Text(finding.verdict, style=_VERDICT_STYLES[finding.verdict]))
    return table


@app.command(epilog="Example: [cyan]twinprobe catalog --json[/]")
def catalog(catalog: CatalogFile = None, as_json: Json = False) -> None:
    """What is declared of each known checkpoint: its AR twin, mask, shift, attention and sampler."""
    from probe.models.catalog import entries

    rows = entries(catalog)
    if as_json:
        print(json.dumps([row.model_dump(mode="json") for row in rows], indent=1, ensure_ascii=False))
        return
    table = Table(title="what is declared of each checkpoint", title_justify="left", box=box.SIMPLE)
    table.add_column("name, and the AR model it was made from", no_wrap=True)
    table.add_column("declared", overflow="fold")
    for row in rows:
        made_from = f"\n  from {row.ar}" if row.ar else ""
        table.add_row(Text(row.name + made_from), Text(_declaration(row)))
    out.print(table)


def _declaration(row: Entry) -> str:
    attention = row.attention or row.to_paradigm(None).attention
    mask = f"mask {row.mask_id}" + (" (a word of text)" if row.mask_is_text else "")
    shift = "shift" if row.shift else "shift for clean tokens only" if row.clean_shift else "no shift"
    sampler = f"sampler {row.sampler}" if row.sampler else "no sampler of its own"
    return f"{row.paradigm}, {attention} attention; {mask}; {shift}; {sampler}"


@app.command(epilog="Example: [cyan]twinprobe task countdown --show 5 --knob numbers=3[/]")
def task(
    name: Annotated[
        str,
        typer.Argument(help="ioi, greater_than, induction, countdown, sudoku, paths, infilling, or a JSONL file"),
    ],
    show: Annotated[int, typer.Option(min=1, help="How many examples.")] = 3,
    tokenizer: Annotated[
        str | None, typer.Option(help="A model or folder whose tokenizer to use; the shipped one when none is named.")
    ] = None,
    knob: Annotated[list[str] | None, typer.Option(help="A knob of the task, as name=value; repeatable.")] = None,
    seed: int = 0,
    split: Annotated[str, typer.Option(help="train, test or calibration")] = "test",
    as_json: Json = False,
) -> None:
    """Show examples of a task: clean, corrupt, target, with what is masked and what is changed marked."""
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
    out.print(Text.assemble("The model writes what stands ", written, " and is asked for what is marked ", asked_for,
                            "; clean and corrupt differ where marked ", changed, "."))  # fmt: skip
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
    import yaml

    name, equals, value = written.partition("=")
    if not equals:
        raise ProbeError(
            f"--knob {written}", expected="name=value", found=repr(written), remedy="For example --knob numbers=4."
        )
    try:
        return name, yaml.safe_load(value)  # numbers and true/false as such
    except yaml.YAMLError:
        return name, value  # signs that mean something to YAML, such as * in operators=*+


def _tokenizer(where: str | None) -> Any:
    from probe.models.checkpoint import read_json
    from probe.models.loading import resolve
    from probe.models.tokenizers import load_tokenizer
    from probe.tasks import vocabulary

    if where is None:
        return vocabulary.shipped()
    path = resolve(where)
    if path.suffix == ".gguf":
        return load_tokenizer(path.parent, "", path)
    config = path / "config.json"  # a folder of a tokenizer alone has none
    return load_tokenizer(path, read_json(config).get("model_type", "") if config.is_file() else "")


@app.command(epilog='Example: [cyan]twinprobe decode zoo:tiny-masked "When Luke and Keith went to the" --length 8[/]')
def decode(
    where: Where,
    prompt: Annotated[str, typer.Argument(help="The text to go on from.", show_default=False)],
    length: Annotated[int, typer.Option(min=1, help="Tokens to write.")] = 8,
    sampler: Annotated[
        str | None, typer.Option(help="confidence, margin, entropy, random or left_to_right; default: the model's own")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Forward passes; default: one a token.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Write every token surer than this at once.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="0, the default, takes the best token.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="FLUID: masks appended at a time.")] = None,
    verify: Annotated[
        bool | None, typer.Option("--verify/--no-verify", help="FLUID: check each stride against autoregression.")
    ] = None,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Watch a model write: one line a forward pass, what it has just written marked."""
    from probe.decoding import Sampler, Strides
    from probe.decoding import decode as run
    from probe.models.loading import load

    model = load(where)
    said: dict[str, Any] = {"threshold": threshold}
    if model.paradigm.name == "fluid":
        own, said = Strides(), {**said, "length": stride, "verify": verify}
    else:
        own = model.entry.sampler if model.entry and model.entry.sampler else Sampler()
        said = {**said, "order": sampler, "steps": steps, "temperature": temperature}
    rule = replace(own, **{name: value for name, value in said.items() if value is not None})
    tokens = model.encode(prompt)[0]

    def watch(step: int, state: Any, written: Any) -> None:
        if not as_json:
            out.print(_state_text(model, step, state[0].tolist(), written[0].tolist()))

    run_of = run(model, tokens, length, sampler=rule, seed=seed, on_step=watch)
    text = str(model.tokenizer.decode(run_of.tokens[len(tokens) :].tolist()))
    if as_json:
        told = {"text": text, "sampler": run_of.sampler, "forward_passes": run_of.forward_passes, "seed": seed}
        print(json.dumps({**told, "committed_at": run_of.committed_at.tolist()}, ensure_ascii=False))
        return
    out.print(Text.assemble(("wrote ", "dim"), text))
    out.print(
        Text(
            f"{run_of.forward_passes} forward passes, {run_of.tokens_per_forward:.2f} tokens a pass ({run_of.sampler})"
        ),
        style="dim",
    )


def _state_text(model: Any, step: int, state: list[int], written: list[bool]) -> Text:
    line = Text(f"{step:>3}  ", style="dim")
    for token, new in zip(state, written, strict=True):
        if token < 0 or token == model.mask_id:
            line.append("· ", style="dim")
        else:
            line.append(str(model.tokenizer.decode([token])).strip() + " ", style="bold cyan" if new else "none")
    return line


@app.command(epilog="Example: [cyan]twinprobe adapt recipe.yaml --out my-twin[/]")
def adapt(
    recipe: Annotated[Path, typer.Argument(help="A recipe; those of the shipped models are examples.")],
    folder: Annotated[Path, typer.Option("--out", help="Where the model goes; the same command again resumes.")],
) -> None:
    """Make a twin: train a model in another paradigm, by a recipe."""
    from probe.training import adapt as make
    from probe.training import read_recipe

    made = make(read_recipe(recipe), folder)
    out.print(Text(f"made {made}; look at it with: twinprobe check {made}"))


@app.command(epilog="Example: [cyan]twinprobe demo[/]")
def demo() -> None:
    """The shipped twins, checked and asked to write: today's main job, which grows with the toolkit."""
    from probe.decoding import decode as run
    from probe.models.loading import load
    from probe.models.selftests import run_selftests
    from probe.zoo import shipped

    models = [load(f"zoo:{name}", selftest="off") for name in shipped()]
    tests = {model.name: run_selftests(model) for model in models}
    out.print(_verdict_grid(tests))
    prompt, length = "When Luke and Keith went to the museum, Keith gave a", 3
    writing = Table(title=Text(f"{prompt} …"), title_justify="left", box=box.SIMPLE)
    for heading in ("model", "writes", "forward passes", "sampler"):
        writing.add_column(heading)
    for model in models:
        tokens = model.encode(prompt)[0]
        told = run(model, tokens, length)
        text = str(model.tokenizer.decode(told.tokens[len(tokens) :].tolist()))
        writing.add_row(*map(Text, (model.name, text, str(told.forward_passes), told.sampler)))
    out.print(writing)
    out.print(
        Text("Look closer: twinprobe check zoo:tiny-masked, twinprobe task ioi, twinprobe --help; and the README.")
    )


def _verdict_grid(tests: dict[str, SelfTests]) -> Table:
    """One row a model, one column a self-test."""
    grid = Table(title="self-tests of the shipped models", title_justify="left", box=box.SIMPLE, padding=0)
    grid.add_column("model", no_wrap=True)
    for finding in next(iter(tests.values())).findings:
        grid.add_column(finding.test, justify="center", min_width=max(map(len, finding.test.split())))
    for name, found in tests.items():
        grid.add_row(
            Text(name.removeprefix("zoo:")),
            *(Text(each.verdict, style=_VERDICT_STYLES[each.verdict]) for each in found.findings),
        )
    return grid


if __name__ == "__main__":
    main()
