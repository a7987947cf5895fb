"""A try: one change at one place of one twin, as a value that can be compared, told in words and repeated."""

from __future__ import annotations

from dataclasses import dataclass

# What the widgets and the address call them.
SITES = {
    "residual stream": "resid_post",
    "head output": "z",
    "attention output": "attn_out",
    "MLP output": "mlp_out",
}
DEEDS = {
    "patch": "patch from the first grid",
    "zero": "zero",
    "mean": "the mean over prompts",
    "scale": "scale",
    "steer": "add clean − corrupt",
}
SOURCES = {
    "corrupt prompt": "corrupt",
    "other twin": "other",
    "other twin, corrupt prompt": "other corrupt",
}
EMBEDDING = -1  # as a layer: the stream that enters the first one


@dataclass(frozen=True)
class Try:
    """One change. `slot` None is every slot; `layer` EMBEDDING is the stream that enters the first layer. A patch is
    taken from `source`, at `from_layer` and `from_slot` (None: the same). `steps` are the first and the last one,
    counted from 0, at which a run is changed; the last None is its end, and `steps` None every step."""

    role: str
    site: str
    layer: int
    head: int | None = None
    slot: int | None = None
    deed: str = "patch"
    source: str = "corrupt"
    from_layer: int | None = None
    from_slot: int | None = None
    amount: float = 1.0
    steps: tuple[int, int | None] | None = None

    @property
    def other(self) -> str:
        return "ar" if self.role == "diffusion" else "diffusion"

    @property
    def taken_from(self) -> tuple[str, str]:
        """The role of the model, and the side of the prompt, that a patch is taken from."""
        role = self.other if self.source.startswith("other") else self.role
        return role, "corrupt" if self.source.endswith("corrupt") else "clean"

    @property
    def acts_at(self) -> tuple[str, int]:
        """The site and the layer, as an edit names them."""
        return ("resid_pre", 0) if self.layer == EMBEDDING else (self.site, self.layer)

    @property
    def comes_from(self) -> tuple[str, int]:
        """The site and the layer that a patch is taken from."""
        layer = self.layer if self.from_layer is None else self.from_layer
        return ("resid_pre", 0) if layer == EMBEDDING else (self.site, layer)

    @property
    def row(self) -> int:
        """The row of the lens grid that changes: the stream after the layer."""
        return self.layer + 1

    def place(self) -> str:
        if self.site == "z":
            where = f"L{self.layer}H{self.head}"
        elif self.site == "resid_post":
            where = "embedding" if self.layer == EMBEDDING else f"stream after L{self.layer}"
        else:
            where = f"{'attention' if self.site == 'attn_out' else 'MLP'} of L{self.layer}"
        return f"{where}, {'every slot' if self.slot is None else f'slot {self.slot}'}{self._when()}"

    def _when(self) -> str:
        if self.steps is None:
            return ""
        first, last = self.steps
        if last is None:
            return f", step {first + 1} on"
        return f", step {first + 1}" if first == last else f", steps {first + 1} to {last + 1}"

    def what(self) -> str:
        """What is done there, in words."""
        if self.deed == "scale":
            return f"× {self.amount:g}"
        if self.deed == "steer":
            return f"{self.amount:+g} × (clean − corrupt)"
        if self.deed != "patch":
            return DEEDS[self.deed]
        role, which = self.taken_from
        layer = "" if self.from_layer in (None, self.layer) else f" L{self.from_layer}"
        slot = "" if self.from_slot is None else f" slot {self.from_slot}"
        return f"{role}, {which} prompt{layer}{slot}"
