from __future__ import annotations


def nodes(work, rows):
    raise NotImplementedError


def edges(work, rows):
    raise NotImplementedError
