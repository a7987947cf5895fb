"""`decode` and `adapt`: watch a model write, train a model in another paradigm."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from probe.cli.screen import Json, Screen, Where, app, out
from probe.cli.watching import Watch
from probe.errors import ProbeError
from probe.models.lengths import LongTextWarning
from probe.models.unknown_words import UnknownWordWarning

if TYPE_CHECKING:
    from torch import Tensor

    from probe.models.model import Model


_EXAMPLES = "\n\n".join(
    f"{what}: [cyan]twinprobe decode {how}[/]"
    for what, how in (
        ("Example", 'zoo:fluid "When Luke and Keith went to the museum, Keith gave a" --length 3'),
        (
            "In three passes, the most confident positions first",
            'zoo:masked "When Luke" --sampler confidence --steps 3',
        ),
        ("Others first: the widest margin", 'zoo:masked "When Luke" --sampler margin --steps 4'),
        ("All tokens above confidence 0.9 at once", 'zoo:masked "When Luke" --threshold 0.9'),
        ("As many as are nearly independent", 'zoo:masked "When Luke" --sampler entropy --entropy-bound 0.1'),
        ("Draws from a nucleus", 'zoo:ar "When Luke" --temperature 0.8 --top-p 0.9'),
        ("Draws from the five best", 'zoo:ar "When Luke" --temperature 0.8 --top-k 5'),
        ("Without a word", 'zoo:masked "When Luke" --suppress Luke'),
        ("Until a word that ends the text", 'zoo:ar "When Luke" --length 40 --stop .'),
        ("Blanks anywhere", 'zoo:masked "When ___ and Keith went to the ___ ," --fill'),
        ("As Dream does", 'zoo:masked "When Luke" --steps 4 --schedule dream --order-temperature 0.1'),
        ("As LLaDA does", 'zoo:masked "When Luke" --steps 4 --block 4 --schedule llada --guidance 0.5'),
        ("With an approximate cache", 'zoo:masked "When" --length 12 --block 4 --cache dual'),
        ("With remasking", 'zoo:masked "When" --sampler random --steps 16 --temperature 1 --remask cap --eta 0.2'),
        ("FLUID in strides of six, sampled", 'zoo:fluid "When Luke" --stride 6 --temperature 1'),
        ("FLUID's elastic strides, bounded", 'zoo:fluid "When Luke" --stride elastic --least 2 --most 8'),
        ("FLUID as published", 'zoo:fluid "When Luke" --stride elastic --least 4 --no-overlap --threshold 0.9'),
        ("A flow in four steps", 'zoo:flow "When Luke" --steps 4'),
    )
)


@app.command(epilog=_EXAMPLES)
def decode(
    where: Where,
    prompt: Annotated[str, typer.Argument(help="The text to continue.", show_default=False)],
    length: Annotated[int, typer.Option(min=1, help="Tokens to write.")] = 8,
    sampler: Annotated[
        str | None, typer.Option(help="confidence, margin, entropy, random or left_to_right; default: the model's own")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Forward passes; default: one per token.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Write all tokens above this confidence at once.")] = None,
    entropy_bound: Annotated[
        float | None, typer.Option(min=0.0, help="Write as many tokens as are independent up to so many nats.")
    ] = None,
    block: Annotated[
        int | None, typer.Option(min=1, help="Write in blocks of this many tokens, left to right.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="0, the default, takes the most likely token.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample from the k most likely tokens only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Sample from the fewest most likely tokens whose probabilities sum to p.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="How many positions to write per step: even, llada or dream.")
    ] = None,
    order_temperature: Annotated[
        float | None, typer.Option(min=0.0, help="Sample the order of positions, too (Dream's alg_temp).")
    ] = None,
    suppress: Annotated[
        list[str] | None, typer.Option(help="A token that is never written, as the vocabulary spells it; repeatable.")
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(help="A token that ends the text; repeatable.")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0.0, help="Classifier-free guidance, the prompt masked (LLaDA's cfg_scale).")
    ] = None,
    remask: Annotated[
        str | None, typer.Option(help="Mask written tokens again (ReMDM): cap, rescale, conf or loop.")
    ] = None,
    eta: Annotated[float | None, typer.Option(help="How much is remasked: ReMDM's η; default: as published.")] = None,
    cache: Annotated[
        str | None, typer.Option(help="Approximate KV cache under full attention (Fast-dLLM): prefix or dual.")
    ] = None,
    fill: Annotated[
        bool, typer.Option("--fill", help="Fill the blanks of the text, each ___ one token, instead of continuing it.")
    ] = False,
    stride: Annotated[
        str | None, typer.Option(help="FLUID: tokens drafted at once, or elastic; default: elastic if it has a head.")
    ] = None,
    verify: Annotated[
        bool | None, typer.Option("--verify/--no-verify", help="FLUID: check each stride against autoregression.")
    ] = None,
    overlap: Annotated[
        bool | None,
        typer.Option("--overlap/--no-overlap", help="FLUID: check a stride in the pass that drafts the next; default."),
    ] = None,
    least: Annotated[int | None, typer.Option(min=1, help="FLUID: the shortest elastic stride.")] = None,
    most: Annotated[int | None, typer.Option(min=1, help="FLUID: the longest elastic stride.")] = None,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Watch a model write: one line per forward pass, new tokens marked; FLUID's strides as they end."""
    from probe.decoding import PassOptions, rule_for, writer_of
    from probe.decoding import decode as run
    from probe.decoding import fill as fill_in
    from probe.models.loading import load

    model = load(where)
    asked = {
        "order": sampler, "steps": steps, "threshold": threshold, "block": block, "temperature": temperature,
        "top_k": top_k, "top_p": top_p, "schedule": schedule, "order_temperature": order_temperature,
        "suppress": suppress or None, "stop": stop or None, "guidance": guidance, "cache": cache,
        "remask": _remasking(remask, eta), "length": _length(stride), "verify": verify, "overlap": overlap,
        "least": least, "most": most, "entropy_bound": entropy_bound,
    }  # fmt: skip
    rule = _with(rule_for(model), model.name, **asked)
    tokens = _with_blanks(model, prompt) if fill else _encoded(model, prompt)
    with _noted(), Watch(out, model, strides=writer_of(model).in_strides) as watch:
        passes = PassOptions() if as_json else PassOptions(on_step=watch.on_step, on_stride=watch.on_stride)
        if fill:
            run_of = fill_in(model, tokens, sampler=rule, seed=seed, passes=passes)
        else:
            run_of = run(model, tokens, length, sampler=rule, seed=seed, passes=passes)
    text = str(model.tokenizer.decode(run_of.tokens.tolist())) if fill else str(run_of.text)
    if as_json:
        print(json.dumps({"text": text, **_plain(run_of)}, ensure_ascii=False))
        return
    out.print(Text.assemble(("wrote ", "dim"), text))
    counted = f"{run_of.forward_passes} forward passes, {run_of.tokens_per_forward:.2f} tokens a pass"
    out.print(Text(f"{counted}, {run_of.slots} slots computed ({run_of.sampler})"), style="dim")


