"""Files from outside: read in one place, within limits, so that whatever they hold is answered by a sentence.

A recipe, a catalog, a checkpoint's config.json, somebody's run folder: each may come from another person, from a
download that broke off, or from a program that went wrong. Python's own readers meet such files with tracebacks of many
kinds, or with minutes of work: JSON that is nested 100,000 deep, a number of 5,000 digits, bytes that are no UTF-8, a
named pipe that never ends, an alias of an alias of an alias. So no other module reads them. A `FileKind` says what a
kind of file is called in errors, which error it raises, and how much of it can be meant in earnest:

    RECIPE = FileKind("recipe", remedy="The shipped recipes are examples.", largest=1 << 20)
    RECIPE.yaml("mine.yaml")          # plain data, or: recipe mine.yaml, line 3: expected …; found …

What comes back is plain: None, bools, whole numbers of at most 40 digits, floats, strings that can be encoded, lists
and mappings. No key stands twice in a mapping. NaN and infinity are refused, but in files where our own writers put
them (`finite=False`). Reading costs about a tenth more than `json.loads`; the first limit that is passed ends it.
"""

from __future__ import annotations

from probe.outside_files.kind import TABLE, FileKind
from probe.outside_files.limits import UnreadableError
from probe.outside_files.paths import is_file, is_folder, is_there
from probe.outside_files.wording import cut, told, type_name
from probe.outside_files.yaml_text import constructed

__all__ = [
    "TABLE",
    "FileKind",
    "UnreadableError",
    "constructed",
    "cut",
    "is_file",
    "is_folder",
    "is_there",
    "told",
    "type_name",
]
