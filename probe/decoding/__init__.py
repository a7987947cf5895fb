"""Decoding: a prompt, a rule, and the trajectory they make."""

from __future__ import annotations

from probe.decoding.by_sampler import BySampler
from probe.decoding.decode import decode, fill, rule_for
from probe.decoding.flow import Flowing
from probe.decoding.passes import PassOptions
from probe.decoding.strides import ELASTIC, Strides
from probe.decoding.trajectory import StridesTaken, Trajectory
from probe.decoding.writer import Asked, Rule, Writer, writer_of, writes
from probe.paradigms.remasking import Remasking
from probe.paradigms.sampler import ORDERS, Sampler

__all__ = [
    "ELASTIC",
    "ORDERS",
    "Asked",
    "BySampler",
    "Flowing",
    "PassOptions",
    "Remasking",
    "Rule",
    "Sampler",
    "Strides",
    "StridesTaken",
    "Trajectory",
    "Writer",
    "decode",
    "fill",
    "rule_for",
    "writer_of",
    "writes",
]
