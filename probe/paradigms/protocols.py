"""What a paradigm needs from a model: a callable backbone, its sizes, and its attachments.

Models are built on paradigms, so a paradigm cannot import them. These protocols list what it calls, and any object that
has it will do: the project's own `probe.Model`, or a stand-in in a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, device, dtype, nn

if TYPE_CHECKING:
    from probe.paradigms.canvas import Canvas


class ModelLike(Protocol):
    """A backbone with its paradigm."""

    name: str
    attachments: dict[str, nn.Module]

    @property
    def attention_override(self) -> str | None: ...

    @attention_override.setter
    def attention_override(self, name: str | None) -> None: ...

    @property
    def paradigm(self) -> Any: ...

    @property
    def d_model(self) -> int: ...

    @property
    def vocabulary(self) -> int: ...

    @property
    def device(self) -> device: ...

    @property
    def dtype(self) -> dtype: ...

    @property
    def embedding_table(self) -> Tensor: ...

    @property
    def embedding(self) -> nn.Embedding: ...

    def canvas(
        self, tokens: Tensor, attention: str | Tensor | None = None, *, padding: Tensor | None = None
    ) -> Canvas: ...

    def run(self, canvas: Canvas, *, eager: bool = False, **inputs: Tensor) -> Tensor: ...

    def run_trunk(self, canvas: Canvas, *, eager: bool = False) -> Tensor: ...

    def unembed(self, hidden: Tensor) -> Tensor: ...
