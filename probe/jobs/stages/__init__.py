"""The stages that a job can be asked for; those every job begins with are declared here, measures in `analyses`."""

from __future__ import annotations

from probe.jobs.stages.examples import POOL
from probe.jobs.stages.selftest import CHECK

GROUND = [CHECK, POOL]
