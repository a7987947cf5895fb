"""Decoding: from a prompt to an answer, in any paradigm, as one `Trajectory`.

Each paradigm has a writer (`probe.decoding.writer`), which takes a rule (a `Sampler`, or FLUID's `Strides`) and
requests forward passes. They use a KV cache wherever the attention makes that exact (see `probe.decoding.passes`).
`PassOptions` set callbacks for the passes, and another function to run them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

# The paradigms' writers register themselves when they are imported.
import probe.decoding.autoregressive
import probe.decoding.flow
import probe.decoding.fluid
import probe.decoding.masked  # noqa: F401  (it registers its writer)
from probe.decoding.passes import PassOptions, Run, passes_of, watched
from probe.decoding.row_chunks import joined, rows_at_once, seed_of
from probe.decoding.trajectory import Trajectory
from probe.decoding.writer import Asked, Rule, Writer, writer_of
from probe.errors import ProbeError, TokenError

if TYPE_CHECKING:
    from probe.models.model import Model


def decode(
    model: Model,
    prompt_tokens: Tensor | str | list[str],
    length: int,
    *,
    sampler: Asked = None,
    steps: int | None = None,
    seed: int = 0,
    passes: PassOptions = PassOptions(),  # noqa: B008  (frozen)
) -> Trajectory:
    """Write `length` tokens after a prompt (length, or batch × length), by default with the model's own sampler.

        probe.decode(model, "The capital of France is", 20).text

    A prompt may be text (several texts, of one length in tokens): the model's tokenizer encodes it.

    A FLUID model takes `Strides`, a flow `Flowing` in `steps` steps, the others a `Sampler` (or the name of its order);
    each can also be plain data, as in a spec: `{"order": "entropy", "stop": ["."]}`. `passes` has options of the
    forward passes: `PassOptions(on_step=show)` calls `show(step, state, written)` after each,
    `PassOptions(cache=False)` uses no cache. Very many prompts are decoded in chunks (`probe.decoding.row_chunks`).

    >>> prompt = batch.clean[0, :8]
    >>> run = probe.decode(pair.diffusion, prompt, 4, steps=2)
    >>> run.tokens.shape, run.forward_passes
    (torch.Size([12]), 2)
    """
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise TokenError("length", expected="at least 1 token to write", found=str(length), remedy="Ask for more.")
    if isinstance(prompt_tokens, str):
        prompt_tokens = model.encode(prompt_tokens)[0]
    elif isinstance(prompt_tokens, list) and all(isinstance(text, str) for text in prompt_tokens):
        prompt_tokens = model.encode(prompt_tokens)
    alone = isinstance(prompt_tokens, Tensor) and prompt_tokens.dim() == 1
    prompt = model.checked(prompt_tokens[None] if alone else prompt_tokens)  # type: ignore[arg-type, index]  # checked
    model.check_length(len(prompt), prompt.shape[1] + length)
    trajectory = _written(
        model, prompt, length, (sampler, steps), seed, passes,
        lambda writer, rows, rule, run: writer.write(model, rows, length, rule, run),
    )  # fmt: skip
    return trajectory.without_batch() if alone else trajectory


def fill(
    model: Model,
    tokens: Tensor,
    *,
    sampler: Asked = None,
    steps: int | None = None,
    seed: int = 0,
    passes: PassOptions = PassOptions(),  # noqa: B008  (frozen)
) -> Trajectory:
    """Fill every masked slot of a text (length, or batch × length), wherever it is: a blank in the middle, or the rest
    of a run that was stopped. Masked and block models only.

    >>> text = batch.clean[0].clone()
    >>> text[3] = pair.diffusion.mask_id
    >>> int((probe.decoding.fill(pair.diffusion, text).tokens != text).sum())
    1
    """
    alone = tokens.dim() == 1
    text = model.checked(tokens[None] if alone else tokens)
    if model.mask_id is None or not bool((text == model.mask_id).any(1).all()):
        raise TokenError("a text to fill", expected="a mask in every row", found="a row without one",
                         remedy="Put model.mask_id where a token is to be written.")  # fmt: skip
    model.check_length(len(text), text.shape[1])
    trajectory = _written(
        model, text, 0, (sampler, steps), seed, passes,
        lambda writer, rows, rule, run: writer.fill(model, rows, rule, run),
    )  # fmt: skip
    return trajectory.without_batch() if alone else trajectory


def _written(
    model: Model,
    rows: Tensor,
    more: int,
    asked: tuple[Asked, int | None],
    seed: int,
    options: PassOptions,
    write: Callable[[Writer[Any], Tensor, Any, Run], Trajectory],
) -> Trajectory:
    """The run that `write` makes of texts, each `more` tokens longer at its end; in chunks of rows if they are many."""
    writer = writer_of(model)
    rule = writer.settled(model, *asked)
    _refuse_no_seed(seed)
    length = rows.shape[1] + more
    kept = writer.approximates(rule)
    called = options.on_step is not None or options.on_stride is not None
    divided = writer.divides and not called and not watched(model, options)
    at_once = rows_at_once(writer.slots_at_once(length), model.vocabulary) if divided else max(1, len(rows))
    parts = []
    for number, chunk in enumerate(rows.split(at_once)):
        passes = passes_of(model, length, options, hidden=writer.reads_hidden(rule), approximate=kept)
        run = Run(passes, seed_of(seed, number), options.on_step or _unwatched, options.on_stride or _unwatched)
        with torch.no_grad():
            parts.append(write(writer, chunk, rule, run))
    tokenizer = model.tokenizer if model.has_tokenizer else None
    told = f"{kept} cache" if kept else ""
    return replace(joined(parts, seed), tokenizer=tokenizer, mask_id=model.mask_id, approximate=told)


def _refuse_no_seed(seed: object) -> None:
    """Refuse what no generator takes: it has room for 64 bits."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not -(1 << 63) <= int(seed) < 1 << 63:
        raise ProbeError(
            f"seed={str(seed)[:40]}",
            expected="a whole number of at most 63 bits",
            found=type(seed).__name__,
            remedy="Take a small one, such as 0.",
        )


def _unwatched(*_: object) -> None:
    pass


def rule_for(model: Model, asked: Asked = None, steps: int | None = None) -> Rule:
    """The rule of a run: the given one, or the model's own; refused if it belongs to another paradigm."""
    return writer_of(model).settled(model, asked, steps)
