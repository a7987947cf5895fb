"""Which heads and MLPs matter more in one model than in the other: each node's own score in both, and the change.

    circuits.node_changes(ar, diffusion).table      # node, ar, diffusion, estimate (the change), low, high, p, q

A node's score is how much the answer's metric changes if its output is that of the corrupt prompt: below 0, the answer
needs it. So a change below 0 says that the node matters more in the diffusion model than in its AR twin. Differences
are paired, since both answered the same prompts; q is p after Benjamini-Hochberg over the nodes. It costs no forward
pass.
"""

from __future__ import annotations

from analyses import statistics
from analyses.circuits.circuit import Circuit
from analyses.result import Result
from probe.errors import ProbeError


def node_changes(ar: Circuit, diffusion: Circuit) -> Result:
    """The change of every head's and MLP's score from the AR model to its twin, the largest first."""
    if ar.graph != diffusion.graph or ar.n != diffusion.n:
        raise ProbeError(
            f"the nodes of {ar.about.model!r} and {diffusion.about.model!r}",
            expected="circuits of one shape, over the same prompts",
            found=f"{ar.graph.n_layers} layers and {ar.n} prompts; {diffusion.graph.n_layers} and {diffusion.n}",
            remedy="Attribute both on one batch.",
        )
    frame = ar.graph.nodes().assign(ar=ar.per_example.mean(0), diffusion=diffusion.per_example.mean(0))
    found = statistics.mean(diffusion.per_example - ar.per_example)
    table = frame.assign(**found.columns(p=True))
    table = table.loc[table["kind"].isin(["head", "mlp"]), :]
    table = table.assign(q=statistics.adjusted(table["p"]), null=0.0, task=ar.about.task)
    order = table["estimate"].abs().sort_values(ascending=False, kind="stable").index
    return Result(
        name="node_changes",
        table=table.loc[order, :].reset_index(drop=True),
        title=f"Change of each node's importance from {ar.about.model} to {diffusion.about.model}",
        caption="The change of a node's own score on the same prompts, with its 95% interval. Below 0, the "
        "diffusion model's answer needs the node more than the AR model's does.",
        drawing="forest",
        about={"axes": {"rows": ["node"], "colour": "task", "x_title": "change of score"}},
    )
