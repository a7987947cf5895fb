"""Traces to and from safetensors: one file of named arrays that any tool reads, with metadata.

    probe.tracing.write_safetensors(trace, "trace.safetensors")
    probe.tracing.read_safetensors("trace.safetensors")            # the same dataset, with arrays in memory

Every variable and every numeric coordinate is a tensor of its own name; the axes, other coordinates and the trace's
provenance are in the file's metadata, under `twinprobe`, as JSON. Other tools see plain tensors:
`safetensors.torch.load_file(path)["resid_post"]`. The whole trace has to fit in memory; use zarr for larger ones
(`probe.record(…, store=…)`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from probe.errors import TraceError
from probe.outside_files import FileKind, is_there

if TYPE_CHECKING:
    import xarray

FILE = FileKind("trace", error=TraceError, remedy="Write it again with probe.tracing.write_safetensors.", finite=False)
_KEY = "twinprobe"
_NUMBERS = "biuf"


def write_safetensors(trace: xarray.Dataset, path: str | Path) -> Path:
    """Write a trace, as `probe.record` gives it, to one file."""
    from safetensors.numpy import save_file

    arrays, axes, words = {}, {}, {}
    for name, array in {**trace.coords, **trace.data_vars}.items():
        values = np.asarray(array.values)
        axes[str(name)] = [str(axis) for axis in array.dims]
        if values.dtype.kind in _NUMBERS:
            arrays[str(name)] = np.ascontiguousarray(values)
        else:
            words[str(name)] = values.astype(str).tolist()
    about = {
        "axes": axes, "words": words, "coordinates": [str(name) for name in trace.coords],
        "attributes": dict(trace.attrs), "of": {str(name): dict(each.attrs) for name, each in trace.variables.items()},
    }  # fmt: skip
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays, path, metadata={_KEY: json.dumps(about, default=_plain, ensure_ascii=False)})
    return path


def read_safetensors(path: str | Path) -> xarray.Dataset:
    """The trace that `write_safetensors` wrote."""
    import xarray
    from safetensors import SafetensorError, safe_open

    if not is_there(path):
        raise FILE.refuse(path, "a file", "none there")
    try:
        with safe_open(path, framework="np") as file:
            written = (file.metadata() or {}).get(_KEY)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except (SafetensorError, OSError, ValueError, TypeError) as problem:
        raise FILE.refuse(path, "a safetensors file", " ".join(str(problem).split())) from None
    if written is None:
        raise FILE.refuse(path, "one that write_safetensors wrote", "no axis names")
    about = FILE.object_of(written, path)
    try:
        variables = {
            name: (axes, arrays[name] if name in arrays else np.asarray(about["words"][name]), about["of"].get(name))
            for name, axes in about["axes"].items()
        }
        coordinates = {name: variables.pop(name) for name in about["coordinates"]}
        return xarray.Dataset(variables, coordinates, about["attributes"])
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        found = f"{type(problem).__name__}: {problem}"
        raise FILE.refuse(path, "axes for every array, with consistent sizes", found) from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return value.tolist() if isinstance(value, np.ndarray) else str(value)
