"""Self-tests: does a loaded model behave as declared?

Loading a diffusion model wrongly rarely fails; it computes something else. Each test here compares the declaration with
the weights' behaviour, and says what it expected and what it found. Some look things up (`mask`, `rotary`), some
compare two computations (`mechanics`), two need language (`language`). A test that cannot decide says "not run", never
"pass".

    1 wiring       logits under an explicit mask equal those of the stock class with its own (causal, or an encoder's)
    2 attention    a token's logits depend on the tokens that it is declared to see, before and after it, and on no
                   others
      attention    and text is predicted best under the declared attention
    3 shift        a hidden token is predicted best from the slot that is declared to predict it
    4 mask token   the mask is a row of the embedding, and not a token of text
    5 rotary       the rotary frequencies are those of the formula
    6 kernels      eager and SDPA agree; attention rows sum to 1 and are exactly 0 where forbidden
    7 streams      in every layer, the outputs of the layout's parts add up to the residual stream
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from probe.errors import SelfTestError
from probe.models.model import Model
from probe.models.selftests.finding import FAIL, NOT_RUN, PASS, Finding, SelfTests
from probe.models.selftests.language import attention_on_text, hidden_text, shift
from probe.models.selftests.mask import mask_token
from probe.models.selftests.mechanics import attention_reach, kernels, wiring
from probe.models.selftests.rotary import rotary
from probe.models.selftests.streams import streams

__all__ = [
    "CHEAP",
    "FAIL",
    "NOT_RUN",
    "PASS",
    "Finding",
    "SelfTests",
    "computes",
    "refuse_failures",
    "run_selftests",
    "unchecked",
]

LOOKED_UP: dict[str, Callable[[Model], Finding]] = {"mask token": mask_token, "rotary": rotary}
LANGUAGE = ("attention on text", "shift")
COMPUTED = ("wiring", "attention reach", "attention on text", "shift", "kernels", "streams")
CHEAP = 50_000_000  # parameters up to which all tests are fast enough on a CPU for every load


def run_selftests(model: Model, *, full: bool = True, sample: Sequence[str] | None = None) -> SelfTests:
    """All tests (`full`), or those that are fast enough for a load of this size. `sample` are lines in the model's
    language, instead of the declared ones."""
    left_out = _why_not_computed(model, full)
    with torch.no_grad():
        findings = [_found(name, model, partial(test, model)) for name, test in LOOKED_UP.items()]
        if left_out is None:
            findings += _computed(model, sample)
        else:
            findings += [Finding(name, "", left_out, NOT_RUN) for name in COMPUTED]
    return SelfTests(tuple(findings))


def _computed(model: Model, sample: Sequence[str] | None) -> list[Finding]:
    """The tests that need forward passes, as named in `COMPUTED`; those of language share a pass."""
    text = hidden_text(model, sample)
    tests = (
        partial(wiring, model),
        partial(attention_reach, model),
        partial(attention_on_text, model, text),
        partial(shift, model, text),
        partial(kernels, model),
        partial(streams, model),
    )
    return [_found(name, model, test) for name, test in zip(COMPUTED, tests, strict=True)]


def _found(name: str, model: Model, test: Callable[[], Finding]) -> Finding:
    """A test's finding; a part in the layout that the class does not have is a failure."""
    try:
        return test()
    except AttributeError as absent:
        return Finding(name, f"the parts that the layout of {model.layout.model_type!r} names", str(absent), FAIL)


def computes(model: Model, *, full: bool) -> bool:
    """Whether all tests would run, including those with forward passes."""
    return _why_not_computed(model, full) is None


def _why_not_computed(model: Model, full: bool) -> str | None:
    if model.mask_id is not None and not 0 <= model.mask_id < model.vocabulary:
        return "no forward pass can take a mask outside the embedding"
    if not full and model.n_parameters > CHEAP and model.device.type == "cpu":
        return f"left out at load of {model.n_parameters / 1e9:.1f} B parameters; `twinprobe check` runs it"
    return None


def unchecked(model: Model, tests: SelfTests) -> tuple[str, ...]:
    """A note for a diffusion model whose attention and shift no text could check, although all tests ran."""
    found = {finding.test: finding for finding in tests.findings}
    language = [found[name] for name in LANGUAGE if name in found]
    if not model.paradigm.diffuses or not language or any(finding.outcome != NOT_RUN for finding in language):
        return ()
    return ("its attention and shift are as declared, and not checked: no text that it knows",)


def refuse_failures(model: Model, tests: SelfTests) -> None:
    """Raise one error with all failures."""
    if not tests.failed:
        return
    raise SelfTestError(
        f"model {model.name!r}",
        expected="; ".join(f"{finding.test}: {finding.expected}" for finding in tests.failed),
        found="; ".join(f"{finding.test}: {finding.found}" for finding in tests.failed),
        remedy="Correct the declaration (paradigm=, mask_id=, shift=, attention=, or a row of a catalog) or the "
        "files; selftest='off' loads it anyway, for inspection.",
    )
