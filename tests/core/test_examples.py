"""The examples of the docstrings print what they say, and nothing public is without one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import bridges_tabular.core

PACKAGE = bridges_tabular.core
MODULES = [module.name for module in pkgutil.walk_packages(PACKAGE.__path__, f"{PACKAGE.__name__}.")]
PUBLIC = [name for name in MODULES if name.count(".") == 2 and "._" not in name]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_all_that_is_public_has_an_example(name):
    for own, member in vars(importlib.import_module(name)).items():
        # what a function returns, a tuple with names, has its example there
        known = inspect.isfunction(member) or (inspect.isclass(member) and not issubclass(member, tuple))
        if known and not own.startswith("_") and member.__module__.startswith(name):
            assert ">>> " in inspect.getdoc(member), own
