"""Sparse features: a state as a sum of a few of many directions, of one model (an SAE) or of both twins (a crosscoder).

    features.train(model, batches)                 a TopK SAE of a model's stream after a layer
    features.crosscoder(pair, batches)             one set of latents for both twins, a decoder each
    features.compare(pair, batches)                which latents both twins have, which only one; against a second seed
    features.evaluate(dictionary, pair, batch)     its error in the states, and what that error costs the model
    features.rivals(dictionary, model, batch)      does a single feature tell answers better than a neuron does?
    features.selectivity, .toward, .attribute      features where neurons are used: selectivity, steering, attribution
    features.Dictionary                            encode, decode, direction (a vector for steering), save, open
    features.load, features.save                   SAELens' files

Dictionaries learn from traces on disk, read a block at a time; with a folder they resume. Only safetensors are read.
"""

from __future__ import annotations

from analyses.features.attribution import attribute
from analyses.features.comparison import compare
from analyses.features.dictionary import Dictionary
from analyses.features.evaluation import evaluate
from analyses.features.held_out_units import rivals
from analyses.features.latent_scaling import scaling
from analyses.features.learning import crosscoder, train
from analyses.features.saelens import load, save
from analyses.features.stream import Stream
from analyses.features.training import TrainingOptions, fit
from analyses.features.use import activations, selectivity, toward

__all__ = [
    "Dictionary",
    "Stream",
    "TrainingOptions",
    "activations",
    "attribute",
    "compare",
    "crosscoder",
    "evaluate",
    "fit",
    "load",
    "rivals",
    "save",
    "scaling",
    "selectivity",
    "toward",
    "train",
]
