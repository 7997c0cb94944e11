"""TabularBridgeRegressor on a real table: every scheme, weights, seeds, validation rows, bad input."""

import logging
import random
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from bridges_tabular import BinnedDistribution, TabularBridgeRegressor
from bridges_tabular.core.schemes import SCHEMES

BACKBONES = ("CategoryEmbeddingModelConfig", "FTTransformerConfig", "GANDALFConfig")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_scheme_learns_on_every_kind_of_backbone(table, small, backbone, scheme, regressor):
    X, y = table
    model = regressor(backbone=backbone, scheme=scheme, backbone_params=small[backbone], learning_rate=1e-2)
    model.fit(X[:350], y[:350])
    prediction = model.predict(X[350:])
    assert prediction.shape == (92,)
    assert prediction.dtype == np.float64
    assert model.score(X[350:], y[350:]) > 0.25
    distribution = model.predict_distribution(X[350:])
    assert isinstance(distribution, BinnedDistribution)
    low, high = model.predict_interval(X[350:], 0.9).T
    assert ((low < y[350:]) & (y[350:] < high)).mean() > 0.75
    quantiles = model.predict_quantiles(X[350:], [0.1, 0.5, 0.9])
    assert quantiles.shape == (92, 3)
    assert (np.diff(quantiles, axis=1) >= 0).all()


def test_a_weight_of_zero_leaves_a_row_out_and_two_counts_twice(table, regressor):
    X, y = table
    held_out = (X[350:], y[350:])
    spoiled = y[:350].copy()
    spoiled[:100] = 1e4
    weight = np.ones(350)
    weight[:100] = 0.0
    for scheme in ("least_squares", "end_to_end"):
        model = regressor(scheme=scheme).fit(X[:350], spoiled, sample_weight=weight, eval_set=held_out)
        assert np.abs(model.predict(X[350:])).max() < 500
    # all weights doubled change nothing but rounding
    plain = regressor().fit(X[:350], y[:350], sample_weight=np.ones(350), eval_set=held_out)
    doubled = regressor().fit(X[:350], y[:350], sample_weight=np.full(350, 2.0), eval_set=held_out)
    np.testing.assert_allclose(plain.predict(X), doubled.predict(X), rtol=1e-4)


def test_weights_pull_the_prediction_towards_heavy_rows(table, regressor):
    X, y = table
    heavy = np.where(y > np.median(y), 10.0, 1.0)
    plain, weighted = (
        regressor(scheme="end_to_end").fit(X, y, sample_weight=w, eval_set=(X, y, w)) for w in (np.ones(len(y)), heavy)
    )
    assert weighted.predict(X).mean() > plain.predict(X).mean() + 5


@pytest.mark.parametrize("scheme", ["least_squares", "end_to_end", "pretrained"])
def test_a_seed_fixes_everything_and_another_changes_it(table, scheme, regressor):
    X, y = table
    first, again, other = (regressor(scheme=scheme, random_state=seed, max_epochs=3).fit(X, y) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.predict(X), again.predict(X))
    assert not np.array_equal(first.predict(X), other.predict(X))
    np.testing.assert_array_equal(first.predict(X), first.predict(X))


@pytest.mark.parametrize(
    ("backbone", "params"),
    [
        ("GatedAdditiveTreeEnsembleConfig", {"gflu_stages": 2, "num_trees": 2, "tree_depth": 2}),
        ("NodeConfig", {"num_trees": 16, "num_layers": 1, "depth": 3}),
    ],
)
def test_a_seed_fixes_backbones_that_draw_from_other_generators(table, backbone, params, regressor):
    X, y = table[0][:150], table[1][:150]
    models = [regressor(backbone=backbone, backbone_params=params, max_epochs=2).fit(X, y) for _ in range(2)]
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))


