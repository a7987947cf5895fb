"""Two hundred seeded faults of every kind, each followed by the same command once more: `python -m tests.faults`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.count import FAULTS, as_markdown, faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("-n", type=int, default=FAULTS, help="how many faults (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="what draws them (default: %(default)s)")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="faults-") as folder:
        rows = faults(Path(folder), given.n, given.seed)
    print(as_markdown(rows, given.seed))
    return 1 if any(row.lost for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
