"""Decoding: a prompt, a sampler, and the trajectory they make."""

from __future__ import annotations

from probe.decoding.decode import decode
from probe.decoding.sampler import ORDERS, Sampler
from probe.decoding.strides import Strides
from probe.decoding.trajectory import Trajectory

__all__ = ["ORDERS", "Sampler", "Strides", "Trajectory", "decode"]
