"""TabularBridgeRegressor on a real table: every scheme, weights, seeds, validation rows, bad input."""

import logging
import random
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from bridges_tabular import BinnedDistribution, TabularBridgeRegressor, _progress
from bridges_tabular.tabular.config import SCHEMES

BACKBONES = ("CategoryEmbeddingModelConfig", "FTTransformerConfig", "GANDALFConfig")


def regressor(**params):
    defaults = {"max_epochs": 8, "n_bins": 16, "backbone_params": {"layers": "32-16"}}
    return TabularBridgeRegressor(**(defaults | params))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_scheme_learns_on_every_kind_of_backbone(table, small, backbone, scheme):
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


def test_a_weight_of_zero_leaves_a_row_out_and_two_counts_twice(table):
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


def test_weights_pull_the_prediction_towards_heavy_rows(table):
    X, y = table
    heavy = np.where(y > np.median(y), 10.0, 1.0)
    plain, weighted = (
        regressor(scheme="end_to_end").fit(X, y, sample_weight=w, eval_set=(X, y, w)) for w in (np.ones(len(y)), heavy)
    )
    assert weighted.predict(X).mean() > plain.predict(X).mean() + 5


@pytest.mark.parametrize("scheme", ["least_squares", "end_to_end", "pretrained"])
def test_a_seed_fixes_everything_and_another_changes_it(table, scheme):
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
def test_a_seed_fixes_backbones_that_draw_from_other_generators(table, backbone, params):
    X, y = table[0][:150], table[1][:150]
    models = [regressor(backbone=backbone, backbone_params=params, max_epochs=2).fit(X, y) for _ in range(2)]
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))


def test_the_global_random_states_are_left_alone(table, tmp_path):
    X, y = table
    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    regressor(max_epochs=1).fit(X, y).save(tmp_path / "m")
    TabularBridgeRegressor.load(tmp_path / "m").predict(X)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # noqa: NPY002


def test_the_epoch_with_the_best_validation_error_is_kept(table):
    X, y = table
    scores = []
    with _progress.listen(lambda done, total, score: scores.append((done, total, score))):
        model = regressor(max_epochs=12, learning_rate=3e-2).fit(X[:300], y[:300], eval_set=(X[300:], y[300:]))
    assert [done for done, _, _ in scores] == list(range(1, 13))
    assert {total for _, total, _ in scores} == {12}
    assert model.best_epoch_ == int(np.argmin([score for *_, score in scores]))
    error = float(np.sqrt(np.mean((model.predict(X[300:]) - y[300:]) ** 2)))
    assert error == pytest.approx(min(score for *_, score in scores), rel=1e-4)


def test_patience_stops_early(table):
    X, y = table
    scores = []
    with _progress.listen(lambda *step: scores.append(step)):
        model = regressor(max_epochs=60, patience=2, learning_rate=3e-2).fit(X, y)
    assert len(scores) == model.best_epoch_ + 3 < 60


def test_what_a_listener_raises_ends_the_fit_unchanged(table):
    class Pruned(Exception):
        pass

    def prune(done, total, score):
        if done == 2:
            raise Pruned

    with _progress.listen(prune), pytest.raises(Pruned):
        regressor().fit(*table)


def test_units_do_not_matter(table):
    X, y = table
    scaled = X.assign(bmi=X["bmi"] * 1e6)
    plain = regressor().fit(X, y)
    moved = regressor().fit(scaled, 1e6 * y - 3e8)
    np.testing.assert_allclose(moved.predict(scaled), 1e6 * plain.predict(X) - 3e8, rtol=1e-3, atol=1e6)


def test_missing_and_unseen_values(table):
    X, y = table
    model = regressor().fit(X, y)
    strange = X[:3].copy()
    strange["sex"] = ["x", None, "f"]
    strange.loc[:, "bmi"] = np.nan
    assert np.isfinite(model.predict(strange)).all()


