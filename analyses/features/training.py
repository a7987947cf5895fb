"""Training a dictionary: TopK, with an auxiliary loss for latents that have died (Gao et al. 2024).

The loss is the squared error of the rebuilt states, in units of their variance, over all models. Only the k chosen
latents of a row learn from it, so a latent that is never chosen would never change. Therefore latents that have not
fired for `dead_after` rows rebuild the error that the others leave; this loss has the weight `auxiliary`. Decoder rows
are normalised to length 1 after every step, and the part of their gradient along themselves is removed before it.
Encoders start as the decoders' transposes, b_dec as the mean state.

Every `checkpoint_every` steps the weights, Adam's moments and the counts of dead rows are written to the folder, beside
their place and then moved there. A training that is given the same folder goes on from it, with the very rows that it
would have seen: killed and resumed, it ends with the same weights, to the bit.

    dictionary = fit(stream, TrainingOptions(latents=512, k=16, steps=2000), folder="runs/sae")

Cost: a step is some 6 × rows × models × d × latents products: 14 ms on a core for 512 rows of one twin (d = 128) with
512 latents.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analyses.features.dictionary import DICTIONARY, NAMES, Dictionary
from analyses.features.stream import Stream
from analyses.features.weights_file import FILE, read_tensors
from probe.errors import ProbeError
from probe.models.backbone import usable_device
from probe.progress import progress

CHECKPOINT = "checkpoint.safetensors"
LOOKED_AT = 16  # blocks from which the means and the scales are taken
LEARNT = ("W_enc", "b_enc", "W_dec", "b_dec")
FALL = 0.2  # of the steps, the last, over which the rate falls to 0


@dataclass(frozen=True)
class TrainingOptions:
    """How a dictionary is trained.

    latents           in it
    k                 of them at a time
    steps             of Adam
    rows              states in a step
    rate              Adam's; unless given, 2e-4 · √(2¹⁴ / latents), as Gao et al. found
    auxiliary         how much the loss of dead latents counts
    dead_after        rows without firing, after which a latent counts as dead
    checkpoint_every  steps
    seed              of the first weights and of the order of rows
    device            "auto" is a GPU where there is one; weights then agree to rounding, not to the bit
    """

    latents: int = 512
    k: int = 16
    steps: int = 2000
    rows: int = 512
    rate: float | None = None
    auxiliary: float = 1 / 32
    dead_after: int = 50_000
    checkpoint_every: int = 500
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("latents", "k", "steps", "rows", "checkpoint_every")}
        wrong = {name: value for name, value in counts.items() if not isinstance(value, int) or value < 1}
        if wrong or self.k > self.latents:
            raise ProbeError(
                "a dictionary's training", expected="whole numbers above 0, and k of at most the latents",
                found=", ".join(f"{name} {value}" for name, value in (wrong or counts).items()),
                remedy="For example latents=512, k=16, steps=2000, rows=512.",
            )  # fmt: skip

    @property
    def learning_rate(self) -> float:
        return 2e-4 * (2**14 / self.latents) ** 0.5 if self.rate is None else self.rate

    def rate_at(self, step: int) -> float:
        left = (self.steps - step) / max(1.0, FALL * self.steps)
        return self.learning_rate * min(1.0, left)


def fit(
    stream: Stream,
    options: TrainingOptions | None = None,
    *,
    models: tuple[str, ...] = ("model",),
    folder: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
) -> Dictionary:
    """A dictionary of a stream's states; with a `folder`, one that resumes, and that is read where it is finished."""
    options = options or TrainingOptions()
    facts = {**told_of(options), **(about or {}), "models": list(models), "states": stream.mark}
    mark = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    place = None if folder is None else Path(folder)
    done = _finished(place, mark)
    if done is not None:
        return done
    training = _Training.begun(stream, options, models)
    if place is not None and (place / CHECKPOINT).is_file():
        training.resume(place / CHECKPOINT, mark)
    training.run(stream, place, mark)
    told = {**(about or {}), "training": told_of(options), "mark": mark, "states": len(stream)}
    made = replace(training.dictionary.to("cpu"), about=told)
    if place is not None:
        made.save(place)
        (place / CHECKPOINT).unlink(missing_ok=True)
    return made


def told_of(options: TrainingOptions) -> dict[str, Any]:
    """What tells one training from another."""
    return {name: value for name, value in asdict(options).items() if name not in ("device", "checkpoint_every")}


def _finished(place: Path | None, mark: str) -> Dictionary | None:
    if place is None or not (place / DICTIONARY).is_file():
        return None
    found = Dictionary.open(place)
    if found.about.get("mark") != mark:
        raise _another(place / DICTIONARY)
    return found


def _another(path: Path) -> ProbeError:
    return FILE.refuse(path, "the training that was begun there", "a training with other states or options",
                       "Resume with the same arguments, or choose another folder.")  # fmt: skip


