from __future__ import annotations

from pathlib import Path

from bridges_tabular.experiments import sections

EVERY = (*sections.FIRST, *sections.OF_TABLE, *sections.LAST)
TEMPLATES = Path(sections.__file__).parents[1] / "templates" / "sections"


def test_every_section_has_its_own_key_and_template() -> None:
    keys = [section.key for section in EVERY]
    assert sorted(path.name for path in TEMPLATES.iterdir()) == sorted(f"{key}.html.jinja" for key in keys)
    assert len(set(keys)) == len(keys)


def test_a_section_with_a_heading_is_in_the_bar() -> None:
    assert [section.key for section in EVERY if bool(section.title) != bool(section.link)] == []


def test_a_section_with_a_file_collects_its_content() -> None:
    assert [file.name for file in sections.COLLECTING] == [
        *("marks.csv", "shift.json", "examples.json", "pools.json", "encoders.json", "importance.csv"),
    ]
    for file, section in sections.COLLECTING.items():
        assert section.file is file
        assert section.file is not None
