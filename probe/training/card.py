"""The card of a model: what it is, how it was made, and how well it answers, each number with its command.

    twinprobe card zoo:masked            prints it
    twinprobe card zoo:masked --write    saves it in the model's folder

Three numbers per task. "The whole answer": the model writes the whole completion with its own sampler, and the task's
checker judges it. "The asked token": it predicts one token with the true tokens to its left (the reading `ar`, or
`prefix` for a diffusion model), as in circuit studies; with the accuracy of a guess among the question's choices. "Both
twins": how many questions it took until both the model and its AR model got that token right in POOL of them, on which
pairs are compared.

A model of running text predicts the next token after the first half of a held-out piece. A twin with a fetched base is
also compared with it in nats: the NLL of the tokens at three positions of each held-out piece, for the twin under every
applicable reading and for the base, text by text. For FLUID also the tokens per pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from probe.accuracy import Accuracy
from probe.decoding import decode, writer_of
from probe.decoding.foreseen import foresee
from probe.errors import TaskError
from probe.models.loading import load
from probe.models.model import Model
from probe.models.source import resolve
from probe.pairs import Pair
from probe.paradigms.horizon import Horizon
from probe.progress import progress
from probe.readings import AR, OneMask, Prefix, Reading, reading_for, surprise
from probe.tasks import Task, task, written_in
from probe.tasks.score import score
from probe.tasks.solved import pool, right
from probe.training.curve import CURVE, read_curve
from probe.training.horizon_fit import target_of
from probe.training.recipe import FILE as RECIPE_FILE
from probe.training.recipe import HorizonSettings, Text, read_recipe
from probe.training.text import held_out

CARD, RECIPE = "README.md", "recipe.yaml"
POOL = 500
PLACES = 3  # positions of a held-out piece whose tokens are predicted


def card(where: str, n: int = 500) -> str:
    """The card of a model as Markdown, measured now on `n` held-out questions of each task."""
    folder, model = resolve(where), load(where)
    texts = _texts_of(folder)
    answers = _writing_on(where, model, texts, n) if texts else _answers(where, model, n)
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
        "weights": "safetensors, half precision"
        + (f"; adapters alone, for {model.entry.base}" if model.entry and model.entry.base else ""),
    }
    if model.notes:
        facts["note"] = "; ".join(model.notes)
    lines = [f"# `{where}`", "", note, "", *(f"- {name}: {fact}" for name, fact in facts.items())]
    return "\n".join(lines)


def _answers(where: str, model: Model, n: int) -> str:
    ar = model.entry.ar if model.entry and model.paradigm.diffuses else None
    pair = Pair(load(ar), model, name=where) if ar else None
    rows = []
    asked = written_in(model.tokenizer)
    with progress(f"the card of {where}", len(asked), "tasks", lines=True) as advance:
        for name in asked:
            advance(0, f"the card of {where}: {name}")
            rows.append(_row(model, pair, task(name), n))
            advance()
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


def _texts_of(folder: Path) -> tuple[Text, ...]:
    """The running texts of a model's training, if it had nothing else."""
    if not (folder / RECIPE).is_file():
        return ()
    recipe = read_recipe(folder / RECIPE)
    return () if recipe.tasks else recipe.texts


def _writing_on(where: str, model: Model, texts: tuple[Text, ...], n: int) -> str:
    held = {", ".join(text.files): held_out(text, model.tokenizer, n) for text in texts}
    given = texts[0].length // 2
    rows = []
    for name, pieces in held.items():
        written = decode(model, pieces[:, :given], 1).tokens[:, given].cpu()
        truth = pieces[:, given]
        solved = Accuracy(int((written == truth).sum()), len(truth))
        rows.append(f"| {name} | {solved} | {truth.bincount().max() / len(truth):.2f} |")
    lines = [
        "## How well it knows its text",
        "",
        f"The token behind the first {given} of held-out pieces, with its 95% Wilson interval: "
        f"`twinprobe card {where} -n {n}`.",
        "",
        "| text | the next token right | a guess |",
        "|---|---|---|",
        *rows,
    ]
    if model.entry is not None and model.entry.base is not None:
        lines += ["", *_beside_the_base(model, load(model.entry.base), held)]
    if writer_of(model).in_strides:
        lines += ["", *_passes(model, held, read_recipe(resolve(where) / RECIPE).horizon)]
    return "\n".join(lines)


def _beside_the_base(model: Model, base: Model, held: Mapping[str, Tensor]) -> list[str]:
    """The NLL per token: for the base from left to right, for the twin under every applicable reading."""
    fits = reading_for(model, Prefix())
    readings: tuple[Reading, ...] = (AR(),) if isinstance(fits, AR) else (AR(), fits)
    readings += (OneMask(),) if model.paradigm.attention == "full" else ()
    lines = [
        f"Nats a token at {PLACES} places of each piece; behind it, the twin's less the base's, text by text, with its "
        "95% interval. `ar` has the base's attention, `prefix` masks all that follows, `one_mask` shows it.",
        "",
        "| text | base | " + " | ".join(f"`{reading.name}`" for reading in readings) + " |",
        "|---" * (2 + len(readings)) + "|",
    ]
    for name, pieces in held.items():
        at = [round(pieces.shape[1] * part / (PLACES + 1)) for part in range(1, PLACES + 1)]
        known = surprise(base, pieces, AR(), at).mean(1)
        cells = [f"{known.mean():.3f}"]
        for reading in readings:
            more = surprise(model, pieces, reading, at).mean(1) - known
            half = 1.96 * more.std() / len(more) ** 0.5
            cells.append(f"{(known + more).mean():.3f}: {more.mean():+.3f} ± {half:.3f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _passes(model: Model, held: Mapping[str, Tensor], stage: HorizonSettings | None) -> list[str]:
    """FLUID's tokens per verified forward pass, after the first half of held-out pieces, and how often the horizon head
    tells exactly what it learnt to."""
    lines = ["Tokens a forward pass, every one checked to be what greedy autoregression writes:", ""]
    lines += ["| text | tokens a pass | drafts taken back | horizon told exactly |", "|---|---|---|---|"]
    for name, pieces in held.items():
        half = pieces.shape[1] // 2
        run = decode(model, pieces[:, :half], half)
        rate = len(pieces) * half / int(run.passes.sum())
        back = run.strides.rejection_rate if run.strides is not None else 0.0
        lines.append(f"| {name} | {rate:.2f} | {back:.2f} | {_told(model, pieces[:, :half], half, stage)} |")
    return lines


def _told(model: Model, prompts: Tensor, length: int, stage: HorizonSettings | None) -> str:
    head = model.attachments.get("horizon")
    if stage is None or not isinstance(head, Horizon):
        return "no head"
    ahead, target = foresee(model, prompts, length).ahead, target_of(stage)
    exact = head.stride(ahead.hidden) == target.best(ahead)
    return f"{Accuracy(int(exact.sum()), len(exact))} tokens, {target}"


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
    text = RECIPE_FILE.text(recipe)
    said = RECIPE_FILE.yaml_of(text, recipe)
    lines = ["## How it was made", "", "```yaml", text.strip(), "```", ""]
    if (folder / CURVE).is_file():
        curve = read_curve(folder)
        tokens, flops = (max(value for value in curve[name] if value == value) for name in ("tokens", "flops"))
        lines.append(f"{said['steps']:,} steps, {tokens:,.0f} tokens, {flops:.3g} operations; the curve is `{CURVE}`.")
    return "\n".join(lines)