def test_the_users_table_is_not_changed_and_nothing_is_written_or_said(table, tmp_path, monkeypatch, capfd, caplog):
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


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"backbone": "CategoryEmbedingModelConfig"}, "did you mean 'CategoryEmbeddingModelConfig'"),
        ({"backbone": "MDNConfig"}, "backbone: unknown 'MDNConfig'"),
        ({"backbone_params": {"layer": "8"}}, "unknown 'layer'; did you mean 'layers'"),
        ({"scheme": "softer"}, "scheme"),
        ({"n_bins": 1}, "n_bins"),
        ({"smoothing": 0}, "smoothing"),
        ({"placement": "random"}, "placement"),
        ({"kernel": "box"}, "kernel"),
        ({"head": "tail"}, "head"),
        ({"alignment_weight": 0}, "alignment_weight and regression_weight are both 0"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"device": "tpu"}, "device"),
        ({"precision": "8"}, "precision"),
        ({"calibration": "magic"}, "calibration"),
        ({"kernel": "gaussian"}, "kernel='gaussian' has no effect with scheme='end_to_end'"),
        ({"scheme": "least_squares", "crps_weight": 1.0}, "crps_weight has no effect"),
        ({"scheme": "hard", "encoder": "a.b"}, "encoder: cannot import 'a.b'"),
        ({"head": "cumulative", "head_params": {"gama": 2.0}}, "unknown 'gama'; did you mean 'gamma'"),
        ({"head": "location", "head_params": {"gamma": 2.0}}, "unknown 'gamma'"),
        ({"head": "os.path.join"}, "no subclass of"),
    ],
)
def test_bad_parameters_are_refused_before_any_training(table, params, message):
    with pytest.raises(ValueError, match=message):
        regressor(**params).fit(*table)


def test_calibration_moves_the_distribution_and_never_the_point(table):
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
def test_without_classes_there_is_a_distribution_if_it_may_be_calibrated(table, scheme):
    X, y = table
    assert not hasattr(regressor(scheme=scheme, calibration="none"), "predict_distribution")
    model = regressor(scheme=scheme).fit(X[:350], y[:350])
    assert len(model.predict_distribution(X[350:])) == 92


@pytest.mark.parametrize("scheme", ["least_squares", "end_to_end"])
def test_conformal_intervals_cover_rows_like_those_held_out(table, scheme):
    X, y = table
    model = regressor(scheme=scheme, calibration_fraction=0.3).fit(X[:300], y[:300])
    low, high = model.predict_interval(X[300:], 0.8, conformal=True).T
    assert ((low <= y[300:]) & (y[300:] <= high)).mean() > 0.7
    with pytest.raises(ValueError, match=r"coverage 0\.999 need at least 999 rows, got 90"):
        model.predict_interval(X[300:], 0.999, conformal=True)


def test_several_targets(table, tmp_path):
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


def test_targets_may_differ_in_their_number_of_classes(table):
    X, y = table
    both = np.stack([y, np.digitize(y, [90, 140, 200])], axis=1)
    with pytest.warns(UserWarning, match="n_bins"):
        model = regressor(max_epochs=2).fit(X, both)
    assert model.predict_quantiles(X, 0.5).shape == (442, 1, 2)


def test_dates_are_expanded(table, tmp_path):
    X, y = table
    days = pd.date_range("2020-01-01", periods=len(y), freq="D").to_series(index=X.index)
    seasonal = X.assign(day=days)
    target = y + 200 * (days.dt.dayofweek >= 5).to_numpy()
    model = regressor(max_epochs=30).fit(seasonal[:350], target[:350])
    assert model.score(seasonal[350:], target[350:]) > 0.5
    assert {"day_Dayofweek", "day_Month"} <= set(model.features_.categorical_names)
    model.save(tmp_path / "m")
    gaps = seasonal.assign(day=days.where(np.arange(len(y)) % 5 > 0))
    np.testing.assert_array_equal(TabularBridgeRegressor.load(tmp_path / "m").predict(gaps), model.predict(gaps))
    with pytest.raises(ValueError, match="'day' held dates in fit and now holds"):
        model.predict(seasonal.assign(day=1))


def test_a_warm_start_goes_on_from_where_it_was(table):
    X, y = table
    held_out = (X[300:], y[300:])
    errors = []
    model = regressor(max_epochs=3, warm_start=True)
    for _ in range(3):
        model.fit(X[:300], y[:300], eval_set=held_out)
        errors.append(np.mean((model.predict(X[300:]) - y[300:]) ** 2))
    cold = regressor(max_epochs=3).fit(X[:300], y[:300], eval_set=held_out)
    assert np.mean((cold.predict(X[300:]) - y[300:]) ** 2) == pytest.approx(errors[0])
    assert errors[2] < 0.9 * errors[0]


