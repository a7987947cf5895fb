"""Metrics against their definitions."""

from __future__ import annotations

import pytest
import torch

from analyses.circuits import AttributionOptions, attribute
from analyses.circuits.attribution.metrics import METRICS, metric_of
from analyses.circuits.attribution.prompts import Truth
from probe.errors import ProbeError
from tests.analyses.circuits.asking import batch_of, model_of

LOGITS = torch.tensor([[1.0, 2.0, 4.0, -1.0], [0.0, 3.0, -2.0, 5.0]])
TRUTH = Truth(
    target=torch.tensor([2, 0]),
    distractor=torch.tensor([1, 3]),
    choices=torch.tensor([3, 2, 0]),  # token 1 is none of them
    right=torch.tensor([[False, True, False], [False, False, True]]),
    wrong=torch.tensor([[True, False, False], [True, True, False]]),
    clean=torch.tensor([[1.0, 2.0, 4.0, -1.0], [1.0, 1.0, 1.0, 1.0]]),
)


def test_logit_difference():
    assert METRICS["logit_difference"](LOGITS, TRUTH).tolist() == [2.0, -5.0]


def test_probability_difference():
    p = LOGITS.softmax(-1)
    expected = [float(p[0, 2] - p[0, 3]), float(p[1, 0] - p[1, 3] - p[1, 2])]
    assert METRICS["probability_difference"](LOGITS, TRUTH).tolist() == pytest.approx(expected)


def test_kl_is_torch_s_and_zero_at_the_clean_run():
    found = METRICS["kl"](LOGITS, TRUTH)
    known, other = TRUTH.clean.log_softmax(-1), LOGITS.log_softmax(-1)
    expected = -torch.nn.functional.kl_div(other, known, log_target=True, reduction="none").sum(1)
    assert found.tolist() == pytest.approx(expected.tolist())
    assert float(found[0]) == 0
    assert float(found[1]) < 0


def test_kl_is_finite_where_the_mask_is_out_of_the_running():
    lowest = torch.finfo(torch.float32).min
    truth = Truth(*[getattr(TRUTH, name) for name in ("target", "distractor", "choices", "right", "wrong")])
    both = [logits.index_fill(1, torch.tensor([1]), lowest) for logits in (LOGITS, TRUTH.clean)]
    found = METRICS["kl"](both[0], Truth(**{**vars(truth), "clean": both[1]}))
    without = METRICS["kl"](LOGITS[:, [0, 2, 3]], Truth(**{**vars(truth), "clean": TRUTH.clean[:, [0, 2, 3]]}))
    assert found.tolist() == pytest.approx(without.tolist())


@pytest.mark.parametrize(
    ("task", "name"),
    [("greater_than", "probability_difference"), ("ioi", "logit_difference"), ("mine", "logit_difference")],
)
def test_a_task_has_a_metric_of_its_own(task, name):
    assert metric_of(None, task) == (name, METRICS[name])


def test_one_of_one_s_own():
    def doubled(logits, truth):
        return 2 * METRICS["logit_difference"](logits, truth)

    model, batch = model_of("gpt2"), batch_of()
    plain, mine = (
        attribute(model, batch, steps=2, options=AttributionOptions(metric=metric))
        for metric in ("logit_difference", doubled)
    )
    assert mine.about.metric == "doubled"
    assert torch.allclose(torch.tensor(mine.scores), 2 * torch.tensor(plain.scores))


def test_an_unknown_metric_is_refused():
    with pytest.raises(ProbeError, match="logit_difference"):
        metric_of("logit_diff", "ioi")
