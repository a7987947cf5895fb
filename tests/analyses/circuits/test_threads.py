"""A model that several threads use: an attribution neither changes what others compute nor is changed by it."""

from __future__ import annotations

import threading

import numpy as np
import torch

import analyses
import probe


def test_an_attribution_and_another_thread_s_logits_do_not_meet():
    model = probe.load("zoo:ar")
    batch = probe.task("ioi").examples(model, 4)
    tokens = batch.clean[:, :6]

    def scores() -> np.ndarray:
        circuit = analyses.circuits.attribute(model, batch, reading="ar", method="eap-ig", steps=2)
        return circuit.edges["score"].to_numpy()

    plain, alone = model.logits(tokens), scores()
    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.append(scores()))
    thread.start()
    asked = 0
    while thread.is_alive() or asked == 0:
        torch.testing.assert_close(model.logits(tokens), plain, atol=1e-5, rtol=0)
        asked += 1
    thread.join()
    np.testing.assert_allclose(found[0], alone, atol=1e-5)
