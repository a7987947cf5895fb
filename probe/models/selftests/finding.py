"""A self-test's finding: what it expected, what it found, and one of three outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PASS, FAIL, NOT_RUN = "pass", "fail", "not run"


@dataclass(frozen=True)
class Finding:
    """One test's outcome."""

    test: str
    expected: str
    found: str
    outcome: str


@dataclass(frozen=True)
class SelfTests:
    """The findings of one model."""

    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.outcome == FAIL)

    def __getitem__(self, test: str) -> Finding:
        return {finding.test: finding for finding in self.findings}[test]


def tolerance(dtype: torch.dtype) -> float:
    """The largest rounding error of logits, relative to their spread. A 30-layer float32 model under an attention that
    it was not trained with reaches 2e-4 between two correct kernels; real faults start near 1. (A float64 model is
    hardly better: stock eager attention takes its softmax in float32.)"""
    return 1e-3 if dtype in (torch.float32, torch.float64) else 5e-2


def apart(one: Tensor, other: Tensor, dtype: torch.dtype) -> Tensor:
    """The distance between two computations of the same logits, relative to the logits' spread.

    This is the largest difference, except in half precision, where that depends on the worst of thousands of roundings,
    which differ between processors (.02 to .05 between two correct kernels). There it is the root mean square, .006 to
    .01 between correct kernels; one wrong token of 24 makes it .2.
    """
    off = (one - other).abs()
    worst = off.max() if dtype in (torch.float32, torch.float64) else off.square().mean().sqrt()
    return worst / other.std()


def within(dtype: torch.dtype, test: str, expected: str, off: Tensor) -> Finding:
    """A pass if two computations are `off` (relative to the logits' spread) by no more than rounding."""
    outcome = PASS if off.item() <= tolerance(dtype) else FAIL  # NaN compares false, so it fails
    return Finding(test, expected, f"they differ by {off.item():.0e} of their scale", outcome)