def test_the_global_random_states_are_left_alone(table, tmp_path, regressor):
    X, y = table
    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    regressor(max_epochs=1).fit(X, y).save(tmp_path / "m")
    TabularBridgeRegressor.load(tmp_path / "m").predict(X)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # noqa: NPY002


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("offset", [1e7, 1e9])
def test_an_offset_of_the_target_costs_no_accuracy(table, regressor, scheme, offset):
    X, y = table
    y = (y - y.mean()) / y.std()
    plain, moved = (regressor(scheme=scheme).fit(X[:350], y[:350] + shift) for shift in (0.0, offset))
    errors = [model.predict(X[350:]) - (y[350:] + shift) for model, shift in ((plain, 0.0), (moved, offset))]
    rmse = [np.sqrt(np.mean(error**2)) for error in errors]
    assert rmse[1] == pytest.approx(rmse[0], rel=0.05)
    assert rmse[1] < 0.9
    widths = [np.diff(model.predict_interval(X[350:], 0.8)).mean() for model in (plain, moved)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_units_do_not_matter(table, regressor):
    X, y = table
    scaled = X.assign(bmi=X["bmi"] * 1e6)
    plain = regressor().fit(X, y)
    moved = regressor().fit(scaled, 1e6 * y - 3e8)
    np.testing.assert_allclose(moved.predict(scaled), 1e6 * plain.predict(X) - 3e8, rtol=1e-3, atol=1e6)


def test_missing_and_unseen_values(table, regressor):
    X, y = table
    model = regressor().fit(X, y)
    strange = X[:3].copy()
    strange["sex"] = ["x", None, "f"]
    strange.loc[:, "bmi"] = np.nan
    assert np.isfinite(model.predict(strange)).all()


def test_the_users_table_is_not_changed_and_nothing_is_written_or_said(
    table, tmp_path, monkeypatch, capfd, caplog, regressor
):
    X, y = table
    monkeypatch.chdir(tmp_path)
    before = X.copy(deep=True)
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        regressor(max_epochs=2).fit(X, y).predict(X)
    pd.testing.assert_frame_equal(X, before)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_calibration_moves_the_distribution_and_never_the_point(table, regressor):
    X, y = table
    models = {
        method: regressor(calibration=method).fit(X[:350], y[:350])
        for method in ("none", "shrink", "deconvolve", "pooled")
    }
    crps = {method: model.predict_distribution(X[350:]).crps(y[350:]).mean() for method, model in models.items()}
    for model in models.values():
        np.testing.assert_array_equal(model.predict(X), models["none"].predict(X))
    assert len(set(crps.values())) == 4
    assert crps["pooled"] < crps["none"]


@pytest.mark.parametrize("scheme", ["least_squares", "softmax_least_squares"])
def test_without_classes_there_is_a_distribution_if_it_may_be_calibrated(table, scheme, regressor):
    X, y = table
    assert not hasattr(regressor(scheme=scheme, calibration="none"), "predict_distribution")
    model = regressor(scheme=scheme).fit(X[:350], y[:350])
    assert len(model.predict_distribution(X[350:])) == 92


@pytest.mark.parametrize("scheme", ["least_squares", "end_to_end"])
def test_conformal_intervals_cover_rows_like_those_held_out(table, scheme, regressor):
    X, y = table
    model = regressor(scheme=scheme, calibration_fraction=0.3).fit(X[:300], y[:300])
    low, high = model.predict_interval(X[300:], 0.8, conformal=True).T
    assert ((low <= y[300:]) & (y[300:] <= high)).mean() > 0.7
    with pytest.raises(ValueError, match=r"coverage 0\.999 need at least 999 rows, got 90"):
        model.predict_interval(X[300:], 0.999, conformal=True)


def test_several_targets(table, tmp_path, regressor):
    X, y = table
    both = np.stack([y, -3 * y + 7], axis=1)
    model = regressor(max_epochs=15).fit(X[:350], both[:350])
    prediction = model.predict(X[350:])
    assert prediction.shape == (92, 2)
    assert model.score(X[350:], both[350:]) > 0.25
    assert np.corrcoef(prediction.T)[0, 1] < -0.9
    first, second = model.predict_distribution(X[350:])
    assert second.std.mean() == pytest.approx(3 * first.std.mean(), rel=0.3)
    quantiles = model.predict_quantiles(X[350:], [0.1, 0.9])
    assert quantiles.shape == (92, 2, 2)
    np.testing.assert_array_equal(quantiles[..., 1], second.quantile([0.1, 0.9]))
    assert model.predict_interval(X[350:]).shape == (92, 2, 2)
    model.save(tmp_path / "m")
    loaded = TabularBridgeRegressor.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict_quantiles(X, [0.5]), model.predict_quantiles(X, [0.5]))
    with pytest.raises(ValueError, match=r"y\[1\] contains NaN or infinity: 1 of"):
        model.fit(X, np.where(np.arange(884).reshape(442, 2) == 3, np.nan, both))
    with pytest.raises(ValueError, match="y has 2 targets, y of eval_set 1"):
        model.fit(X, both, eval_set=(X, y))


def test_targets_may_differ_in_their_number_of_classes(table, regressor):
    X, y = table
    both = np.stack([y, np.digitize(y, [90, 140, 200])], axis=1)
    with pytest.warns(UserWarning, match="n_bins"):
        model = regressor(max_epochs=2).fit(X, both)
    assert model.predict_quantiles(X, 0.5).shape == (442, 1, 2)


