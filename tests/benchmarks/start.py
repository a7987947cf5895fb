"""What a first command costs before it computes: imports, `load_pair`, and a finished run asked for again.

    python tests/benchmarks/start.py [--markdown] [--rounds 3] [--spec demo] [--run FOLDER]

CPU time (the least of some rounds, since other work on the machine lengthens some), each round in a process of its own.
"Imports alone" are those of torch and of one transformers model, which every load needs; what `load_pair` takes above
them is ours. Self-tests are cached under their files' hash, so it is measured with an empty cache and with a full one.
`--run` names the folder of a finished run of `--spec`; the same command again has nothing to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from frame import arguments, main, show

IMPORTS = "import torch; from transformers.models.llama.modeling_llama import LlamaForCausalLM"
PAIR = "import probe; kept = probe.load_pair('zoo:masked')"
AGAIN = f"{PAIR}; import time; t = time.process_time(); probe.load_pair('zoo:masked'); print(time.process_time() - t)"


def run() -> None:
    options = arguments(__doc__, rounds=3, spec="demo", run="")
    with tempfile.TemporaryDirectory() as folder:
        empty = [str(Path(folder) / str(round)) for round in range(options.rounds)]
        full = [str(Path(folder) / "full")] * options.rounds
        rows = {
            "imports alone": least(["-c", IMPORTS], empty),
            "`load_pair`, nothing cached": least(["-c", PAIR], empty),
            "`load_pair`, self-tests cached": least(["-c", PAIR], [*full, full[0]]),
            "`load_pair` again in one process": min(float(spent(["-c", AGAIN], cache)[1]) for cache in full),
        }
    if options.run:
        again = ["-m", "probe.cli", "run", options.spec, "--out", options.run]
        rows["a finished run again"] = least(again, [os.environ.get("XDG_CACHE_HOME", "")] * options.rounds)
    show(
        "CPU time before anything is computed",
        [{"what": name, "CPU s": f"{seconds:.2f}"} for name, seconds in rows.items()],
        options.markdown,
    )


def least(words: list[str], caches: list[str]) -> float:
    """The least CPU time of a command, called once with each cache folder."""
    return min(spent(words, cache)[0] for cache in caches)


def spent(words: list[str], cache: str) -> tuple[float, str]:
    """CPU time of a Python process and of all that it began, and what it printed."""
    here = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    here |= {"XDG_CACHE_HOME": cache} if cache else {}
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([sys.executable, *words], env=here, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{words} ended with {process.returncode}")
        out.seek(0)
        return used.ru_utime + used.ru_stime, out.read()


if __name__ == "__main__":
    main(run)
