from __future__ import annotations


def bytes_a_row(model, slots, *, neurons=False):
    return slots * 4 * model.n_layers * 60 * model.d_model
