"""`python -m analyses.calibration`: the calibration table, on the screen."""

from __future__ import annotations

import argparse

from analyses.calibration.table import PAIRS, table


def main() -> None:
    """Simulate, and print rejections and coverage side by side."""
    parser = argparse.ArgumentParser(prog="python -m analyses.calibration", description="Do tests reject at 5%?")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"how many to simulate of each (default {PAIRS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", nargs="+", metavar="NAME", help="of the table, these alone")
    given = parser.parse_args()
    found = table(pairs=given.pairs, seed=given.seed, figures=given.figures)
    print(f"{found.title}\n{found.caption}\n")
    print(as_markdown(found.table))


def as_markdown(rows) -> str:
    """The table as Markdown, a line a figure."""
    lines = ["| figure | nodes | used | rejects a null | covers the truth |", "|---|---|---|---|---|"]
    for (figure, regime, used), part in rows.groupby(["figure", "regime", "used"], sort=False):
        cells = {row["what"]: f"{row['estimate']:.1%}" for _, row in part.iterrows()}
        figure = figure.replace("|mean|", "abs(mean)")  # an upright would end the cell
        lines.append(f"| {figure} | {regime} | {used} | {cells.get('rejects', '–')} | {cells.get('covers', '–')} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
