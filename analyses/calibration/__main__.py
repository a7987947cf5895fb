"""`python -m analyses.calibration`: print the calibration table."""

from __future__ import annotations

import argparse

from analyses.calibration.table import PAIRS, table


def main() -> None:
    """Simulate pairs, and print rejections and coverage."""
    parser = argparse.ArgumentParser(prog="python -m analyses.calibration", description="Do tests reject at 5%?")
    parser.add_argument(
        "--pairs", type=int, default=PAIRS, help=f"how many pairs to simulate for each row (default {PAIRS})"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", nargs="+", metavar="NAME", help="simulate only these rows")
    given = parser.parse_args()
    found = table(pairs=given.pairs, seed=given.seed, figures=given.figures)
    print(f"{found.title}\n{found.caption}\n")
    print(as_markdown(found.table))


def as_markdown(rows) -> str:
    """The table as Markdown, one line per measure and regime."""
    lines = ["| figure | nodes | used | rejects a null | covers the truth |", "|---|---|---|---|---|"]
    for (figure, regime, used), part in rows.groupby(["figure", "regime", "used"], sort=False):
        cells = {row["what"]: f"{row['estimate']:.1%}" for _, row in part.iterrows()}
        figure = figure.replace("|mean|", "abs(mean)")  # a vertical bar would end the cell
        lines.append(f"| {figure} | {regime} | {used} | {cells.get('rejects', '–')} | {cells.get('covers', '–')} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
