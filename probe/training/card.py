"""The card of a model: what it is, how it was made, and how well it answers, each figure with the command behind it.

    twinprobe card zoo:masked            prints it
    twinprobe card zoo:masked --write    puts it into the model's folder

Three figures a task. "The whole answer": the model writes everything that was left open, by its own sampler, and the
task's checker judges it. "The asked token": it is asked for one token with the truth to its left (the reading `ar`, or
`prefix` for a diffusion model), which is what circuits are looked for in; beside it what a guess among the answers that
the question offers would get. "Both twins": of how many questions tried both the model and the AR model that it was
made from get that token right, until there is a pool of POOL, which is what pairs are compared on.

A model of running text is asked for the next token behind the first half of a held-out piece.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from probe.accuracy import Accuracy
from probe.decoding import decode
from probe.errors import TaskError
from probe.models.loading import load
from probe.models.model import Model
from probe.models.source import resolve
from probe.pairs import Pair
from probe.readings import Prefix, reading_for
from probe.tasks import TASKS, Task, task
from probe.tasks.score import score
from probe.tasks.solved import pool, right
from probe.training.curve import CURVE, read_curve
from probe.training.recipe import Text, read_recipe
from probe.training.text import held_out

CARD, RECIPE = "README.md", "recipe.yaml"
POOL = 500


def card(where: str, n: int = 500) -> str:
    """The card of a model as Markdown, its figures measured now on `n` held-out questions of each task."""
    folder, model = resolve(where), load(where)
    text = _text_of(folder)
    answers = _answers(where, model, n) if text is None else _writing_on(where, model, text, n)
    parts = [_head(where, model), answers, _making(folder)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(where: str, model: Model) -> str:
    note = model.entry.note if model.entry else ""
    shape = f"{model.layout.model_type}, {model.n_layers} layers, {model.n_heads} heads"
    shape += f" ({model.n_kv_heads} for keys and values), d {model.d_model}, {model.n_parameters:,} parameters"
    facts = {
        "writes": f"{model.paradigm.name}, {model.paradigm.attention} attention, "
        + ("with shift" if model.shift else "without shift"),
        "made from": (model.entry.ar if model.entry and model.entry.ar else None) or "nothing",
        "shape": shape,
        "weights": "safetensors, half precision",
    }
    lines = [f"# `{where}`", "", note, "", *(f"- {name}: {fact}" for name, fact in facts.items())]
    return "\n".join(lines)


def _answers(where: str, model: Model, n: int) -> str:
    ar = model.entry.ar if model.entry and model.paradigm.diffuses else None
    pair = Pair(load(ar), model, name=where) if ar else None
    rows = [_row(model, pair, task(name), n) for name in TASKS]
    heads = ["task", "the whole answer right", "the asked token right", "a guess"]
    heads += [f"both twins, for a pool of {POOL}"] if pair else []
    lines = [
        "## How well it answers",
        "",
        f"Held-out questions (split `test`, seed 0), greedy, 95% Wilson intervals: `twinprobe card {where} -n {n}`.",
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines)


def _text_of(folder: Path) -> Text | None:
    """The running text that a model was made of, if that is all it learnt from."""
    if not (folder / RECIPE).is_file():
        return None
    recipe = read_recipe(folder / RECIPE)
    return None if recipe.tasks else recipe.text


def _writing_on(where: str, model: Model, text: Text, n: int) -> str:
    pieces = held_out(text, model.tokenizer, n)
    given = pieces.shape[1] // 2
    written = decode(model, pieces[:, :given], 1).tokens[:, given].cpu()
    truth = pieces[:, given]
    solved = Accuracy(int((written == truth).sum()), len(truth))
    lines = [
        "## How well it knows its text",
        "",
        f"The token behind the first {given} of held-out pieces, with its 95% Wilson interval: "
        f"`twinprobe card {where} -n {n}`.",
        "",
        "| text | the next token right | a guess |",
        "|---|---|---|",
        f"| {', '.join(text.files)} | {solved} | {truth.bincount().max() / len(truth):.2f} |",
    ]
    return "\n".join(lines)


def _row(model: Model, pair: Pair | None, asked: Task, n: int) -> tuple[str, ...]:
    batch = asked.examples(model, n, fewer=True)
    solved = right(model, batch, reading_for(model, Prefix()))
    slot = Accuracy(int(solved.sum()), len(solved))
    alone = asked.name, str(score(model, asked, n)), str(slot), f"{asked.guess(batch):.2f}"
    return (*alone, _shared(pair, asked)) if pair else alone


def _shared(pair: Pair, asked: Task) -> str:
    try:
        found = pool(asked, pair, POOL, reading=Prefix())
    except TaskError as error:
        return f"no: {error.found.partition(';')[0]}"
    tried = found.accuracy["ar"].tried
    return f"{round(found.selection_rate * tried)} of {tried}"


def _making(folder: Path) -> str:
    recipe = folder / RECIPE
    if not recipe.is_file():
        return ""
    said = yaml.safe_load(recipe.read_text("utf-8"))
    lines = ["## How it was made", "", "```yaml", recipe.read_text("utf-8").strip(), "```", ""]
    if (folder / CURVE).is_file():
        curve = read_curve(folder)
        tokens, flops = (max(value for value in curve[name] if value == value) for name in ("tokens", "flops"))
        lines.append(f"{said['steps']:,} steps, {tokens:,.0f} tokens, {flops:.3g} operations; the curve is `{CURVE}`.")
    return "\n".join(lines)
