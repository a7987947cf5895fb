"""Revision: histories that were planted are told as they were planted, and real ones as a slow count has them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

import probe
from analyses import calibration, revision
from analyses.revision.answers_by_step import POINTS
from probe.decoding import Remasking, Sampler
from probe.decoding.trajectory import Log
from probe.jobs.stages.registry import measures

PAIR = probe.load_pair("zoo:masked")
TASK = probe.task("countdown")
REMASKED = Sampler("random", steps=12, temperature=1.0, remask=Remasking("cap", 0.3))


def planted(batch, history):
    """A run of one example whose completion stands as each entry of `history` says after each pass (None: open)."""
    places, mask = batch.positions["completion"][0], PAIR.diffusion.mask_id
    tokens = batch.clean.clone()
    tokens[0, places] = mask
    is_open = tokens == mask
    log, state = Log(tokens, is_open), tokens
    for answer in history:
        now = state.clone()
        now[0, places] = torch.tensor([mask if token is None else token for token in answer])
        wrote, back = (now != state) & (now != mask), (now != state) & (now == mask)
        log.step(state, torch.zeros(state.shape), wrote, reopened=back, busy=torch.ones(1, dtype=torch.bool))
        state = now
    return log.finish(state, "by hand", 0, 0)


def test_a_planted_history_is_found():
    batch = TASK.examples(PAIR, 1)
    right = batch.written()[0].tolist()
    wrong = [right[1], right[0], *right[2:]]
    half = [*right[:1], *[None] * (len(right) - 1)]
    run = planted(batch, [half, right, half, wrong, right, right, right, wrong, wrong, wrong])
    at_points, single = revision.figures(run, TASK, batch)
    assert POINTS == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    judged = bool(TASK.check(batch, torch.tensor([wrong]))[0])
    assert at_points[0, 0].tolist() == [0, 1, 0, judged, 1, 1, 1, judged, judged, judged]
    found = dict(zip(revision.FIGURES, single[0, :, 0].tolist(), strict=True))
    assert not judged
    at = int(batch.positions["answer"][0, 0] - batch.positions["completion"][0, 0])
    assert at == 1  # as open as the rest in `half`
    assert found["token settles"] == pytest.approx(0.8)
    assert found["other whole answers"] == 3
    assert found["right, then wrong"] == 1
    assert found["slots revised"] == 1  # the first by the swap, the others by the masks
    calm = planted(batch, [half, right])
    assert [float(value) for value in revision.figures(calm, TASK, batch)[1].ravel()] == [0, 1, 0, 0]


def test_a_real_run_is_counted_as_slowly_as_one_can():
    batch = TASK.examples(PAIR, 12)
    start = int(batch.positions["completion"].min())
    run = probe.decode(PAIR.diffusion, batch.clean[:, :start], batch.clean.shape[1] - start, sampler=REMASKED, seed=4)
    at_points, single = revision.figures(run, TASK, batch)
    mask = PAIR.diffusion.mask_id
    for row in range(12):
        one, held, seen, written_again = batch[[row]], [mask] * batch.clean.shape[1], [], set()
        changed_last = 0
        for step in range(len(run)):
            for place, change in enumerate(run.changes[row, step].tolist()):
                if change != -1:
                    changed_last = step
                    if held[place] not in (mask, change):
                        written_again.add(place)
                    held[place] = change if change >= 0 else mask
            seen.append(list(held[start:]))
        answers = seen[: changed_last + 1]
        right = [mask not in answer and bool(TASK.check(one, torch.tensor([answer]))[0]) for answer in answers]
        assert at_points[row, 0].tolist() == [right[-(-len(answers) * tenth // 10) - 1] for tenth in range(1, 11)]
        tokens = [answer[int(batch.positions["answer"][row, 0]) - start] for answer in answers]
        stays = next(k for k in range(len(tokens)) if len(set(tokens[k:])) == 1)
        wholes = [answer for answer in answers if mask not in answer]
        given_way = sum(one != other for one, other in pairwise(wholes))
        assert single[row, :, 0].tolist() == pytest.approx(
            [len(written_again) / len(answers[0]), (stays + 1) / len(answers), given_way,
             float(any(right) and not right[-1])]
        )  # fmt: skip


def test_the_twins_side_by_side():
    batch = TASK.examples(PAIR, 16)
    result = revision.by_step(PAIR, TASK, batch, sampler=REMASKED)
    table = result.table.set_index(["role", "measure", "at"])["estimate"]
    assert table["ar", "slots revised", 1.0] == 0
    came_to = (batch.positions["answer"] - batch.positions["completion"][:, :1] + 1) / 5
    assert table["ar", "token settles", 1.0] == pytest.approx(float(came_to.float().mean()))
    assert table["diffusion", "slots revised", 1.0] > 0
    assert 0 < table["diffusion", "token settles", 1.0] <= 1
    wrote = probe.decode(PAIR.ar, batch.clean[:, :-5], 5).tokens[:, -5:]
    assert table["ar", "right", 1.0] == pytest.approx(TASK.check(batch, wrote).float().mean())
    assert {"low", "high", "n", "q"} <= set(result.table.columns)
    assert "remask cap" in result.about["samplers"]["diffusion"]
    assert result.figure().data
    alone = revision.by_step(PAIR.diffusion, TASK, batch, sampler=REMASKED).table
    assert set(alone["role"]) == {"model"}


def test_it_is_a_measure_and_its_interval_is_calibrated():
    assert measures()["revision"].headline is not None
    table = calibration.table(pairs=60, figures=["slots revised of one model"]).table
    (row,) = table.to_dict("records")
    assert row["what"] == "covers"
    assert row["low"] <= 0.95 <= row["high"]