def test_dates_are_expanded(table, tmp_path, regressor):
    X, y = table
    days = pd.date_range("2020-01-01", periods=len(y), freq="D").to_series(index=X.index)
    seasonal = X.assign(day=days)
    target = y + 400 * (days.dt.dayofweek >= 5).to_numpy()
    model = regressor(max_epochs=30).fit(seasonal[:350], target[:350])
    assert model.score(seasonal[350:], target[350:]) > 0.5
    assert {"day_weekday", "day_month"} <= set(model.model_.hparams.categorical_cols)
    model.save(tmp_path / "m")
    gaps = seasonal.assign(day=days.where(np.arange(len(y)) % 5 > 0))
    np.testing.assert_array_equal(TabularBridgeRegressor.load(tmp_path / "m").predict(gaps), model.predict(gaps))
    with pytest.raises(ValueError, match="'day' held dates in fit and now holds"):
        model.predict(seasonal.assign(day=1))


def test_a_warm_start_goes_on_from_where_it_was(table, regressor):
    X, y = table
    held_out = (X[300:], y[300:])
    errors = []
    model = regressor(max_epochs=3, learning_rate=1e-3, warm_start=True)
    for _ in range(3):
        model.fit(X[:300], y[:300], eval_set=held_out)
        errors.append(np.mean((model.predict(X[300:]) - y[300:]) ** 2))
    cold = regressor(max_epochs=3, learning_rate=1e-3).fit(X[:300], y[:300], eval_set=held_out)
    assert np.mean((cold.predict(X[300:]) - y[300:]) ** 2) == pytest.approx(errors[0])
    assert errors[2] < 0.9 * errors[0]


def test_a_warm_start_keeps_units_and_columns_and_takes_new_settings_of_training(table, regressor):
    X, y = table
    model = regressor(max_epochs=3, warm_start=True).fit(X[:300], y[:300])
    before, (codec,) = model.predict(X), model.codecs_
    # one step of next to no length, on other rows with other units
    model.set_params(learning_rate=1e-12, max_epochs=1).fit(X[300:], 5 * y[300:] + 1e3)
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-4)
    np.testing.assert_array_equal(model.codecs_[0].bins.edges, codec.bins.edges)


def test_a_warm_start_that_cannot_go_on_says_why_and_leaves_the_last_fit_as_it_was(table, regressor):
    X, y = table
    model = regressor(max_epochs=1, warm_start=True).fit(X, y)
    before = model.predict(X)
    for change, X_new, y_new, message in (
        ({"backbone_params": {"layers": "8"}}, X, y, "warm_start: the last fit was of a network or a scheme that"),
        ({"scheme": "least_squares"}, X, y, "warm_start: the last fit was of a network or a scheme that"),
        ({"support": (0, None)}, X, y, r"^warm_start: the last fit had support=None, this one has \(0, None\)$"),
        ({"target_transform": "log"}, X, y, "^warm_start: the last fit had target_transform=None, this one has 'log'$"),
        ({}, X, np.stack([y, y], axis=1), "y has 2 targets, that of the fit to go on from 1"),
        ({}, X[["age"]], y, "feature names should match"),
    ):
        with pytest.raises((ValueError, FloatingPointError), match=message):
            model.set_params(**change).fit(X_new, y_new)
        model.set_params(**regressor(max_epochs=1, warm_start=True).get_params())
        np.testing.assert_array_equal(model.predict(X), before)


def test_a_warm_start_goes_on_from_a_saved_model_in_its_units(table, regressor, tmp_path):
    X, y = table
    model = regressor(max_epochs=1, warm_start=True, support=(0, None), target_transform="sqrt").fit(X, y)
    model.save(tmp_path / "m")
    again = TabularBridgeRegressor.load(tmp_path / "m").fit(X, y)
    np.testing.assert_array_equal(again.predict(X), model.fit(X, y).predict(X))


def test_refit_trains_on_the_held_out_rows_too(table, regressor):
    X, y = table
    plain, again = (regressor(refit=refit, validation_fraction=0.4).fit(X, y) for refit in (False, True))
    assert again.best_epoch_ == plain.best_epoch_
    assert not np.array_equal(plain.predict(X), again.predict(X))
    assert again.score(X, y) > 0.3
    assert np.isfinite(again.predict_quantiles(X, [0.1, 0.9])).all()


def test_bad_data_is_refused(table, regressor):
    X, y = table
    with pytest.raises(ValueError, match="NaN or infinity: 1 of"):
        regressor().fit(X, np.where(np.arange(len(y)) == 3, np.nan, y))
    with pytest.raises(ValueError, match="two distinct"):
        regressor().fit(X, np.ones(len(y)))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[442, 441\]"):
        regressor().fit(X, y[1:])


def test_more_bins_than_distinct_targets_warns_once_and_works(table, regressor):
    X, y = table
    with pytest.warns(UserWarning, match="n_bins=16 is more than") as caught:
        model = regressor(scheme="hard", max_epochs=2).fit(X, np.digitize(y, [90, 140, 200]).astype(float))
    assert len(caught) == 1
    assert np.isfinite(model.predict(X)).all()
