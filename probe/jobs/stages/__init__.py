"""The stages of a job. Those that every job begins with are here; measures are in `analyses`."""

from __future__ import annotations

from probe.jobs.stages.examples import POOL
from probe.jobs.stages.selftest import CHECK

GROUND = [CHECK, POOL]
