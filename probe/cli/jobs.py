"""The verbs of batch jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from probe.cli.models import VERDICT_STYLES
from probe.cli.screen import app, out

if TYPE_CHECKING:
    from probe.models.selftests import SelfTests


@app.command(epilog="Example: [cyan]twinprobe demo[/]")
def demo() -> None:
    """The shipped twins, checked and asked to write: today's main job, which grows with the toolkit."""
    from probe.decoding import decode as run
    from probe.models.loading import load
    from probe.models.selftests import run_selftests
    from probe.zoo import shipped

    models = [load(f"zoo:{name}", selftest="off") for name in shipped()]
    tests = {model.name: run_selftests(model) for model in models}
    out.print(_verdict_grid(tests))
    prompt, length = "When Luke and Keith went to the museum, Keith gave a", 3
    writing = Table(title=Text(f"{prompt} …"), title_justify="left", box=box.SIMPLE)
    for heading in ("model", "writes", "forward passes", "sampler"):
        writing.add_column(heading)
    for model in models:
        tokens = model.encode(prompt)[0]
        told = run(model, tokens, length)
        text = str(model.tokenizer.decode(told.tokens[len(tokens) :].tolist()))
        writing.add_row(*map(Text, (model.name, text, str(told.forward_passes), told.sampler)))
    out.print(writing)
    out.print(
        Text("Look closer: twinprobe check zoo:tiny-masked, twinprobe task ioi, twinprobe --help; and the README.")
    )


def _verdict_grid(tests: dict[str, SelfTests]) -> Table:
    """One row a model, one column a self-test."""
    grid = Table(title="self-tests of the shipped models", title_justify="left", box=box.SIMPLE, padding=0)
    grid.add_column("model", no_wrap=True)
    for finding in next(iter(tests.values())).findings:
        grid.add_column(finding.test, justify="center", min_width=max(map(len, finding.test.split())))
    for name, found in tests.items():
        grid.add_row(
            Text(name.removeprefix("zoo:")),
            *(Text(each.verdict, style=VERDICT_STYLES[each.verdict]) for each in found.findings),
        )
    return grid
