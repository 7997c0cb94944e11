"""The shared hyper-parameters mean the same wherever they are read."""

import inspect
from dataclasses import fields

import numpy as np
import pytest
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

from bridges_tabular import BridgeConfig, TabularBridgeRegressor, XGBBridgeRegressor
from bridges_tabular.core.parameters import PARAMETERS
from bridges_tabular.regressors.constraints import constraints

VALUES = [
    -1,
    0,
    1,
    2,
    2.5,
    -0.5,
    0.5,
    1.0,
    1e6,
    np.float32(0.5),
    np.int64(3),
    "soft",
    "blend",
    "none",
    "no such",
    [],
    None,
]


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("optional", [False, True])
def test_scikit_learn_allows_what_the_table_allows(name, optional):
    allowed = constraints(optional=(name,)) if optional else constraints(name)
    for value in VALUES:
        if value is None and optional:
            validate_parameter_constraints(allowed, {name: value}, "Anything")
            continue
        try:
            PARAMETERS[name].check(value)
        except ValueError:
            with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of Anything must be"):
                validate_parameter_constraints(allowed, {name: value}, "Anything")
        else:
            validate_parameter_constraints(allowed, {name: value}, "Anything")


@pytest.mark.parametrize("regressor", [TabularBridgeRegressor, XGBBridgeRegressor])
def test_every_regressor_has_the_defaults_of_the_table_or_one_of_its_own_for_none(regressor):
    shared = [
        (name, given.default) for name, given in inspect.signature(regressor).parameters.items() if name in PARAMETERS
    ]
    assert len(shared) >= 4
    for name, default in shared:
        assert default is None or default == PARAMETERS[name].default, name


def test_the_configuration_of_pytorch_tabular_has_the_table_s_defaults_help_choices_and_limits():
    own = {item.name: item for item in fields(BridgeConfig) if item.name in PARAMETERS}
    assert len(own) >= 10
    for name, item in own.items():
        parameter = PARAMETERS[name]
        assert item.default == parameter.default
        assert item.metadata["help"] == parameter.help
        assert tuple(item.metadata.get("choices", ())) == parameter.choices
        if parameter.kind is not str:
            with pytest.raises(ValueError, match=f"{name} must {parameter.valid}, got -1"):
                BridgeConfig(task="regression", **{name: -1})
