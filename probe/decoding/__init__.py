"""Decoding: a prompt, a sampler, and the trajectory they make."""

from __future__ import annotations

from probe.decoding.decode import decode, rule_for
from probe.decoding.flowing import Flowing
from probe.decoding.sampler import ORDERS, Sampler
from probe.decoding.strides import ELASTIC, Strides
from probe.decoding.trajectory import StridesTaken, Trajectory

__all__ = ["ELASTIC", "ORDERS", "Flowing", "Sampler", "Strides", "StridesTaken", "Trajectory", "decode", "rule_for"]
