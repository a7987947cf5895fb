"""Pools: examples that models answer right, of which we know which those are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import sqrt

import pytest
import torch

from probe.accuracy import Accuracy
from probe.errors import TaskError
from probe.pairs import Pair
from probe.paradigms import Autoregressive, Masked
from probe.readings import READINGS, OneMask, Ratio, TrajectoryReading, named
from probe.tasks import Draw, Example, Piece, Task, Words, task, vocabulary
from probe.tasks.solved import right
from probe.tasks.word_lists import NAMES
from tests.probe.readings.asking import MASK, batch_of, model_of
from tests.probe.readings.handmade import constant, likes, reads

# "List: A T [T] T": who copies the token before the blank is right where `left`, who copies the next where `right`.
LEFT, RIGHT = 1, 2


@dataclass(frozen=True)
class Echo(Task):
    """The answer stands before the blank, behind it, on both sides or on neither, a quarter of the time each."""

    name = "echo"
    scope = "local"
    asks = "A name is asked"
    because = "it stands beside the blank"
    corrupts = ("first",)

    enough: int = 10**9  # different examples

    def make(self, words: Words, draw: Draw) -> Iterator[Example]:
        names = words.single(NAMES, "names", at_least=20)
        for number in range(self.enough):
            first, other, target, before, behind = draw.sample(names, 5)
            sides = draw.below(4)
            yield Example(
                key=(number,),
                prompt=("List:", Piece(first, "first", corrupt=other), target if sides & LEFT else before),
                completion=(target,),
                rest=(target if sides & RIGHT else behind,),
                distractor=other,
                choices=names,
                facts={"sides": sides},
            )


@cache
def pair() -> Pair:
    return Pair(reads(-1, Autoregressive(mask_id=MASK)), reads(1, Masked(mask_id=MASK, shift=False)), name="echo twins")


def sides(batch) -> list[int]:
    return [facts["sides"] for facts in batch.facts]


def wilson(successes: int, tried: int) -> tuple[float, float]:
    """Newcombe (1998), method 3."""
    z, p = 1.959963984540054, successes / tried
    centre, half = p + z**2 / (2 * tried), z * sqrt(p * (1 - p) / tried + z**2 / (4 * tried**2))
    return (centre - half) / (1 + z**2 / tried), (centre + half) / (1 + z**2 / tried)


def test_a_pool_of_twins_is_what_both_answer():
    batch = Echo().batch(pair(), 30, seed=4, reading="one_mask")
    assert sides(batch) == [LEFT | RIGHT] * 30
    tried = batch.accuracy["ar"].tried
    every = Echo().examples(vocabulary.shipped(), tried, seed=4)
    solved = torch.tensor(sides(every))
    wanted = every[(solved == LEFT | RIGHT).nonzero()[:30, 0]]
    assert torch.equal(batch.clean, wanted.clean), "the first ones that both answer, in order"
    assert batch.selection_rate == pytest.approx((solved == LEFT | RIGHT).float().mean().item())
    assert batch.accuracy == {
        "ar": Accuracy(int(((solved & LEFT) > 0).sum()), tried),
        "diffusion": Accuracy(int(((solved & RIGHT) > 0).sum()), tried),
    }


def test_a_pool_of_one_model():
    ar, diffusion = pair().ar, pair().diffusion
    alone = Echo().batch(ar, 20, reading="one_mask")
    assert set(sides(alone)) == {LEFT, LEFT | RIGHT}
    assert list(alone.accuracy) == [ar.name]
    other = Echo().batch(diffusion, 20, reading="one_mask")
    assert set(sides(other)) == {RIGHT, LEFT | RIGHT}


def test_a_pool_is_the_same_again_and_a_smaller_one_is_its_beginning():
    one, again = (Echo().batch(pair(), 20, seed=1, reading="one_mask") for _ in range(2))
    assert torch.equal(one.clean, again.clean)
    assert one.accuracy == again.accuracy
    smaller = Echo().batch(pair(), 7, seed=1, reading="one_mask")
    assert torch.equal(smaller.clean, one.clean[:7])
    other = Echo().batch(pair(), 20, seed=2, reading="one_mask")
    assert not torch.equal(one.clean, other.clean)
    calibration = Echo().batch(pair(), 20, seed=1, reading="one_mask", split="calibration")
    rows = {tuple(row) for row in one.clean.tolist()}
    assert calibration.split == "calibration"
    assert rows.isdisjoint(map(tuple, calibration.clean.tolist()))


def test_what_is_out_of_reach_is_said():
    """Under prefix the next token is not in sight, and a mask is no answer."""
    with pytest.raises(TaskError) as nothing:
        Echo().batch(pair(), 5, reading="prefix")
    assert "a pool of 5 test examples of 'echo' for 'echo twins'" in str(nothing.value)
    assert "answer right under prefix; found 0 among 100" in str(nothing.value)
    assert "diffusion 0.000 [0.000, 0.037] of 100" in str(nothing.value)
    assert "unselected" in nothing.value.remedy

    every = Echo(enough=60).examples(vocabulary.shipped(), 60, fewer=True)
    both = sides(every).count(LEFT | RIGHT)
    with pytest.raises(TaskError, match=f"found {both} among {len(every)}; ar 0.*diffusion 0.*Ask for {both} or fewer"):
        Echo(enough=60).batch(pair(), 50, reading="one_mask")
    assert len(Echo(enough=60).batch(pair(), both, reading="one_mask")) == both


def test_wilson_intervals():
    for successes, tried in ((0, 10), (3, 10), (10, 10), (81, 263), (499, 1000)):
        found = Accuracy(successes, tried)
        assert found.share == successes / tried
        assert found.interval == pytest.approx(wilson(successes, tried), abs=1e-12)
    # Newcombe's table I.
    assert Accuracy(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert str(Accuracy(81, 263)) == "0.308 [0.255, 0.366] of 263"


@pytest.mark.parametrize(
    "reading",
    [*(name for name in READINGS if name != "noise"), OneMask(attention="causal"), Ratio(draws=3, over="completion")],
    ids=str,
)
def test_what_was_selected_is_answered_when_asked_again(reading):
    """A constant is right wherever it is the target, under every reading, and in a batch of other company."""
    token = int(batch_of("sudoku").target[0])
    model = constant(token, Masked(mask_id=MASK))
    batch = task("sudoku").batch(model, 6, reading=reading)
    assert (batch.target == token).all()
    assert right(model, batch, named(reading)).all()


def test_what_ratio_and_trajectory_select_they_answer_again():
    """Random models, on small questions of many draws: masks and states belong to an example, not to its batch."""
    model, batch = model_of("masked"), batch_of("ioi", 60)
    generous = replace(batch, right=torch.rand(batch.right.shape, generator=torch.Generator().manual_seed(0)) < 0.5)
    for asking in (Ratio(draws=5), TrajectoryReading(aggregate="mean")):
        solved = right(model, generous, asking)
        assert 0 < solved.sum() < len(solved)
        chosen = solved.nonzero()[:, 0]
        assert right(model, generous[chosen], asking).all()
        assert not right(model, generous[(~solved).nonzero()[:, 0]], asking).any()


def test_the_mask_and_what_one_twin_alone_has_are_no_answers():
    """The best token is sought among those that both have."""
    batch = batch_of("ioi", 4)
    mask_first = constant(MASK, Masked(mask_id=MASK))
    everything = replace(batch, choices=torch.arange(471), right=torch.arange(471).expand(4, -1) == MASK)
    assert not right(mask_first, everything, OneMask()).any()
    last = constant(470, Masked(mask_id=MASK))
    only_last = replace(everything, right=torch.arange(471).expand(4, -1) == 470)
    assert right(last, only_last, OneMask()).all()
    assert not right(last, only_last, OneMask(), vocabulary=470).any()


def test_unselected_examples_are_the_task_s_own():
    mine, twins = Echo(), pair()
    taken, drawn = mine.batch(twins, 8, 3, solved=False), mine.examples(twins, 8, seed=3)
    assert torch.equal(taken.clean, drawn.clean)
    assert (taken.selection_rate, dict(taken.accuracy)) == (1.0, {})
    with pytest.raises(TaskError, match=r"these are all of the split 'test'.*solved=False"):
        Echo(enough=40).batch(twins, 40)


def test_the_right_token_need_only_be_above_the_distractor_if_that_is_asked():
    """A model that would rather write something else altogether prefers the right token to the wrong one, or does
    not."""
    examples = Echo().examples(pair(), 12)
    elsewhere = next(token for token in range(MASK + 1, 40) if token not in examples.choices)
    logits = {elsewhere: 9.0, **dict.fromkeys(examples.target[:6].tolist(), 3.0)}
    model = likes(logits, Masked(mask_id=MASK, shift=False))
    tops = right(model, examples, named("one_mask"))
    above = right(model, examples, named("one_mask"), criterion="over_distractor")
    liked = torch.tensor([token in examples.target[:6].tolist() for token in examples.target.tolist()])
    disliked = torch.tensor([token in examples.target[:6].tolist() for token in examples.distractor.tolist()])
    assert not tops.any()
    assert above.tolist() == (liked & ~disliked).tolist()
    assert above.any()
    assert not above.all()


def test_an_unknown_criterion_is_refused():
    with pytest.raises(TaskError, match="over_distractor"):
        task("ioi").batch(pair(), 2, solved="nearly")  # type: ignore[arg-type]  # the mistake
