"""Docstrings as Markdown: roles of Sphinx become links, numbered references plain text."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":\w+:`(~?)\.?([\w.]+)`")


class Roles(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite that of one object."""
        if obj.docstring is not None:
            text = _ROLE.sub(_link, obj.docstring.value)
            obj.docstring.value = re.sub(r"\[(\d+)\]_", r"[\1]", re.sub(r"\.\. (\[\d+\])", r"\1", text))


def _link(found: re.Match[str]) -> str:
    """A link where the site has a page for it, else code."""
    name = found[2].split(".")[-1] if found[1] else found[2]
    return f'<autoref identifier="{found[2]}" optional><code>{name}</code></autoref>'