def test_refit_trains_on_the_held_out_rows_too(table):
    X, y = table
    plain, again = (regressor(refit=refit, validation_fraction=0.4).fit(X, y) for refit in (False, True))
    assert again.best_epoch_ == plain.best_epoch_
    assert not np.array_equal(plain.predict(X), again.predict(X))
    assert again.score(X, y) > 0.3
    assert np.isfinite(again.predict_quantiles(X, [0.1, 0.9])).all()


@pytest.mark.parametrize("options", [{"precision": "bf16-mixed"}, {"compile": True}])
def test_precision_and_compilation_are_passed_through(table, options):
    X, y = table
    plain, other = (regressor(max_epochs=5, **extra).fit(X, y) for extra in ({}, options))
    assert other.score(X, y) == pytest.approx(plain.score(X, y), abs=0.05)


def test_bad_data_is_refused(table):
    X, y = table
    with pytest.raises(ValueError, match="NaN or infinity: 1 of"):
        regressor().fit(X, np.where(np.arange(len(y)) == 3, np.nan, y))
    with pytest.raises(ValueError, match="two distinct"):
        regressor().fit(X, np.ones(len(y)))
    with pytest.raises(ValueError, match="442 rows, y has 441"):
        regressor().fit(X, y[1:])


def test_more_bins_than_distinct_targets_warns_once_and_works(table):
    X, y = table
    with pytest.warns(UserWarning, match="n_bins=16 is more than") as caught:
        model = regressor(scheme="hard", max_epochs=2).fit(X, np.digitize(y, [90, 140, 200]).astype(float))
    assert len(caught) == 1
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize(
    "options",
    [
        {"placement": "quantile"},
        {"placement": "uniform", "margin": 0.0},
        {"placement": "kmeans"},
        {"uniform_share": 0.6, "margin": 0.3},
        {"scheme": "soft", "kernel": "gaussian"},
        {"scheme": "soft", "kernel": "histogram", "smoothing": 0.75},
        {"scheme": "soft", "kernel": "two_hot"},
        {"encoder_logits": "quadratic"},
        {"encoder_logits": "mlp"},
        {"scheme": "pretrained", "encoder_logits": "mlp", "pretraining_steps": 20},
        {"ordered_values": True},
        {"regression_weight": 1.0},
        {"crps_weight": 1.0},
        {"scheme": "softmax_least_squares", "crps_weight": 0.1},
        {"encoder_learning_rate": 1.0},
        {"head": "plain"},
        {"head": "cumulative", "head_params": {"gamma": 1.0, "layers": "16"}},
        {"head": "location"},
    ],
    ids=str,
)
def test_every_option_trains_and_saves(table, tmp_path, options):
    X, y = table
    model = regressor(**options, learning_rate=1e-2).fit(X[:350], y[:350])
    assert model.score(X[350:], y[350:]) > 0.2
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(TabularBridgeRegressor.load(tmp_path / "m").predict(X), model.predict(X))
    if options.get("ordered_values"):
        assert (model.model_.codecs[0].decoder.values.diff() > 0).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scheme": "soft", "encoder_logits": "mlp"}, "encoder_logits='mlp' has no effect"),
        ({"placement": "quantile", "uniform_share": 0.5}, "uniform_share has no effect with placement='quantile'"),
        ({"scheme": "least_squares", "ordered_values": True}, "ordered_values has no effect"),
        ({"scheme": "hard", "encoder": "bridges_tabular.core.encoders.HardEncoder"}, "has no place in scheme='hard'"),
    ],
)
def test_combinations_without_effect_are_refused_by_name(table, params, message):
    with pytest.raises(ValueError, match=message):
        regressor(**params).fit(*table)


@pytest.mark.parametrize("draw", ["uniform", "normal", "exponential"])
def test_by_default_extreme_targets_have_codes_as_wide_as_others(draw):
    # a code squeezed against the end of the axis biases the network inwards
    random = np.random.default_rng(0)
    y = getattr(random, draw)(size=2_000)
    model = TabularBridgeRegressor(scheme="soft", max_epochs=1).fit(random.normal(size=(2_000, 2)), y)
    codec = model.codecs_[0]
    targets = codec.standardise(torch.as_tensor(np.quantile(y, [0.0, 0.01, 0.5, 0.99, 1.0])))
    psi = codec.encode(targets).exp().double()
    mean = psi @ codec.centers
    deviations = (psi * (codec.centers - mean[:, None]) ** 2).sum(1).sqrt().numpy()
    widths = codec.bins.widths[codec.bins.assign(targets.numpy())]
    assert (deviations > 0.5 * widths).all()
    assert (deviations < 3 * widths).all()
