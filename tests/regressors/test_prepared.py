from __future__ import annotations

import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest

from bridges_tabular.regressors.prepared import Prepared


class Thing:
    """Something that can die, and equals its like."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing)

    def __hash__(self) -> int:
        return 0


def test_a_fit_on_its_own_makes_everything_itself() -> None:
    source, alone = Thing(), Prepared()
    assert alone.get(Thing, [source], "a") is not alone.get(Thing, [source], "a")
    assert alone.get(Thing, [None], "a") is not alone.get(Thing, [None], "a")


def test_the_same_objects_and_settings_give_the_same_result() -> None:
    source, other = Thing(), Thing()
    prepared = Prepared([source, other], 5)
    first = prepared.get(Thing, [source, None], "a", 1)
    assert prepared.get(Thing, [source, None], "a", 1) is first
    for sources, settings in (
        ([other, None], ("a", 1)),
        ([source, other], ("a", 1)),
        ([source, None], ("a", 2)),
        ([source, None], ("b", 1)),
    ):
        assert prepared.get(Thing, sources, *settings) is not first
    assert prepared.get(Thing, [first], "c") is prepared.get(Thing, [first], "c")


def test_threads_share() -> None:
    source = Thing()
    with Prepared([source]) as prepared, ThreadPoolExecutor(4) as pool:
        first = prepared.get(Thing, [source], "a")
        assert all(made is first for made in pool.map(lambda _: prepared.get(Thing, [source], "a"), range(20)))


def test_copies_are_empty() -> None:
    source = Thing()
    prepared = Prepared([source])
    made = prepared.get(Thing, [source], "a")
    for copy in (deepcopy(prepared), pickle.loads(pickle.dumps(prepared))):
        assert copy.get(Thing, [source], "a") is not made


def test_what_is_made_of_anything_else_is_not_kept() -> None:
    source = Thing()
    prepared = Prepared([source], 5)
    made = prepared.get(Thing, [source, Thing()], "a")
    alive = weakref.ref(made)
    assert prepared.get(Thing, [made], "a") is not prepared.get(Thing, [made], "a")
    del made
    gc.collect()
    assert alive() is None


def test_only_so_many_results_are_kept_and_none_afterwards() -> None:
    source = Thing()
    with Prepared([source], 2) as prepared:
        first, second = (prepared.get(Thing, [source], name) for name in "ab")
        assert prepared.get(Thing, [source], "a") is first
        third = prepared.get(Thing, [source], "c")
        assert prepared.get(Thing, [source], "a") is first
        assert prepared.get(Thing, [source], "c") is third
        alive = [weakref.ref(thing) for thing in (first, second, third)]
        del first, second, third
        gc.collect()
        assert [ref() is None for ref in alive] == [False, True, False]
    gc.collect()
    assert all(ref() is None for ref in alive)
    assert prepared.get(Thing, [source], "a") is not prepared.get(Thing, [source], "a")


def test_what_could_not_be_made_is_made_again() -> None:
    source = Thing()

    def fail() -> Thing:
        raise ValueError("not now")

    prepared = Prepared([source], 2)
    with pytest.raises(ValueError, match="not now"):
        prepared.get(fail, [source], "a")
    assert prepared.get(Thing, [source], "a") is prepared.get(Thing, [source], "a")
