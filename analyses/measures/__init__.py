"""What a job can measure: every measure of the toolkit, with what it needs, for `probe.jobs` to find by name.

Work that several measures need is a stage of its own and done once. A measure then only calls its function, so each is
a line or two. Functions are imported where they are called: a job is planned without any of them.

    pool ─┬─ circuit ─┬─ front_loading, did, spread, overlap, faithfulness, robustness, …
          │           └─ knockouts ── causal_profile, knockout_curve, …
          └─ trace ───── beliefs (with lens), direct_attribution, contributions, …
                               … and of their results: verdict
"""

from __future__ import annotations

from dataclasses import replace

from analyses.measures import from_circuits, from_models, hypotheses
from analyses.measures.headlines import HEADLINES
from analyses.measures.shared_stages import SHARED

_DECLARED = [*SHARED, *from_circuits.MEASURES, *from_models.MEASURES, *hypotheses.MEASURES]
MEASURES = [replace(stage, headline=HEADLINES.get(stage.name)) for stage in _DECLARED]
