"""Tracing: record or edit a model's activations at any site. See `sites` for their names."""

from __future__ import annotations

from probe.tracing.diffusion_gemma import Denoising, record_denoising
from probe.tracing.editing import edit
from probe.tracing.edits import Edit, Skip, add, freeze, mean, only, patch, resample, skip, zero
from probe.tracing.record import record
from probe.tracing.safetensors_format import read_safetensors, write_safetensors
from probe.tracing.sites import SITES
from probe.tracing.store import open_trace
from probe.tracing.tracers.activation_cache import from_activation_cache, to_activation_cache

__all__ = [
    "SITES",
    "Denoising",
    "Edit",
    "Skip",
    "add",
    "edit",
    "freeze",
    "from_activation_cache",
    "mean",
    "only",
    "open_trace",
    "patch",
    "read_safetensors",
    "record",
    "record_denoising",
    "resample",
    "skip",
    "to_activation_cache",
    "write_safetensors",
    "zero",
]
