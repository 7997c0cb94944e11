from __future__ import annotations

import gc
import weakref
from contextvars import copy_context

import pytest

from bridges_tabular._sharing import shared, sharing


class Thing:
    """Something that can die, and equals its like."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing)

    def __hash__(self) -> int:
        return 0


def test_a_fit_on_its_own_makes_everything_itself() -> None:
    source = Thing()
    assert shared(Thing, [source], "a") is not shared(Thing, [source], "a")
    with sharing([source], 5):
        inside = shared(Thing, [source], "a")
    assert shared(Thing, [source], "a") is not inside


def test_the_same_objects_and_settings_give_the_same_result() -> None:
    source, other = Thing(), Thing()
    with sharing([source, other], 5):
        first = shared(Thing, [source, None], "a", 1)
        assert shared(Thing, [source, None], "a", 1) is first
        assert copy_context().run(lambda: shared(Thing, [source, None], "a", 1)) is first
        for sources, settings in (
            ([other, None], ("a", 1)),
            ([source, other], ("a", 1)),
            ([source, None], ("a", 2)),
            ([source, None], ("b", 1)),
        ):
            assert shared(Thing, sources, *settings) is not first
        assert shared(Thing, [first], "c") is shared(Thing, [first], "c")


def test_what_is_made_of_anything_else_is_not_kept() -> None:
    source = Thing()
    with sharing([source], 5):
        made = shared(Thing, [source, Thing()], "a")
        alive = weakref.ref(made)
        assert shared(Thing, [made], "a") is not shared(Thing, [made], "a")
        del made
        gc.collect()
        assert alive() is None


def test_only_so_many_results_are_kept_and_none_afterwards() -> None:
    source = Thing()
    with sharing([source], 2):
        first, second = (shared(Thing, [source], name) for name in "ab")
        assert shared(Thing, [source], "a") is first
        third = shared(Thing, [source], "c")
        assert shared(Thing, [source], "a") is first
        assert shared(Thing, [source], "c") is third
        alive = [weakref.ref(thing) for thing in (first, second, third)]
        del first, second, third
        gc.collect()
        assert [ref() is None for ref in alive] == [False, True, False]
    gc.collect()
    assert all(ref() is None for ref in alive)


def test_what_could_not_be_made_is_made_again() -> None:
    source = Thing()

    def fail() -> Thing:
        raise ValueError("not now")

    with sharing([source], 2):
        with pytest.raises(ValueError, match="not now"):
            shared(fail, [source], "a")
        assert shared(Thing, [source], "a") is shared(Thing, [source], "a")
