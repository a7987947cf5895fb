"""YAML within limits: the tree of nodes is checked before a value is made of it, so that each fault has its line.

Three things that YAML allows are refused: an alias that blows the tree up or leads in a circle, a value that is no
plain one (dates, sets, bytes), and a key that stands in a mapping twice, of which YAML would silently take the last.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from probe.outside_files.content import refuse_lone
from probe.outside_files.limits import DIGITS, Limits, UnreadableError
from probe.outside_files.wording import cut

if TYPE_CHECKING:
    import yaml

_BREAKS = "\n\r\x85\u2028\u2029"
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


def read_yaml(text: str, limits: Limits) -> Any:
    """The plain data of some YAML; raises `UnreadableError`."""
    root = composed(text, limits)
    if root is None:
        return None
    _refuse_twice(root)
    return constructed(root)


def composed(text: str, limits: Limits) -> yaml.Node | None:
    """YAML's tree of nodes, each with its line, within the limits; raises `UnreadableError`."""
    import yaml

    parts = sum(text.count(sign) for sign in (*_BREAKS, ",")) - text.count("\r\n")
    if parts > limits.most_parts:
        raise UnreadableError(f"at most {limits.most_parts:,} lines and commas", f"{parts:,}", "", "Split it.")
    try:
        root = _compose(text, limits.deepest)
    except RecursionError:
        raise limits.too_deep from None
    except (yaml.YAMLError, ValueError) as problem:
        raise _of_yaml("YAML", problem) from None
    if root is not None:
        _refuse_wild(root, limits)
    return root


def _compose(text: str, deepest: int) -> yaml.Node | None:
    """YAML's tree of nodes, left off where it is deeper than allowed: the time that it takes grows with the square."""
    import yaml

    class Shallow(yaml.SafeLoader):
        depth = -1

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.depth += 1
            if self.depth > deepest:
                raise RecursionError
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    return yaml.compose(text, Loader=Shallow)


def _refuse_wild(root: yaml.Node, limits: Limits) -> None:
    """Refuse a tree that aliases blow up or lead in circles, and values that are not plain."""
    import yaml

    stack, seen, checked = [(root, 0)], 0, set()
    while stack:
        node, depth = stack.pop()
        seen += 1
        if depth > limits.deepest or seen > 10 * limits.most_parts:
            found = "an alias that leads back to itself, or nesting without end"
            raise UnreadableError("plain YAML", found, "", "Write it out.")
        if id(node) not in checked:
            checked.add(id(node))
            _refuse_odd(node, limits.finite)
        if isinstance(node, yaml.MappingNode):
            stack += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            stack += [(part, depth + 1) for part in node.value]


def constructed(root: yaml.Node) -> Any:
    """The plain data of a tree that `composed` let through; raises `UnreadableError`."""
    import yaml

    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(root)
    except (yaml.YAMLError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as problem:
        raise _of_yaml("plain values", problem) from None
    finally:
        loader.dispose()


def _of_yaml(expected: str, problem: Exception) -> UnreadableError:
    mark = getattr(problem, "problem_mark", None) or getattr(problem, "context_mark", None)
    words = getattr(problem, "problem", None) or " ".join(str(problem).split())
    return UnreadableError(expected, cut(words.removeprefix("found ")), f"line {mark.line + 1}" if mark else "")


def _refuse_odd(node: yaml.Node, finite: bool) -> None:
    """Refuse what is no plain value: dates, sets, bytes, numbers that no computer holds, halves of signs."""
    import yaml

    where = f"line {node.start_mark.line + 1}"
    if node.tag not in _PLAIN_TAGS:
        kind = node.tag.rpartition(":")[2]
        found = "a date" if kind == "timestamp" else f"a {cut(kind, 40)}"
        raise UnreadableError("plain values", found, where, "Put it in quotes if it is a text.")
    if isinstance(node, yaml.MappingNode):
        if not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise UnreadableError("keys that are words", "a list or a mapping as a key", where)
    elif isinstance(node, yaml.ScalarNode):
        refuse_lone([node.value])
        _refuse_number(node.tag.rpartition(":")[2], node.value, finite, where)


def _refuse_number(kind: str, written: str, finite: bool, where: str) -> None:
    if kind == "int" and len(written) > DIGITS:
        raise UnreadableError(f"whole numbers of at most {DIGITS} digits", f"one of {len(written):,}", where)
    if kind == "float" and finite:
        try:
            whole = math.isfinite(float(written.replace("_", "")))
        except ValueError:  # .inf and .nan, and times such as 1:30.5
            whole = ":" in written
        if not whole:
            raise UnreadableError("finite numbers", cut(written, 40), where)


def _refuse_twice(node: yaml.Node) -> None:
    """Refuse keys that stand in one mapping twice, of which YAML would silently take the last."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twice(item)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line, name = key.start_mark.line + 1, str(key.value)
        if name in seen:
            words = f"{cut(repr(name), 60)}, which stands in line {seen[name]} already"
            raise UnreadableError("each key once", words, f"line {line}", "Keep one of them.")
        seen[name] = line
        _refuse_twice(value)
