"""How much memory is free, and bytes as people read them."""

from __future__ import annotations


def available_memory() -> int:
    """Bytes that can still be had without swapping."""
    import psutil  # comes with accelerate

    return psutil.virtual_memory().available


def readable(size: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
