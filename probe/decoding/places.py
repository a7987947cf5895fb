"""What stands in a run's states, times and changes where there is no token, and no step."""

from __future__ import annotations

UNWRITTEN = -1  # in `states`: a place that an autoregressive run had not reached yet
GIVEN = -1  # in `committed_at`: a place that stood there from the beginning
BEYOND = -2  # in `committed_at`: a place behind the token that ended the text
KEPT = -1  # in `changes`: a pass left the place as it was
WITHDRAWN = -2  # in `changes`: a pass took the token back, and the place is open again
