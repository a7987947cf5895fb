"""Paradigms, the ways of generating text: one file each, with shared code in `paradigm`, `canvas` and `visibility`.

Your own paradigm is a subclass of `Paradigm`, found by its name once its package declares it (see
docs/how_to/add_a_paradigm.md):

    [project.entry-points."twinprobe.paradigms"]
    backwards = "my_package:Backwards"
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from probe.errors import ProbeError, nearest
from probe.installed import Installed
from probe.paradigms.autoregressive import Autoregressive
from probe.paradigms.block import Block
from probe.paradigms.flow import Flow
from probe.paradigms.flow_map import FlowMap
from probe.paradigms.fluid import Fluid
from probe.paradigms.masked import Masked
from probe.paradigms.paradigm import Paradigm, TrainingBatch, labels_read_at

__all__ = [
    "INSTALLED",
    "PARADIGMS",
    "Autoregressive",
    "Block",
    "Flow",
    "FlowMap",
    "Fluid",
    "Masked",
    "Paradigm",
    "ParadigmName",
    "TrainingBatch",
    "labels_read_at",
    "named",
]

PARADIGMS: dict[str, type[Paradigm]] = {
    kind.name: kind for kind in (Autoregressive, Masked, Block, Fluid, Flow, FlowMap)
}


def _is_paradigm(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Paradigm)


INSTALLED: Installed[type[Paradigm]] = Installed(
    "twinprobe.paradigms", PARADIGMS, _is_paradigm, "a subclass of probe.paradigms.Paradigm"
)


def named(name: str) -> type[Paradigm]:
    """The paradigm of a name: one of the project's own, or one that an installed package declares."""
    try:
        return INSTALLED[name]
    except KeyError:
        raise ProbeError(
            f"paradigm {name!r}",
            expected="one of " + ", ".join(INSTALLED),
            found=repr(name),
            remedy=nearest(name, INSTALLED),
        ) from None


def _known(name: str) -> str:
    named(name)
    return name


ParadigmName = Annotated[str, AfterValidator(_known)]
"""A field of a file (a recipe, a spec, a catalog row) that names a paradigm."""
