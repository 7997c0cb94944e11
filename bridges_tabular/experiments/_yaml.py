"""YAML as people expect it: ``1e-3`` is a number, a key given twice is refused, and no text takes the memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from bridges_tabular.regressors.words import shown

# no experiment file comes near them
_LONGEST = 1 << 18
_DEEPEST = 50
_MOST_VALUES = 10_000
_MOST_BITS = 64


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without some of its surprises, and with limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        # how many values each whole node stands for, those behind its aliases included
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node, refusing what would be too much of it."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _refused(f"more than {_DEEPEST} blocks or lists within each other", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _refused(f"the alias {event.anchor!r} stands within what it stands for", event.start_mark)
        elif node is not None:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in _parts(node))
            if self._sizes[id(node)] > _MOST_VALUES:
                raise _refused(f"more than {_MOST_VALUES} values, those behind aliases included", event.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping, refusing a key that is written twice: PyYAML keeps the last in silence."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _refused(f"the key {key.value!r} is given twice", key.start_mark)
                seen.add(key.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value, naming the place where PyYAML fails on what it has not checked."""
        try:
            value = super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception:
            content = shown(node.value) if isinstance(node, yaml.ScalarNode) else "this"
            raise _refused(f"{content} is no {node.tag.rpartition(':')[2]}", node.start_mark) from None
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise _refused(f"a whole number of more than {_MOST_BITS} bits", node.start_mark)
        if isinstance(value, str) and not _is_unicode(value):
            raise _refused("half a surrogate pair, which is no character", node.start_mark)
        return value


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which puts in quotes what the loader would not read as text."""


# YAML 1.1 wants a dot in every float, so that PyYAML reads the learning rate 1e-3 as text
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


def read_yaml(path: Path) -> Any:
    """Read a file of YAML.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        As :func:`parse_yaml`.
    """
    size = path.stat().st_size
    # a character takes up to four bytes
    if size > 4 * _LONGEST:
        raise ValueError(f"it has {size} bytes, more than any experiment file")
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(text: str) -> Any:
    """Read one YAML document.

    Raises
    ------
    ValueError
        In one line, with the place, where the text is no YAML, or more than any experiment holds.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"it has {len(text)} characters, more than any experiment file")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(place + ", ".join(filter(None, (error.context, error.problem)))) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def dump_yaml(content: Any) -> str:
    """Write YAML with the innermost blocks on one line each, keys in their order."""
    text: str = yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
    )
    return text


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _refused(problem: str, mark: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
