"""`decode` and `adapt`: a model is watched as it writes, and taught to write another way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from probe.cli.screen import Json, Where, app, out


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
