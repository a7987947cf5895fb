"""Special values in a run's states, times and changes."""

from __future__ import annotations

UNWRITTEN = -1  # in `states`: a place not reached yet by an autoregressive run
GIVEN = -1  # in `committed_at`: a given place
BEYOND = -2  # in `committed_at`: a place after the token that ended the text
KEPT = -1  # in `changes`: a pass did not change the place
WITHDRAWN = -2  # in `changes`: a pass withdrew the token, and the place is masked again
