"""The stages that a job can consist of. Those that every job begins with are here; measures are in `analyses`."""

from __future__ import annotations

from probe.jobs.stages.examples import POOL
from probe.jobs.stages.selftest import CHECK

GROUND = [CHECK, POOL]
