"""Numbers, times and names as text, the same in report, app and terminal.

A number gets as many digits as its interval supports: two digits of the interval's half-width, and the estimate to the
same place. So 0.1234567 with the interval 0.0512 to 0.1961 is written 0.123 [0.051, 0.196].

    shown(0.1234567, 0.0512, 0.1961)     "0.123 [0.051, 0.196]"
    duration(3725)                       "1 h 02 min"
"""

from __future__ import annotations

import math
from typing import Any

_ACRONYMS = {"cka": "CKA", "did": "DiD", "fli": "FLI"}
_MOST_PLACES = 6
MINUS, NOTHING = "\N{MINUS SIGN}", "–"


def shown(estimate: Any, low: Any = None, high: Any = None) -> str:
    """An estimate with its interval, to the digits that the interval supports."""
    bounds = [as_float(bound) for bound in (low, high)]
    if any(map(math.isnan, bounds)):
        return number(estimate)
    places = _places((bounds[1] - bounds[0]) / 2, digits=2)
    written = [number(value, places) for value in (estimate, *bounds)]
    return f"{written[0]} [{written[1]}, {written[2]}]"


def number(value: Any, places: int | None = None) -> str:
    """One number: whole ones as they are, others to three digits or to `places` after the point."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace("-", MINUS)
    value = as_float(value)
    if math.isnan(value):
        return NOTHING
    if places is not None and abs(value) < 0.5 * 10**-places and places < _MOST_PLACES:
        return f"{0:.{places}f}"  # the estimate is 0 to the precision of its interval
    if math.isinf(value) or (value and not 1e-4 <= abs(value) < 1e7):
        return f"{value:.2e}".replace("-", MINUS)
    return f"{value:,.{_places(value, 3) if places is None else places}f}".replace("-", MINUS)


def probability(p: Any) -> str:
    """A p-value to three places; smaller ones as "< 0.001"."""
    p = as_float(p)
    return NOTHING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def label(value: Any) -> str:
    """A row label: a word as it is, a whole number without a decimal point."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.4g}"
    return str(value)


def duration(seconds: Any) -> str:
    seconds = as_float(seconds)
    if math.isnan(seconds):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def size(number_of_bytes: Any) -> str:
    amount = as_float(number_of_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return NOTHING if math.isnan(amount) else f"{amount:.0f} {unit}" if amount >= 10 else f"{amount:.1f} {unit}"


def heading(name: str) -> str:
    """A name of the code as a heading: front_loading(draws=1), `Front loading (draws 1)`."""
    words = _ACRONYMS.get(name) or name.replace(".", ": ").replace("_", " ").strip()
    words = words.replace("(", " (").replace("=", " ")
    return words[:1].upper() + words[1:]


def as_float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _places(value: float, digits: int) -> int:
    """The decimals needed to show this many digits of a value."""
    if not value or not math.isfinite(value):
        return digits
    return min(_MOST_PLACES, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
