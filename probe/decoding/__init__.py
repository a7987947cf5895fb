"""Decoding: a prompt, a sampler, and the trajectory they make."""

from __future__ import annotations

from probe.decoding.decode import decode, rule_for
from probe.decoding.flow import Flowing
from probe.decoding.fluid import ELASTIC, Strides
from probe.decoding.trajectory import StridesTaken, Trajectory
from probe.paradigms.sampler import ORDERS, Sampler

__all__ = ["ELASTIC", "ORDERS", "Flowing", "Sampler", "Strides", "StridesTaken", "Trajectory", "decode", "rule_for"]
