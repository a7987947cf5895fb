"""One file per way of writing text; what is shared by them is in `paradigm`, `canvas` and `visibility`."""

from __future__ import annotations

from probe.errors import ProbeError, nearest
from probe.paradigms.autoregressive import Autoregressive
from probe.paradigms.block import Block
from probe.paradigms.flow import Flow
from probe.paradigms.flow_map import FlowMap
from probe.paradigms.fluid import Fluid
from probe.paradigms.masked import Masked
from probe.paradigms.paradigm import Lesson, Paradigm

__all__ = ["PARADIGMS", "Autoregressive", "Block", "Flow", "FlowMap", "Fluid", "Lesson", "Masked", "Paradigm", "named"]

PARADIGMS: dict[str, type[Paradigm]] = {
    kind.name: kind for kind in (Autoregressive, Masked, Block, Fluid, Flow, FlowMap)
}


def named(name: str) -> type[Paradigm]:
    """The paradigm of a name."""
    try:
        return PARADIGMS[name]
    except KeyError:
        raise ProbeError(
            f"paradigm {name!r}",
            expected="one of " + ", ".join(PARADIGMS),
            found=repr(name),
            remedy=nearest(name, PARADIGMS),
        ) from None
