"""What a fit reports of its epochs, and which of them it keeps."""

import numpy as np
import pytest
import torch

from bridges_tabular.core.objective import BridgeObjective
from bridges_tabular.regressors.progress import Report

SINGLE = "CategoryEmbeddingModelConfig"
ALL = ("rmse", "mae", "crps", "loss")


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self):
        self.steps = []

    def __call__(self, step, total, scores):
        self.steps.append((step, total, dict(scores)))

    def of(self, name):
        return [scores[name] for *_, scores in self.steps]


def halves(table):
    X, y = table
    return (X[:300], y[:300]), (X[300:], y[300:])


def test_every_epoch_is_reported_and_the_best_is_kept(table, regressor):
    train, held_out = halves(table)
    heard = Heard()
    model = regressor(max_epochs=12, learning_rate=3e-2).fit(*train, eval_set=held_out, report=heard)
    assert [(step, total) for step, total, _ in heard.steps] == [(step, 12) for step in range(1, 13)]
    assert {tuple(scores) for *_, scores in heard.steps} == {("rmse",)}
    assert model.best_epoch_ == int(np.argmin(heard.of("rmse")))
    error = float(np.sqrt(np.mean((model.predict(held_out[0]) - held_out[1]) ** 2)))
    assert error == pytest.approx(min(heard.of("rmse")), rel=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_the_validation_rows_by_their_weights(table, regressor, weighted):
    train, (X, y) = halves(table)
    weight = np.where(y > np.median(y), 10.0, 1.0) if weighted else np.ones(len(y))
    heard = Heard()
    # the loss of members is the mean of theirs, see test_members
    model = regressor(backbone=SINGLE, max_epochs=1)
    model.fit(*train, eval_set=(X, y, weight), report=Report(heard, ALL))
    ((_, _, scores),) = heard.steps
    assert set(scores) == set(ALL)
    error = model.predict(X) - y
    assert scores["rmse"] == pytest.approx(np.sqrt(np.average(error**2, weights=weight)), rel=1e-5)
    assert scores["mae"] == pytest.approx(np.average(np.abs(error), weights=weight), rel=1e-5)

    # masses on the centres: E |C - y| less half of E |C - C'|
    (codec,), (scale,) = model.codecs_, model.codec_scales_
    centers, pi = scale.restore(codec.bins.centers), model._trained.forecast(X)[0].pi
    spread = np.abs(centers[:, None] - centers)
    crps = (pi * np.abs(centers - y[:, None])).sum(1) - 0.5 * ((pi @ spread) * pi).sum(1)
    assert scores["crps"] == pytest.approx(np.average(crps, weights=weight), rel=1e-4)

    standard = torch.as_tensor(scale.standardise(y), dtype=torch.float32)
    given = codec.encode(standard), torch.tensor(pi, dtype=torch.float32).log(), codec.decoder.values
    loss = BridgeObjective()(standard, *given, torch.as_tensor(weight, dtype=torch.float32)).loss
    assert scores["loss"] == pytest.approx(float(loss.detach()), rel=1e-4)


def test_scores_of_several_targets_are_means_in_units_of_each(table, regressor):
    train, (X, y) = halves(table)
    both = [np.stack([part, 1000 - 50 * part], axis=1) for part in (train[1], y)]
    heard = Heard()
    model = regressor(max_epochs=1).fit(train[0], both[0], eval_set=(X, both[1]), report=heard)
    error = (model.predict(X) - both[1]) / both[0].std(axis=0)
    assert heard.of("rmse") == pytest.approx([np.sqrt(np.mean(error**2))], rel=1e-4)


def test_schemes_without_a_code_report_no_crps(table, regressor):
    for scheme in ("least_squares", "softmax_least_squares"):
        heard = Heard()
        regressor(scheme=scheme, max_epochs=1).fit(*table, report=Report(heard, ALL))
        assert set(heard.steps[0][2]) == {"rmse", "mae", "loss"}


def test_early_stopping_metric_chooses_the_epoch(table, regressor):
    train, held_out = halves(table)
    kept = {}
    for metric in ("rmse", "crps", "loss"):
        heard = Heard()
        model = regressor(backbone=SINGLE, max_epochs=30, learning_rate=1e-2, early_stopping_metric=metric)
        model.fit(*train, eval_set=held_out, report=Report(heard, ALL))
        assert model.best_epoch_ == int(np.argmin(heard.of(metric)))
        kept[metric] = model.best_epoch_
    assert len(set(kept.values())) == 3


def test_patience_counts_epochs_since_the_best_by_the_metric(table, regressor):
    for metric in ("rmse", "loss"):
        heard = Heard()
        model = regressor(max_epochs=60, patience=2, learning_rate=3e-2, early_stopping_metric=metric)
        model.fit(*table, report=heard)
        assert len(heard.steps) == model.best_epoch_ + 3 < 60


def test_what_a_listener_raises_ends_the_fit_and_leaves_the_last_one_as_it_was(table, regressor):
    class Pruned(Exception):
        pass

    def prune(step, total, scores):
        if step == 2:
            raise Pruned

    model = regressor(max_epochs=1).fit(*table)
    before = model.predict(table[0])
    with pytest.raises(Pruned):
        model.set_params(max_epochs=8).fit(*table, report=prune)
    np.testing.assert_array_equal(model.predict(table[0]), before)


def test_validation_rows_of_weight_zero_are_left_out(table, regressor):
    train, (X, y) = halves(table)
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    spoiled = np.where(weight > 0, y, 1e6)
    kept = weight > 0
    heard, expected = Heard(), Heard()
    regressor(max_epochs=2).fit(*train, eval_set=(X, spoiled, weight), report=heard)
    regressor(max_epochs=2).fit(*train, eval_set=(X[kept], y[kept]), report=expected)
    assert heard.of("rmse") == expected.of("rmse")


def test_weights_that_are_all_zero_are_refused_by_name(table, regressor):
    train, (X, y) = halves(table)
    with pytest.raises(ValueError, match=r"^sample_weight of eval_set is zero everywhere"):
        regressor().fit(*train, eval_set=(X, y, np.zeros(len(y))))
    with pytest.raises(ValueError, match=r"^sample_weight is zero everywhere"):
        regressor().fit(X, y, np.zeros(len(y)))


@pytest.mark.parametrize("metric", ["rmse", "loss"])
def test_a_network_that_diverges_says_so(table, regressor, metric, monkeypatch):
    scores = dict.fromkeys(("rmse", "loss"), float("nan"))
    monkeypatch.setattr("bridges_tabular.tabular.training.validation_scores", lambda *_: scores)
    with pytest.raises(FloatingPointError, match=f"the validation {metric} was never finite: try a smaller learning_r"):
        regressor(max_epochs=2, early_stopping_metric=metric).fit(*table)


def test_a_bar_shows_the_metric_in_units_of_the_target(table, regressor, capsys):
    heard = Heard()
    regressor(max_epochs=2, verbose=1).fit(*table, report=heard)
    shown = capsys.readouterr().out
    assert "2/2" in shown
    assert f"validation rmse {heard.of('rmse')[-1]:.4g}" in shown
