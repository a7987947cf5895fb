"""What stands in a run's states and times where there is no token, and no step."""

from __future__ import annotations

UNWRITTEN = -1  # in `states`: a place that an autoregressive run had not reached yet
GIVEN = -1  # in `committed_at`: a place that stood there from the beginning
