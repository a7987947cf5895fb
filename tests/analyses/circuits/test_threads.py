"""A model that several threads use: an attribution neither changes what others compute nor is changed by it."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch

import analyses
import probe
from analyses import circuits
from analyses.circuits import AttributionOptions
from analyses.circuits.attribution import key_directions
from analyses.components.knockouts import Knockouts
from analyses.components.partial_forward import Whole
from probe.models.model import Model
from tests.analyses.circuits.asking import batch_of, model_of


def test_an_attribution_and_another_thread_s_logits_do_not_meet():
    model = probe.load("zoo:ar")
    batch = probe.task("ioi").examples(model, 4)
    tokens = batch.clean[:, :6]

    def scores() -> np.ndarray:
        circuit = analyses.circuits.attribute(model, batch, reading="ar", method="eap-ig", steps=2)
        return circuit.edges["score"].to_numpy()

    plain, alone = model.logits(tokens), scores()
    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.append(scores()))
    thread.start()
    asked = 0
    while thread.is_alive() or asked == 0:
        torch.testing.assert_close(model.logits(tokens), plain, atol=1e-5, rtol=0)
        asked += 1
    thread.join()
    np.testing.assert_allclose(found[0], alone, atol=1e-5)


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_a_pass_that_leaves_layers_out_does_so_in_its_own_thread_alone():
    model = model_of("llama-gqa", "full")
    canvas = model.canvas(batch_of(2).clean)
    plain, elsewhere = model.run_trunk(canvas), []
    whole = Whole.of(model, canvas)
    whole.entering[1].mul_(0)
    with whole.begun(1, torch.arange(2)):
        assert not torch.allclose(model.run_trunk(canvas), plain)
        in_a_thread(lambda: elsewhere.append(model.run_trunk(canvas)))
    torch.testing.assert_close(elsewhere[0], plain, atol=0, rtol=0)


def test_partial_passes_closed_out_of_order_leave_every_block_its_own():
    model = model_of("llama-gqa", "full")
    canvas = model.canvas(batch_of(2).clean)
    plain, whole = model.run_trunk(canvas), Whole.of(model, canvas)
    first, second = ExitStack(), ExitStack()
    first.enter_context(whole.begun(1, torch.arange(2)))
    second.enter_context(whole.begun(1, torch.arange(2)))
    first.close()
    torch.testing.assert_close(model.run_trunk(canvas), plain, atol=1e-5, rtol=0)
    second.close()
    assert not any("forward" in vars(block) for block in model.blocks)
    torch.testing.assert_close(model.run_trunk(canvas), plain, atol=0, rtol=0)


def test_a_copy_that_is_made_meanwhile_is_a_model_of_its_own():
    """Tracers with modules of their own copy the backbone, maybe while another thread's partial pass is open."""
    model = model_of("llama-gqa", "full")
    canvas = model.canvas(batch_of(2).clean)
    plain, whole = model.run(canvas), Whole.of(model, canvas)
    with whole.begun(1, torch.arange(2)):
        copied = copy.deepcopy(model.backbone)
    for block in copied.model.layers:
        block.mlp.down_proj.weight.zero_()
    torch.testing.assert_close(model.run(canvas), plain, atol=0, rtol=0)
    assert not torch.allclose(Model(copied, model.paradigm).run(canvas), plain)


def test_key_directions_of_one_thread_outlive_those_of_another():
    model = model_of("gpt2", "full")
    canvas = model.canvas(batch_of(2).clean)
    plain, elsewhere = model.run(canvas), []

    def another() -> None:
        elsewhere.append(model.run(canvas))
        with key_directions.parted(model, canvas):
            elsewhere.append(model.run(canvas))

    with key_directions.parted(model, canvas):
        in_a_thread(another)
        torch.testing.assert_close(model.run(canvas), plain, atol=1e-5, rtol=0)
    for found in elsewhere:
        torch.testing.assert_close(found, plain, atol=1e-5, rtol=0)
    assert model.attention_override is None


def test_four_threads_that_record_attribute_and_knock_out_get_what_each_would_get_alone():
    model, batch = model_of("llama-gqa", "full"), batch_of(2)
    run = Knockouts.of(model, batch, reading="prefix", kind="zero", metric="logit_difference")
    masks = np.stack([run.nodes["node"].isin([name]).to_numpy() for name in ("a1.h0", "m1", "a0.h1")])

    def recorded() -> np.ndarray:
        return probe.record(model, batch.clean, ["resid_post"])["resid_post"].values

    def attributed() -> np.ndarray:
        options = AttributionOptions(directions=True)
        return circuits.attribute(model, batch, steps=1, options=options).edges["score"].to_numpy()

    def knocked_out() -> np.ndarray:
        return run.metric(masks)

    def answered() -> np.ndarray:
        return model.logits(batch.clean).numpy()

    works = [recorded, attributed, knocked_out, answered]
    alone, wrong, rounds = [work() for work in works], [], [0] * 4
    deadline = time.monotonic() + 1.0

    def again(number: int) -> None:
        try:
            while rounds[number] < 2 or time.monotonic() < deadline:
                np.testing.assert_allclose(works[number](), alone[number], atol=1e-5)
                rounds[number] += 1
        except BaseException as problem:
            wrong.append((works[number].__name__, problem))

    threads = [threading.Thread(target=again, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not wrong, wrong
    assert min(rounds) >= 2
    assert not any("forward" in vars(block) for block in model.blocks)
