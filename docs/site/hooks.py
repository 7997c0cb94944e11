"""What the site shows of files outside docs/: pages link to them as the repository does, the site holds copies."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[2]
# where the copies are
COPIES = "repository"
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the repository's top, and what is linked from any page."""
    for page in PAGES:
        _add(files, config, page)
    for file in list(files.documentation_pages()):
        for link in _LINK.findall(file.content_string):
            target = normpath(f"{_folder(file)}/{link[0]}")
            if not target.startswith("docs/") and (ROOT / target).is_file():
                _add(files, config, target)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links at the copies."""

    def moved(found: re.Match[str]) -> str:
        target = normpath(f"{_folder(page.file)}/{found[1]}")
        place = target.removeprefix("docs/") if target.startswith("docs/") else f"{COPIES}/{target}"
        return f"]({relpath(place, Path(page.file.src_uri).parent.as_posix())}{found[2] or ''})"

    return _LINK.sub(moved, markdown)


def _folder(file: File) -> str:
    """The folder of a page in the repository."""
    folder = Path(file.src_uri).parent.as_posix()
    return folder.removeprefix(COPIES).strip("/") or "." if folder.startswith(COPIES) else f"docs/{folder}"


def _add(files: Files, config: Any, path: str) -> None:
    uri = f"{COPIES}/{path}"
    if files.get_file_from_path(uri) is None:
        file = File.generated(config, uri, abs_src_path=str(ROOT / path), inclusion=InclusionLevel.INCLUDED)
        files.append(file)
