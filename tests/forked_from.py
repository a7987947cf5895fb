"""What the server of forked processes has ready beside the imports: what self-tests find on the models that jobs use.

It is imported in the server alone. One thread, so that no fork inherits a pool whose threads it does not have.
"""

from __future__ import annotations

import torch

import probe
from tests import tested_once

torch.set_num_threads(1)
tested_once.loading.remembered = lambda model, source, make: make()
for place in tested_once.PLACES:
    place.run_selftests = tested_once.run_selftests
for name in ("ar", "masked", "ar-cpt"):
    probe.load(f"zoo:{name}", device="cpu")
