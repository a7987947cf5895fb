"""Several users of one model: what one records or edits, another neither sees nor suffers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import copy_context

import numpy as np
import torch

from probe.decoding import decode
from probe.tracing import edit, patch, record, zero
from tests.probe.tracing.architectures import hooks_of, model_of, tokens_of

SECONDS = 2.0


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_four_threads_get_what_each_would_get_alone():
    model, tokens = model_of("qwen3", "full", seed=4), tokens_of()

    def recorded() -> list[np.ndarray]:
        trace = record(model, tokens, ["resid_post", "pattern", "head_out", "logits"])
        return [trace[name].values for name in trace]

    def answered() -> list[np.ndarray]:
        with torch.no_grad():
            return [model.logits(tokens).numpy()]

    def edited() -> list[np.ndarray]:
        with edit(model, [zero("z", layer=0, head=1), zero("pattern", layer=1, head=[0, 2])]):
            return [decode(model, tokens, 2, seed=0).tokens.numpy(), *recorded()]

    def steered() -> list[np.ndarray]:
        with edit(model, patch("resid_mid", 1.0, layer=0, position=2)):
            return [*answered(), decode(model, tokens, 2, seed=0).confidence.numpy()]

    works = [recorded, answered, edited, steered]
    alone = [work() for work in works]
    assert not np.allclose(alone[1][0], alone[3][0])
    rounds, wrong = [0] * 4, []
    deadline = time.monotonic() + SECONDS

    def again(number: int, work: Callable[[], list[np.ndarray]]) -> None:
        try:
            while rounds[number] == 0 or time.monotonic() < deadline:
                for found, expected in zip(work(), alone[number], strict=True):
                    np.testing.assert_allclose(found, expected, atol=1e-5)
                rounds[number] += 1
        except BaseException as problem:
            wrong.append((work.__name__, problem))

    threads = [threading.Thread(target=again, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong, wrong
    assert min(rounds) >= 1
    assert hooks_of(model) == 0
    assert model.attention_override is None


def test_an_open_edit_acts_in_its_own_thread_alone():
    model, tokens = model_of("llama", "full"), tokens_of()
    plain, elsewhere = model.logits(tokens), []
    with edit(model, [zero("resid_post", layer=0), zero("pattern", layer=1)]):
        assert not torch.allclose(model.logits(tokens), plain)
        in_a_thread(lambda: elsewhere.append((model.logits(tokens), model.attention_override, len(model.before_run))))
    torch.testing.assert_close(elsewhere[0][0], plain, atol=0, rtol=0)
    assert elsewhere[0][1:] == (None, 0)


def test_a_thread_that_is_handed_the_context_sees_the_edit():
    model, tokens, found = model_of("llama", "full"), tokens_of(), []
    with edit(model, zero("resid_post", layer=1)):
        here, context = model.logits(tokens), copy_context()
        in_a_thread(lambda: context.run(lambda: found.append(model.logits(tokens))))
    torch.testing.assert_close(found[0], here, atol=0, rtol=0)


def test_contexts_closed_out_of_order_leave_nothing():
    model, tokens = model_of("llama", "full"), tokens_of()
    plain = model.logits(tokens)
    with edit(model, zero("pattern", layer=1)):
        only_second = model.logits(tokens)
    first, second = ExitStack(), ExitStack()
    first.enter_context(edit(model, zero("pattern", layer=0)))
    second.enter_context(edit(model, zero("pattern", layer=1)))
    first.close()
    torch.testing.assert_close(model.logits(tokens), only_second, atol=0, rtol=0)
    second.close()
    assert model.attention_override is None
    assert not model.before_run
    assert hooks_of(model) == 0
    torch.testing.assert_close(model.logits(tokens), plain, atol=0, rtol=0)


def test_a_context_that_another_thread_closes_is_over():
    model, tokens = model_of("llama", "full"), tokens_of()
    plain, stack = model.logits(tokens), ExitStack()
    stack.enter_context(edit(model, zero("resid_post", layer=0)))
    in_a_thread(stack.close)
    torch.testing.assert_close(model.logits(tokens), plain, atol=0, rtol=0)
    assert hooks_of(model) == 0
    model.before_run.clear()