def _encoded(model: Model, prompt: str) -> Tensor:
    """The prompt's tokens; words that the model does not know are named on standard error."""
    with _noted():
        return model.encode(prompt)[0]


@contextmanager
def _noted() -> Iterator[None]:
    """A model's warnings, each once, as notes on standard error."""
    with warnings.catch_warnings(record=True) as found:
        for kind in (UnknownWordWarning, LongTextWarning):
            warnings.simplefilter("always", kind)
        yield
    for message in dict.fromkeys(str(one.message) for one in found):
        Screen(stderr=True).print(Text(f"note: {message}"), style="yellow")


def _remasking(kind: str | None, eta: float | None) -> Any:
    from probe.decoding import Remasking

    if kind is None and eta is not None:
        raise ProbeError("--eta", expected="--remask with it", found="none", remedy="Say which: --remask cap.")
    return None if kind is None else Remasking(kind, eta)


BLANK = "___"


def _with_blanks(model: Model, text: str) -> Tensor:
    """The tokens of a text, the mask at each blank."""
    import torch

    if BLANK not in text:
        raise ProbeError(
            "a text to fill", expected=f"blanks in it, each {BLANK} one token", found=repr(text[:80]),
            remedy=f'For example "When {BLANK} went to the {BLANK}" --fill.',
        )  # fmt: skip
    mask = torch.tensor([model.paradigm.given_mask()], device=model.device)
    before, *behind = text.split(BLANK)
    found = [_encoded(model, before)]
    for part in behind:
        ids = model.tokenizer(part.strip(), add_special_tokens=False)["input_ids"]
        found += [mask, torch.tensor(ids, dtype=torch.long, device=model.device)]
    return torch.cat([part.to(model.device) for part in found])


def _length(stride: str | None) -> int | str | None:
    return int(stride) if stride is not None and stride.isdecimal() else stride


def _with(rule: Any, name: str, **asked: Any) -> Any:
    """A model's own sampler with the given options, which are refused if the sampler does not have them."""
    said = {field: value for field, value in asked.items() if value is not None}
    named = {"order": "sampler", "length": "stride"}
    shown = {field: "--" + named.get(field, field).replace("_", "-") for field in asked}
    known = [field.name for field in fields(rule) if field.name in asked]
    for field in said:
        if field not in known:
            raise ProbeError(
                f"{shown[field]} for {name}",
                expected=f"an option of its sampler ({rule}): " + ", ".join(shown[one] for one in known),
                found=shown[field],
                remedy="Leave it out.",
            )
    return replace(rule, **said)


def _plain(run: Any) -> dict[str, Any]:
    """A run of one example as JSON values."""
    told = {name: getattr(run, name) for name in ("sampler", "seed", "forward_passes", "slots")}
    told["approximate"] = run.approximate
    told["committed_at"] = run.committed_at.tolist()
    told["revised"] = int(run.withdrawals.any(-2).sum())
    if run.strides is not None:
        names = ("start", "predicted", "proposed", "accepted", "rejected", "passes", "ended_at", "drafted")
        columns = [getattr(run.strides, name).tolist() for name in names]
        told["strides"] = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return told


@app.command(epilog="Example: [cyan]twinprobe adapt recipe.yaml --out my-twin[/]")
def adapt(
    recipe: Annotated[Path, typer.Argument(help="A recipe; those of the shipped models are examples.")],
    folder: Annotated[Path, typer.Option("--out", help="The folder of the new model; the same command again resumes.")],
    as_it_is: Annotated[
        bool, typer.Option("--as-it-is", help="Train nothing: write the newest checkpoint as a snapshot that loads.")
    ] = False,
) -> None:
    """Make a twin: train a model in another paradigm, by a recipe."""
    from probe import training

    make = training.as_it_is if as_it_is else training.adapt
    made = make(training.read_recipe(recipe), folder)
    out.print(Text(f"made {made}; look at it with: twinprobe check {made}"))