class _Training:
    """What changes from step to step."""

    def __init__(self, dictionary: Dictionary, options: TrainingOptions):
        self.dictionary, self.options, self.step = dictionary, options, 0
        self.learnt = [dictionary.tensors[name].requires_grad_() for name in LEARNT]
        self.adam = torch.optim.Adam(self.learnt, lr=options.learning_rate, eps=6.25e-10)
        self.silent = torch.zeros_like(dictionary.b_enc, dtype=torch.long)  # rows since each latent fired

    @classmethod
    def begun(cls, stream: Stream, options: TrainingOptions, models: tuple[str, ...]) -> _Training:
        mean, scale = _moments(stream)
        count, d = mean.shape
        if count != len(models):
            raise ProbeError("a dictionary's models", expected=f"{count} names", found=", ".join(models),
                             remedy="Name every model of the stream.")  # fmt: skip
        generator = torch.Generator().manual_seed(options.seed)
        W_dec = torch.randn(options.latents, count, d, generator=generator)
        W_dec /= W_dec.flatten(1).norm(dim=1)[:, None, None]
        W_enc = W_dec.permute(1, 2, 0).contiguous()
        b_enc = torch.zeros(options.latents)
        begun = Dictionary(W_enc, b_enc, W_dec, mean / scale[:, None], scale, options.k, models)
        return cls(begun.to(usable_device(options.device)), options)

    def run(self, stream: Stream, place: Path | None, mark: str) -> None:
        options = self.options
        batches = stream.batches(options.rows, seed=options.seed, first=self.step)
        title = f"training {options.latents} latents of {' and '.join(self.dictionary.models)}"
        with progress(title, options.steps, "steps", done=self.step) as advance:
            while self.step < options.steps:
                self.learn(self.dictionary.scaled(next(batches)))
                self.step += 1
                advance()
                if place is not None and self.step % options.checkpoint_every == 0:
                    self.save(place, mark)
        for one in self.learnt:
            one.requires_grad_(False)

    def learn(self, states: Tensor) -> None:
        """One step, from states in the dictionary's units."""
        dictionary, options = self.dictionary, self.options
        for group in self.adam.param_groups:
            group["lr"] = options.rate_at(self.step)
        before = dictionary.before(states)
        latents = dictionary.chosen(before)
        left = states - dictionary.b_dec - dictionary.parts(latents)
        unit = (states - states.mean(0)).square().sum((1, 2)).mean().clamp(min=1e-12)
        loss = left.square().sum((1, 2)).mean() / unit
        dead = self.silent > options.dead_after
        if options.auxiliary and bool(dead.any()):
            loss = loss + options.auxiliary * self._by_the_dead(before, left.detach(), dead)
        self.adam.zero_grad()
        loss.backward()
        with torch.no_grad():
            self._across()
            self.adam.step()
            dictionary.W_dec.div_(dictionary.W_dec.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None])
            self.silent += len(states)
            self.silent[(latents > 0).any(0)] = 0

    def _by_the_dead(self, before: Tensor, left: Tensor, dead: Tensor) -> Tensor:
        """The loss of dead latents that rebuild the others' error, in units of that error."""
        k = min(int(dead.sum()), max(1, left.shape[1] * left.shape[2] // 2))
        among = before.masked_fill(~dead, -torch.inf)
        values, at = among.topk(k, dim=-1)
        made = self.dictionary.parts(torch.zeros_like(before).scatter(-1, at, values.relu()))
        return (left - made).square().sum() / left.square().sum().clamp(min=1e-12)

    def _across(self) -> None:
        """Remove the part of the decoder's gradient that would only change its rows' length."""
        weight = self.dictionary.W_dec
        assert weight.grad is not None
        along = (weight.grad * weight).flatten(1).sum(1)
        weight.grad -= along[:, None, None] * weight

    # Checkpoints

    def save(self, place: Path, mark: str) -> None:
        from safetensors.torch import save_file

        tensors = {name: one.detach().contiguous() for name, one in self.dictionary.tensors.items()}
        for name, one in zip(LEARNT, self.learnt, strict=True):
            tensors |= {f"{name}.{moment}": self.adam.state[one][moment] for moment in ("exp_avg", "exp_avg_sq")}
        tensors["silent"] = self.silent.double()
        place.mkdir(parents=True, exist_ok=True)
        part = place / f"{CHECKPOINT}.part"
        save_file(tensors, part, metadata={"mark": mark, "step": str(self.step)})
        os.replace(part, place / CHECKPOINT)

    def resume(self, path: Path, mark: str) -> None:
        moments = [f"{name}.{moment}" for name in LEARNT for moment in ("exp_avg", "exp_avg_sq")]
        tensors, facts = read_tensors(path, (*NAMES, *moments, "silent"))
        if facts.get("mark") != mark or not facts.get("step", "").isdigit():
            raise _another(path)
        due = {name: tuple(one.shape) for name, one in self.dictionary.tensors.items()}
        due |= {moment: due[moment.partition(".")[0]] for moment in moments} | {"silent": tuple(self.silent.shape)}
        for name, shape in due.items():
            if tuple(tensors[name].shape) != shape:
                raise FILE.refuse(path, f"{name} of shape {shape}", str(tuple(tensors[name].shape)),
                                  "Delete that checkpoint; the training begins anew.")  # fmt: skip
        self.step, self.silent = int(facts["step"]), tensors["silent"].long().to(self.silent.device)
        with torch.no_grad():
            for name, one in zip(LEARNT, self.learnt, strict=True):
                one.copy_(tensors[name])
        states = {
            number: {"step": torch.tensor(float(self.step)), "exp_avg": tensors[f"{name}.exp_avg"],
                     "exp_avg_sq": tensors[f"{name}.exp_avg_sq"]}
            for number, name in enumerate(LEARNT)
        }  # fmt: skip
        self.adam.load_state_dict({"state": states, "param_groups": self.adam.state_dict()["param_groups"]})


def _moments(stream: Stream) -> tuple[Tensor, Tensor]:
    """The mean state of each model, and how far from it states lie (root mean square), from blocks spread over all."""
    count = len(stream.sizes)
    some = sorted({int(at) for at in torch.linspace(0, count - 1, min(LOOKED_AT, count))})
    rows = torch.cat([stream.read(block) for block in some])
    mean = rows.mean(0)
    return mean, (rows - mean).square().sum(-1).mean(0).sqrt().clamp(min=1e-6)
