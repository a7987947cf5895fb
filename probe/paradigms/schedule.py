"""The two clocks of a flow: t, which mixes noise and token, and τ, which measures how readable the token is.

A flow sees I_t = (1-t)·noise + t·one-hot. With a large vocabulary almost no token can be read from I_t until t is
large, and almost every one soon after: training with a uniform t would waste most of its steps. So FLM measures time by
the share of readable tokens. P_e(t) is the error of taking the largest entry of I_t for the token, and

    τ(t) = 1 - V/(V-1)·P_e(t),        1 - P_e(t) = E_z[Φ(z + t/(1-t))^(V-1)]

runs from 0 (a guess) to 1 (certainty), linearly in readable tokens: at τ a share τ of the tokens can be read, which is
what a masked model sees at mask ratio 1-τ. The expectation is a Gauss-Hermite sum; τ is tabulated once per vocabulary
and interpolated linearly in log(1-τ), which stays finite where 1-τ underflows.

    >>> round(time_of(0.5, 30_522), 4)
    0.8045
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import overload

import numpy as np
import torch
from torch import Tensor

from probe.errors import ProbeError

NODES = 360  # of the sum: P_e to 1e-7 for any vocabulary; numpy's Hermite polynomials overflow beyond 370
LAST = 0.97  # the largest tabulated t: there 1-τ is below 1e-200, and only τ = 1, t = 1 is left
POINTS = 1 << 14


@overload
def time_of(tau: float, vocabulary: int) -> float: ...
@overload
def time_of(tau: Tensor | Sequence[float], vocabulary: int) -> Tensor: ...
def time_of(tau, vocabulary):
    """The interpolant time t at which the reparameterised time is `tau` (a number, or a tensor of them)."""
    return _answered(tau, clock_of(vocabulary).time_of)


@overload
def tau_of(t: float, vocabulary: int) -> float: ...
@overload
def tau_of(t: Tensor | Sequence[float], vocabulary: int) -> Tensor: ...
def tau_of(t, vocabulary):
    """The reparameterised time τ at interpolant time `t`."""
    return _answered(t, clock_of(vocabulary).tau_of)


def _answered(times, change):
    if isinstance(times, Tensor):
        return change(times)
    plain = torch.as_tensor(times, dtype=torch.float64)
    return change(plain) if plain.dim() else change(plain).item()


@dataclass(frozen=True, eq=False)
class Clock:
    """τ(t) and its inverse for one vocabulary. `even` is the ablation: τ = t."""

    vocabulary: int
    even: bool
    times: Tensor  # t at the table's points, float64
    unread: Tensor  # log(1-τ) there, falling

    def time_of(self, tau: Tensor) -> Tensor:
        """t at τ, in the type of `tau`."""
        _refuse_outside(tau, "τ")
        if self.even:
            return tau
        wanted = torch.log1p(-tau.double())
        # The table falls and `searchsorted` wants it to rise.
        t = _on_lines(-wanted, -self.unread.to(tau.device), self.times.to(tau.device))
        return torch.where(tau >= 1, 1.0, t).to(tau.dtype)

    def tau_of(self, t: Tensor) -> Tensor:
        """τ at t. Forward- and backward-mode derivatives go through it."""
        _refuse_outside(t, "t")
        if self.even:
            return t
        unread = _on_lines(t.double(), self.times.to(t.device), self.unread.to(t.device))
        return torch.where(t > LAST, 1.0, -torch.expm1(unread)).to(t.dtype)


@cache
def clock_of(vocabulary: int, *, even: bool = False) -> Clock:
    """The clock of a vocabulary, tabulated on first use."""
    if isinstance(vocabulary, bool) or not isinstance(vocabulary, int) or vocabulary < 2:
        raise ProbeError(
            "vocabulary", expected="a whole number of at least 2", found=repr(vocabulary), remedy="Count its tokens."
        )
    times = torch.linspace(0, LAST, POINTS, dtype=torch.float64)
    unread = times if even else log_unread(times, vocabulary)
    return Clock(vocabulary, even, times, unread)


def log_unread(times: Tensor, vocabulary: int) -> Tensor:
    """log(1-τ) = log(V/(V-1)·P_e) at some t below 1 (float64), exactly 0 at t = 0."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(NODES))
    signal = times / (1 - times)
    chunks = []
    for part in signal.split(1024):  # times × nodes at a time
        wrong = -torch.expm1((vocabulary - 1) * torch.special.log_ndtr(nodes + part[:, None]))
        chunks.append(wrong @ weights / weights.sum())
    error = torch.cat(chunks)
    unread = torch.log(error * (vocabulary / (vocabulary - 1))).clamp(max=0)
    # At t = 0 every token is equally likely to be the largest; the sum says so only up to a processor's rounding.
    return torch.where(times == 0, 0.0, unread)


def _on_lines(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """y at some x, by straight lines through a table whose x rise; flat beyond its ends."""
    with torch.no_grad():
        right = torch.searchsorted(x, at.detach().contiguous()).clamp(1, len(x) - 1)
    left = right - 1
    slope = (y[right] - y[left]) / (x[right] - x[left]).clamp(min=1e-300)
    return y[left] + slope * (at.clamp(x[0], x[-1]) - x[left])


def _refuse_outside(times: Tensor, name: str) -> None:
    low, high = (times.min(), times.max()) if times.numel() else (0, 0)
    if not (low >= 0 and high <= 1):
        raise ProbeError(
            f"time {name}",
            expected="numbers from 0 to 1",
            found=f"{float(low):g} to {float(high):g}",
            remedy="Mend it.",
        )
