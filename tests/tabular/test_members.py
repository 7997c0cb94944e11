"""MemberMLPConfig: members are networks of their own, in stock models, inside a bridge, and behind the door."""

import inspect
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
from sklearn.datasets import load_diabetes
from tabm import LinearBatchEnsemble, LinearEnsemble
from torch import nn

from bridges_tabular import BridgeConfig, MemberMLPConfig, TabularBridgeRegressor, TensorDatamodule
from bridges_tabular.core.schemes import SCHEMES
from bridges_tabular.tabular.embeddings import EMBEDDINGS, PiecewiseLinear
from bridges_tabular.tabular.inner import build_inner, inferred_config
from bridges_tabular.tabular.members import MemberDropout

SMALL = {"layers": "16-8", "n_members": 4, "embedding_dim": 2, "embedding_bins": 6}

# rtdl-num-embeddings says that a single bin is MinMaxScaler; a stock loss is logged without a trainer
pytestmark = pytest.mark.filterwarnings(
    "ignore:The .* feature has just two bin edges", "ignore:You are trying to `self.log", "ignore:.*num_workers"
)


def of_members(backbone_params=None, **params):
    quick = {"max_epochs": 4, "n_bins": 8, "batch_size": 100, "learning_rate": 2e-2, "pretraining_steps": 20}
    made = quick | params
    return TabularBridgeRegressor("MemberMLPConfig", backbone_params=SMALL | (backbone_params or {}), **made)


def halves(table):
    X, y = table
    return (X[:300], y[:300]), (X[300:], y[300:])


@pytest.fixture(scope="module")
def fitted(table):
    """Two members over bins and two by least squares."""
    train, held_out = halves(table)
    return of_members(max_epochs=8).fit(*train, eval_set=held_out)


# --- the network


def network(outputs=1, points=None, numbers=3, cardinalities=(4, 6), **params):
    """The network alone, with parameters as some training may leave them."""
    config = MemberMLPConfig(task="regression", **({"embedding": "none"} | params))
    around = {} if points is None else {"point_members": points, "point_outputs": outputs}
    torch.manual_seed(0)
    model = build_inner(config, around, inferred_config(numbers, cardinalities, outputs), outputs)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "cat_embedding" not in name:
                parameter.add_(0.3 * torch.randn(parameter.shape))
    return model


def batch_of(n=20, numbers=3, cardinalities=(4, 6), seed=0):
    rng = np.random.default_rng(seed)
    codes = [rng.integers(0, size, n) for size in cardinalities]
    return {
        "continuous": torch.as_tensor(rng.normal(size=(n, numbers)), dtype=torch.float32),
        "categorical": torch.as_tensor(np.stack(codes, axis=1) if codes else np.empty((n, 0), dtype=int)),
    }


def plain_linear(layer, member):
    """A layer of torch with one member's weights."""
    if isinstance(layer, LinearBatchEnsemble):
        weight = layer.s[member][:, None] * layer.weight * layer.r[member]
    else:
        assert isinstance(layer, LinearEnsemble)
        weight = layer.weight[member].T
    plain = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        plain.weight.copy_(weight)
        plain.bias.copy_(layer.bias[member])
    return plain


@pytest.mark.parametrize("sharing", ["packed", "batch_ensemble"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"activation": "ReLU", "layers": "5"},
        {"input_scale": 0, "one_hot": 4},
        {"embedding": "pbld", "embedding_dim": 2, "frequencies": 3},
        {"embedding": "piecewise_linear", "embedding_dim": 2, "embedding_bins": 4},
        {"embedding": "plr", "embedding_dim": 2, "frequencies": 3},
        {"embedding": "mixed", "embedding_dim": 2, "frequencies": 3, "embedding_bins": 4, "input_scale": 2.0},
    ],
    ids=str,
)
def test_each_member_is_a_perceptron_of_its_own(sharing, params):
    params = {"layers": "7-5", "activation": "GELU", "dropout": 0.5} | params
    model = network(outputs=2, points=1, n_members=3, sharing=sharing, **params).eval()
    factors = model.backbone.scaling
    if factors is not None:
        with torch.no_grad():
            factors.normal_(std=0.2)
    batch = batch_of()
    output = model(batch)
    assert output["members"].shape == (20, 2, 2)
    assert output["points"].shape == (20, 1, 2)
    torch.testing.assert_close(output["logits"], output["members"].mean(1))

    embeddings = model.embedding_layer.cat_embedding_layers
    codes = [layer.weight[column] for layer, column in zip(embeddings, batch["categorical"].T, strict=True)]
    each = list(model.backbone.embeddings.each)
    assert len(each) == (2 if params.get("embedding") == "mixed" else 1)
    hidden = [layer for layer in model.backbone.layers if isinstance(layer, LinearEnsemble | LinearBatchEnsemble)]
    for member in range(3):
        head, place = (model.head, member) if member < 2 else (model.point_head, 0)
        layers = [(plain_linear(layer, member), getattr(nn, params["activation"])()) for layer in hidden]
        alone = nn.Sequential(*itertools.chain(*layers), plain_linear(head, place))
        speed = params.get("input_scale", 6.0)
        scale = 1 + speed * factors[member] if speed else 1.0
        # of two embeddings, neighbours read different ones
        inputs = torch.cat([each[member % len(each)](batch["continuous"]), *codes], dim=1)
        found = output["members"][:, member] if member < 2 else output["points"][:, 0]
        torch.testing.assert_close(found, alone(inputs * scale), rtol=1e-4, atol=1e-4)
    widths = [int(width) for width in params["layers"].split("-")]
    assert [plain_linear(layer, 0).out_features for layer in hidden] == widths


@pytest.mark.parametrize(("numbers", "cardinalities"), [(0, (3,)), (2, ()), (2, (3,))])
def test_tables_without_numbers_or_without_categories(numbers, cardinalities):
    for embedding in EMBEDDINGS:
        model = network(numbers=numbers, cardinalities=cardinalities, embedding=embedding, n_members=2, layers="4")
        predicted = model(batch_of(numbers=numbers, cardinalities=cardinalities))["members"]
        assert predicted.shape == (20, 2, 1)
        assert predicted.detach().std(0).min() > 0


def of_one_member(model, member, classes):
    """Parameters that belong to one of packed members."""
    layers = [layer for layer in model.backbone.layers if isinstance(layer, LinearEnsemble)]
    places = [(layer, member) for layer in layers]
    places.append((model.head, member) if member < classes else (model.point_head, member - classes))
    return [(parameter, place) for layer, place in places for parameter in (layer.weight, layer.bias)]


def gradients(model, loss, member, classes):
    model.zero_grad()
    loss().backward()
    return [parameter.grad[place].clone() for parameter, place in of_one_member(model, member, classes)]


def check_that_members_learn_by_themselves(inner, loss, classes):
    total = inner.hparams.n_members
    before = [gradients(inner, loss, member, classes) for member in range(total)]
    with torch.no_grad():
        for parameter, place in of_one_member(inner, 1, classes):
            parameter[place] += 0.5
    for member in range(total):
        after = gradients(inner, loss, member, classes)
        pairs = list(zip(before[member], after, strict=True))
        if member == 1:
            assert not any(torch.allclose(one, other, rtol=1e-2) for one, other in pairs)
        else:
            assert all(part.abs().max() > 0 for part in after)
            for one, other in pairs:
                torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("outputs", [1, 2])
def test_in_a_stock_model_each_member_has_a_loss_of_its_own(outputs):
    model = network(outputs=outputs, n_members=3, layers="7-5", dropout=0.0).train()
    batch = batch_of()
    target = torch.randn(20, outputs)
    loss = lambda: model.calculate_loss(model(batch), target, "train")  # noqa: E731
    # pytorch-tabular adds up targets
    own = [(model(batch)["members"][:, member] - target).square().mean(0).sum() for member in range(3)]
    assert float(loss().detach()) == pytest.approx(float(torch.stack(own).mean().detach()), rel=1e-5)
    check_that_members_learn_by_themselves(model, loss, 3)


def native(frame, config, **trainer):
    """pytorch-tabular's own model, on the processor and without files."""
    quiet = {
        "progress_bar": "none",
        "early_stopping": None,
        "checkpoints": None,
        "load_best": False,
        "accelerator": "cpu",
        "trainer_kwargs": {"enable_model_summary": False},
    }
    targets = [name for name in frame if name.startswith("target")]
    tabular = TabularModel(
        data_config=DataConfig(
            target=targets,
            continuous_cols=[name for name in frame if name not in ("sex", "weight", *targets)],
            categorical_cols=["sex"],
        ),
        model_config=config,
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(**{"batch_size": 64, "max_epochs": 6, **quiet, **trainer}),
        verbose=False,
        suppress_lightning_logger=True,
    )
    tabular.logger = False
    return tabular


def bridged(frame, share, **config):
    """A BridgeModel whose bins are fitted, and a batch of its rows."""
    params = SMALL | {"dropout": 0.0} | config.pop("backbone_config_params", {})
    given = {"n_bins": 8, "learning_rate": 1e-2, "least_squares_share": share, **config}
    made = BridgeConfig(
        task="regression", backbone_config_class="MemberMLPConfig", backbone_config_params=params, **given
    )
    tabular = native(frame, made)
    datamodule = TensorDatamodule(frame[:350], tabular.config, validation=frame[350:])
    datamodule.setup("fit")
    return tabular, datamodule


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize(
    ("scheme", "share"),
    [("least_squares", 0.0), ("softmax_least_squares", 0.5), ("hard", 0.0), ("soft", 0.5), ("end_to_end", 0.5)],
)
def test_in_a_bridge_each_member_has_a_loss_of_its_own(frame, scheme, share, targets):
    if targets == 2:
        frame = frame.assign(target_2=1e4 - 50 * frame["target"])
    options = {} if scheme in ("least_squares", "softmax_least_squares") else {"regression_weight": 0.5}
    tabular, datamodule = bridged(frame, share, scheme=scheme, **options)
    model = tabular.prepare_model(datamodule).train()
    batch = next(iter(datamodule.val_dataloader(60)))
    prepared = model.prepare_targets(batch["target"])
    classes = 4 - int(4 * share)

    output = model.inner(batch)
    one = {name: output[name] for name in ("logits", "members")}
    own = [model.loss(one | {"members": output["members"][:, [member]]}, prepared) for member in range(classes)]
    if share:
        standard = (batch["target"] - model.target_mean) / model.target_scale
        own += [(output["points"][:, place] - standard).square().mean() for place in range(4 - classes)]
    assert len(own) == 4
    loss = lambda: model.loss(model.inner(batch), prepared)  # noqa: E731
    assert float(loss().detach()) == pytest.approx(float(torch.stack(own).mean().detach()), rel=1e-5)
    check_that_members_learn_by_themselves(model.inner, loss, classes)


@settings(max_examples=25, deadline=None)
@given(
    p=st.sampled_from([0.01, 0.1, 0.5, 0.9]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 9)),
    seed=st.integers(0, 2**31),
)
def test_dropout_zeroes_a_share_and_keeps_the_mean(p, shape, seed):
    torch.manual_seed(seed)
    dropout = MemberDropout(p)
    features = torch.randn(shape, requires_grad=True)
    dropped = dropout(features)
    assert dropped.shape == features.shape
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], features[kept] / (1 - p))
    dropped.sum().backward()
    torch.testing.assert_close(features.grad, kept / (1 - p))
    assert dropout.eval()(features) is features


def test_dropout_draws_each_feature_of_each_member_by_itself():
    torch.manual_seed(0)
    zero = (MemberDropout(0.3)(torch.ones(40, 25, 50)) == 0).double()
    assert float(zero.mean()) == pytest.approx(0.3, abs=0.01)
    # over rows, over members and over features: a share that was drawn for several at once would vary by far more
    for axes in itertools.combinations(range(3), 2):
        means = zero.mean(axes)
        deviation = np.sqrt(0.3 * 0.7 * len(means) / zero.numel())
        assert float(means.std()) < 1.6 * deviation
        # nor are neighbours dropped together
        along = zero.movedim([axis for axis in range(3) if axis not in axes], [0])
        assert float((along[1:] * along[:-1]).mean()) == pytest.approx(0.09, abs=0.01)


@pytest.mark.parametrize("sharing", ["packed", "batch_ensemble"])
def test_hidden_layers_of_members_differ_from_the_start(frame, sharing):
    tabular, datamodule = bridged(frame, 0.5, backbone_config_params={"sharing": sharing})
    inner = tabular.prepare_model(datamodule).eval().inner
    batch = next(iter(datamodule.val_dataloader(92)))
    hidden = inner.compute_backbone(inner.embed_input(batch)).detach()
    for one, other in itertools.combinations(hidden.unbind(1), 2):
        assert float((one - other).abs().mean()) > 0.1 * float(one.abs().mean())


@pytest.mark.parametrize("inside", [True, False])
def test_bins_of_embeddings_are_placed_on_the_training_rows(frame, inside):
    tabular, datamodule = bridged(frame, 0.5)
    if not inside:
        tabular = native(frame, MemberMLPConfig(task="regression", **SMALL))
    model = tabular.prepare_model(datamodule)
    (rows,) = datamodule.train_dataloader(350)
    expected = PiecewiseLinear(rows["continuous"].shape[1], SMALL["embedding_bins"], SMALL["embedding_dim"])
    expected.fit(rows["continuous"].numpy())
    found = (model.inner if inside else model).backbone.embeddings.each[0].embeddings
    assert list(expected.buffers())
    for one, other in zip(found.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


# --- behind the door


@pytest.mark.parametrize(
    ("scheme", "sharing", "share"),
    [
        *[(scheme, "packed", None) for scheme in SCHEMES],
        ("end_to_end", "batch_ensemble", None),
        ("least_squares", "batch_ensemble", None),
        ("soft", "batch_ensemble", 0.0),
        ("hard", "packed", 0.0),
        ("softmax_least_squares", "packed", 0.5),
        ("end_to_end", "packed", 0.99),
    ],
)
def test_predict_is_the_mean_of_members_that_differ(table, scheme, sharing, share):
    X, y = table
    model = of_members({"sharing": sharing}, scheme=scheme, least_squares_share=share).fit(X, y)
    members = model.predict_members(X)
    assert members.shape == (len(X), 4)
    np.testing.assert_allclose(members.mean(1), model.predict(X), rtol=1e-5)
    assert np.corrcoef(model.predict(X), y)[0, 1] > 0.5
    for one, other in itertools.combinations(members.T, 2):
        assert np.abs(one - other).max() > 0.02 * y.std()


@settings(max_examples=30, deadline=None)
@given(members=st.integers(1, 12), share=st.floats(0, 1, exclude_max=True))
def test_so_many_members_learn_by_least_squares(members, share):
    params = {"layers": "2", "embedding": "none", "n_members": members}
    config = BridgeConfig(
        task="regression",
        backbone_config_class="MemberMLPConfig",
        backbone_config_params=params,
        least_squares_share=share,
    )
    assert config.point_members == min(round(share * members), members - 1)


@pytest.mark.parametrize(
    ("params", "members", "points"),
    [
        ({}, 4, 2),
        ({}, 1, 0),
        ({}, 2, 1),
        ({"least_squares_share": 0.0}, 3, 0),
        ({"least_squares_share": 0.99}, 3, 2),
        ({"scheme": "softmax_least_squares"}, 4, 0),
        ({"scheme": "least_squares"}, 4, 0),
    ],
    ids=str,
)
def test_members_over_bins_come_first_and_others_last(table, params, members, points):
    X, y = table[0][:100], table[1][:100]
    model = of_members({"n_members": members}, max_epochs=1, **params).fit(X, y)
    assert model.predict_members(X).shape == (100, members)
    output = model.model_.inner(batch_of(5, model.model_.hparams.continuous_dim, [2]))
    assert output["members"].shape[:2] == (5, members - points)
    assert ("points" in output) == (points > 0)
    if points:
        assert output["points"].shape == (5, points, 1)


@pytest.mark.parametrize(("scheme", "margin"), [("end_to_end", 0.1), ("soft", 0.5), ("least_squares", 0.0)])
def test_members_stay_in_the_range_of_the_targets_and_the_margin(table, scheme, margin):
    train, (X, y) = halves(table)
    model = of_members(scheme=scheme, margin=margin, max_epochs=8).fit(*train, eval_set=(X, y))
    far = X.assign(**(50 * X.drop(columns="sex")))
    reach = margin * np.ptp(train[1])
    low, high = train[1].min() - reach, train[1].max() + reach
    members = model.predict_members(far)
    assert members.min() > low - 1e-3
    assert members.max() < high + 1e-3
    # least squares would go on beyond: some rows are at an end
    ends = members[:, -2:]
    assert (np.isclose(ends, low, atol=1e-3) | np.isclose(ends, high, atol=1e-3)).any()
    near = model.predict_members(X)
    assert not (np.isclose(near, low) | np.isclose(near, high)).all()


def test_another_backbone_has_one_member_and_no_share(table, regressor):
    X, y = table
    for params in ({}, {"scheme": "least_squares"}, {"least_squares_share": 0.0}):
        model = regressor(backbone="CategoryEmbeddingModelConfig", max_epochs=1, **params).fit(X, y)
        np.testing.assert_allclose(model.predict_members(X), model.predict(X)[:, None], rtol=1e-6)
    with pytest.raises(ValueError, match=r"^least_squares_share: CategoryEmbeddingModelConfig has no members.*$"):
        regressor(backbone="CategoryEmbeddingModelConfig", least_squares_share=0.5).fit(X, y)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, "half"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="least_squares_share") as refusal:
        of_members(least_squares_share=share).check_params()
    assert "\n" not in str(refusal.value)


def test_what_is_not_fitted_predicts_no_members(table):
    with pytest.raises(ValueError, match="not fitted"):
        of_members().predict_members(table[0])


def test_the_distribution_has_the_prediction_for_its_mean(table, fitted):
    X, _ = table
    distribution = fitted.predict_distribution(X)
    np.testing.assert_allclose(distribution.mean, fitted.predict(X), rtol=1e-5)
    quantiles = fitted.predict_quantiles(X, [0.1, 0.5, 0.9])
    assert (np.diff(quantiles, axis=1) > 0).all()
    covered = (quantiles[300:, 0] <= table[1][300:]) & (table[1][300:] <= quantiles[300:, 2])
    assert 0.6 < covered.mean() < 0.98


def test_least_squares_alone_has_a_distribution_of_the_mean_of_members(table):
    X, _ = table
    model = of_members(scheme="least_squares").fit(*table)
    np.testing.assert_allclose(model.predict_distribution(X).mean, model.predict_members(X).mean(1), rtol=1e-5)


@pytest.mark.parametrize("scheme", ["end_to_end", "least_squares"])
def test_rows_of_weight_zero_change_nothing(table, scheme):
    (X, y), held_out = halves(table)
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    kept = weight > 0
    spoiled = np.where(kept, y, 1e5)
    numbers = X.select_dtypes("number").columns
    changed = X.assign(**{name: X[name].where(kept, 1e3) for name in numbers})
    first = of_members(scheme=scheme, max_epochs=2).fit(changed, spoiled, weight, eval_set=held_out)
    second = of_members(scheme=scheme, max_epochs=2).fit(X[kept], y[kept], eval_set=held_out)
    np.testing.assert_array_equal(first.predict_members(X), second.predict_members(X))


def test_weights_pull_every_member(table):
    X, y = table
    heavy = np.where(y > np.median(y), 10.0, 1.0)
    plain, weighted = (of_members().fit(X, y, weight, eval_set=(X, y, weight)) for weight in (None, heavy))
    assert (weighted.predict_members(X).mean(0) > plain.predict_members(X).mean(0) + 5).all()


@pytest.mark.parametrize(
    ("params", "targets"),
    [
        ({}, 1),
        ({"sharing": "batch_ensemble", "embedding": "pbld", "input_scale": 1}, 2),
        ({"embedding": "plr", "one_hot": 4, "dropout": 0.1}, 1),
        ({"embedding": "none", "embedding_dropout": 0.1, "activation": "SiLU"}, 2),
    ],
    ids=str,
)
def test_saved_members_predict_the_same(table, tmp_path, params, targets):
    X, y = table
    y = y if targets == 1 else np.stack([y, 1e4 - 50 * y], axis=1)
    model = of_members(params, max_epochs=2).fit(X, y)
    model.save(tmp_path / "m")
    loaded = TabularBridgeRegressor.load(tmp_path / "m")
    assert loaded.get_params() == model.get_params()
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(loaded.predict_members(X), model.predict_members(X))


def test_one_hot_codes_are_not_trained(table):
    model = of_members({"one_hot": 4}).fit(*table)
    layers = list(model.model_.embedding_layer.cat_embedding_layers)
    for layer in layers:
        torch.testing.assert_close(layer.weight.detach(), torch.eye(len(layer.weight)), rtol=0, atol=0)
    assert layers


def test_several_targets(table):
    X, y = table
    both = np.stack([y, 1e4 - 50 * y], axis=1)
    model = of_members(max_epochs=10).fit(X, both)
    members = model.predict_members(X)
    assert members.shape == (len(X), 4, 2)
    np.testing.assert_allclose(members.mean(1), model.predict(X), rtol=1e-5)
    for member, target in itertools.product(range(4), range(2)):
        assert np.corrcoef(members[:, member, target], both[:, target])[0, 1] > 0.4
    first, second = model.predict_distribution(X)
    np.testing.assert_allclose(np.stack([first.mean, second.mean], axis=1), model.predict(X), rtol=1e-5)


def test_missing_and_unseen_values(table, fitted):
    X, _ = table
    strange = X[:20].assign(sex="x", bmi=np.nan, age=1e9)
    assert np.isfinite(fitted.predict_members(strange)).all()
    known, unknown = (fitted.predict_members(X[:20].assign(sex=code)) for code in ("f", "x"))
    assert not np.array_equal(known, unknown)


@pytest.mark.parametrize(("columns", "one_hot"), [(["sex"], 0), (["sex"], 10), (["age", "bmi"], 0)])
def test_tables_of_one_kind_of_column(table, tmp_path, columns, one_hot):
    X, y = table[0][columns], table[1]
    model = of_members({"one_hot": one_hot}, max_epochs=2).fit(X, y)
    assert np.ptp(model.predict(X)) > 0
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(TabularBridgeRegressor.load(tmp_path / "m").predict(X), model.predict(X))


def test_columns_of_few_values_and_constants(table):
    X, y = table
    X = X.assign(constant=3.0, one=(X.index == 5).astype(float), few=(X["age"] // 25).astype(float), large=1e12)
    model = of_members().fit(X, y)
    assert np.isfinite(model.predict_members(X)).all()
    assert np.corrcoef(model.predict(X), y)[0, 1] > 0.5


def test_a_seed_fixes_everything_and_another_changes_it(table):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fits = [of_members({"dropout": 0.1}, max_epochs=2, random_state=seed).fit(*table) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (model.predict_members(table[0]) for model in fits)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_warm_start_goes_on_from_where_it_was(table):
    train, (X, y) = halves(table)
    model = of_members(max_epochs=1, warm_start=True).fit(*train, eval_set=(X, y))
    before, first = model.predict_members(X), model.score(X, y)
    # one step of next to no length, on other rows with other units
    model.set_params(learning_rate=1e-12, max_epochs=1).fit(X, 5 * y + 1e3)
    np.testing.assert_allclose(model.predict_members(X), before, rtol=1e-4)
    model.set_params(learning_rate=1e-2, max_epochs=6).fit(*train, eval_set=(X, y))
    assert model.score(X, y) > first + 0.05
    with pytest.raises(ValueError, match=r"^warm_start: the last fit was of a network or a scheme that"):
        model.set_params(least_squares_share=0.25).fit(*train)


def test_refit_trains_on_the_held_out_rows_too(table):
    X, y = table
    plain, again = (of_members(refit=refit, validation_fraction=0.4).fit(X, y) for refit in (False, True))
    assert again.best_epoch_ == plain.best_epoch_
    assert not np.array_equal(plain.predict(X), again.predict(X))
    np.testing.assert_allclose(again.predict_members(X).mean(1), again.predict(X), rtol=1e-5)
    assert again.score(X, y) > 0.2


def test_mixed_precision(table):
    names = ("32-true", "bf16-mixed", "16-mixed")
    models = [of_members({"dropout": 0.1}, precision=name).fit(*table) for name in names]
    exact, *mixed = (model.score(*table) for model in models)
    assert exact > 0.2
    assert mixed == pytest.approx([exact] * 2, abs=0.1)


@pytest.mark.parametrize("metric", ["crps", "loss"])
def test_every_metric_chooses_an_epoch(table, metric):
    assert of_members(early_stopping_metric=metric).fit(*table).score(*table) > 0.2


def test_what_was_learned_about_classes_is_shown(table, fitted):
    (use,) = fitted.class_use_
    assert use.shape == (8,)
    assert use.sum() == pytest.approx(1, abs=1e-5)
    frame = fitted.encoder_frame()
    np.testing.assert_allclose(frame["use"], use)
    assert frame["value"].is_monotonic_increasing
    (_, y), _ = halves(table)
    # codes of targets have them for their mean
    assert frame["use"] @ frame["code_mean"] == pytest.approx(y.mean(), abs=0.2 * y.std())
    axes = fitted.plot_encoder()
    assert len(axes.get_lines()) >= 8
    axes.figure.clear()


# --- pytorch-tabular's own route


@pytest.fixture(scope="module")
def standard():
    """Standardised: stock networks do not do that for targets."""
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X = X.assign(sex=X["sex"].map({1.0: "f", 2.0: "m"}))
    return pd.concat([X, ((y - y.mean()) / y.std()).rename("target")], axis=1)


STOCK = {"task": "regression", "learning_rate": 1e-2, "metrics": ["mean_squared_error"], **SMALL}


def yaml_file(folder, **params):
    path = folder / "members.yml"
    names = {"_module_src": "models.bridge", "_model_name": "MemberMLPModel", "_config_name": "MemberMLPConfig"}
    path.write_text(yaml.safe_dump(names | STOCK | params))
    return str(path)


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "params", [{}, {"sharing": "batch_ensemble", "embedding": "pbld", "one_hot": 4, "input_scale": 1}], ids=str
)
def test_a_stock_model_from_python_and_from_yaml(standard, in_tmp, params):
    train, test = standard[:350], standard[350:]
    predicted = []
    for config in (MemberMLPConfig(**STOCK | params), yaml_file(in_tmp, **params)):
        tabular = native(standard, config)
        tabular.fit(train, seed=1)
        predicted.append(tabular.predict(test)["target_prediction"].to_numpy())
    np.testing.assert_array_equal(predicted[0], predicted[1])
    assert np.mean((predicted[0] - test["target"]) ** 2) < 0.8 * test["target"].var()
    (result,) = tabular.evaluate(test, verbose=False)
    assert result["test_mean_squared_error"] == pytest.approx(np.mean((predicted[0] - test["target"]) ** 2), rel=1e-3)
    tabular.save_model(str(in_tmp / "saved"))
    loaded = TabularModel.load_model(str(in_tmp / "saved"))
    np.testing.assert_array_equal(loaded.predict(test)["target_prediction"].to_numpy(), predicted[1])
    far = far_from(test)
    np.testing.assert_array_equal(loaded.predict(far), tabular.predict(far))


def far_from(frame):
    return frame.assign(**{name: 50 * frame[name] for name in frame if name not in ("sex", "target")})


def range_and_a_tenth(targets):
    reach = 0.1 * np.ptp(targets)
    return targets.min() - reach, targets.max() + reach


def test_clamped_predictions_stay_in_the_range_of_the_training_targets_and_a_tenth(standard, in_tmp):
    train, test = standard[:350], standard[350:]
    low, high = range_and_a_tenth(train["target"])
    found = {}
    for clamp in (True, False):
        tabular = native(standard, MemberMLPConfig(**STOCK, clamp=clamp))
        tabular.fit(train, validation=test, seed=1)
        found[clamp] = tabular.predict(far_from(test))["target_prediction"]
    assert found[True].between(low - 1e-5, high + 1e-5).all()
    # the end itself, not something nearer
    assert np.isclose(found[True], low, atol=1e-4).any() | np.isclose(found[True], high, atol=1e-4).any()
    assert not found[False].between(low, high).all()


def test_a_stock_model_of_several_targets(standard, in_tmp):
    both = standard.assign(target_2=3 - 2 * standard["target"])
    tabular = native(both, MemberMLPConfig(**STOCK))
    tabular.fit(both[:350], validation=both[350:])
    predicted = tabular.predict(both[350:])
    for name in ("target", "target_2"):
        assert np.corrcoef(predicted[f"{name}_prediction"], both[name][350:])[0, 1] > 0.4
    far = tabular.predict(far_from(both[350:]).assign(target_2=0.0))
    for name in ("target", "target_2"):
        low, high = range_and_a_tenth(both[name][:350])
        assert far[f"{name}_prediction"].between(low - 1e-5, high + 1e-5).all()


def test_a_target_range_bounds_predictions(standard, in_tmp):
    tabular = native(standard, MemberMLPConfig(**STOCK, target_range=[[-0.5, 0.25]]))
    tabular.fit(standard[:350])
    predicted = tabular.predict(standard[350:])["target_prediction"]
    assert predicted.between(-0.5, 0.25).all()
    assert np.corrcoef(predicted, standard["target"][350:])[0, 1] > 0.4


def test_folds_begin_anew(standard, in_tmp):
    tabular = native(standard, MemberMLPConfig(**STOCK), max_epochs=3)
    folds = tabular.cross_validate(cv=2, train=standard[:300], verbose=False, metric="mean_squared_error")
    assert len(folds[0] if isinstance(folds, tuple) else folds) == 2


@pytest.mark.parametrize("embedding", ["piecewise_linear", "pbld", "plr"])
@pytest.mark.parametrize("share", [None, 0.5])
def test_a_reset_leaves_nothing_of_what_was_trained(frame, embedding, share):
    params = {"embedding": embedding, "input_scale": 1, "one_hot": 1}
    if share is None:
        model = network(**params)
    else:
        tabular, datamodule = bridged(frame, share, backbone_config_params=params)
        model = tabular.prepare_model(datamodule)
    inner = model if share is None else model.inner
    trained = {name: part for name, part in inner.named_parameters() if part.requires_grad}
    with torch.no_grad():
        for part in trained.values():
            part.fill_(77.0)
    model.reset_weights()
    assert [name for name, part in trained.items() if (part == 77).any()] == []


# --- inside a bridge, natively


@pytest.mark.parametrize(
    ("share", "scheme", "tensors"),
    [(0.5, "end_to_end", True), (0.5, "end_to_end", False), (0.0, "soft", False), (0.0, "least_squares", True)],
)
def test_a_native_bridge_trains_members(frame, in_tmp, share, scheme, tensors):
    tabular, datamodule = bridged(frame, share, scheme=scheme)
    if tensors:
        tabular.fit(train=None, datamodule=datamodule)
    else:
        tabular.fit(frame[:350], validation=frame[350:])
    predicted = tabular.predict(frame[350:])["target_prediction"].to_numpy()
    assert np.mean((predicted - frame["target"][350:]) ** 2) < 0.8 * frame["target"][350:].var()
    batch = next(iter(datamodule.val_dataloader(92)))
    with torch.no_grad():
        output = tabular.model.eval()(batch)
    assert output["member_points"].shape == (92, 4, 1)
    torch.testing.assert_close(output["member_points"].mean(1), output["logits"])
    np.testing.assert_allclose(output["logits"].ravel(), predicted, rtol=1e-5)
    if scheme != "least_squares":
        torch.testing.assert_close(output["class_log_probs"].exp().sum(1), torch.ones(92))
    outputs = tabular.predict(frame[350:], ret_logits=True)
    members = output["member_points"].flatten(1)
    np.testing.assert_allclose(outputs[[f"member_points_{i}" for i in range(4)]], members, rtol=1e-5)
    tabular.save_model(str(in_tmp / "saved"))
    loaded = TabularModel.load_model(str(in_tmp / "saved"))
    np.testing.assert_array_equal(loaded.predict(frame[350:])["target_prediction"].to_numpy(), predicted)


def test_class_probabilities_are_the_mean_of_the_members(frame):
    tabular, datamodule = bridged(frame, 0.25, scheme="soft")
    model = tabular.prepare_model(datamodule).eval()
    batch = next(iter(datamodule.val_dataloader(92)))
    with torch.no_grad():
        output = model(batch)
        (logits,) = model.class_logits(model.inner(batch))
    assert logits.shape == (92, 3, 8)
    pi = torch.softmax(logits, -1)
    torch.testing.assert_close(output["class_log_probs"].exp(), pi.mean(1))
    points = model.target_mean + model.target_scale * (pi @ model.codecs[0].decoder.values)
    torch.testing.assert_close(output["member_points"][:, :3, 0], points, rtol=1e-4, atol=1e-2)


def test_the_other_backbones_of_a_bridge_have_no_member_points(frame):
    config = BridgeConfig(task="regression", n_bins=8, backbone_config_params={"layers": "8"})
    tabular = native(frame, config)
    datamodule = TensorDatamodule(frame[:350], tabular.config, validation=frame[350:])
    datamodule.setup("fit")
    output = tabular.prepare_model(datamodule)(next(iter(datamodule.val_dataloader())))
    assert "member_points" not in output
    with pytest.raises(ValueError, match=r"^least_squares_share: GANDALFConfig has no members, set it to 0$"):
        BridgeConfig(task="regression", backbone_config_class="GANDALFConfig", least_squares_share=0.1)


# --- refusals

REFUSED = [
    *[("n_members", value) for value in (0, -1, 2.5, "8", True, None)],
    *[("embedding_dim", value) for value in (0, 1.0)],
    *[("embedding_bins", value) for value in (1, 0, "4")],
    *[("frequencies", value) for value in (0, 3.5)],
    *[("one_hot", value) for value in (-1, 0.5)],
    *[("sharing", value) for value in ("pack", "")],
    *[("embedding", value) for value in ("piecewise", "PLR")],
    *[("layers", value) for value in ("", "128-", "128-0", "-5", "a", "8 8", 128, None)],
    *[("dropout", value) for value in (-0.1, 1.0, float("nan"))],
    *[("frequency_scale", value) for value in (0.0, -1.0, float("nan"))],
    *[("activation", value) for value in ("Gelu", "functional", "")],
    *[("dropout", value) for value in ("0.1", True)],
    *[("frequency_scale", value) for value in ("a", float("inf"))],
    *[("activation", value) for value in (5, "Linear")],
    ("clamp", "no"),
    *[("input_scale", value) for value in (-1.0, True, "no", float("nan"))],
    ("batch_norm_continuous_input", True),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=lambda part: repr(part))
def test_values_that_no_network_could_be_built_from_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name) as refusal:
        MemberMLPConfig(task="regression", **{name: value})
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match="backbone_params") as refusal:
        TabularBridgeRegressor("MemberMLPConfig", backbone_params={name: value}).check_params()
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_near_names_are_offered():
    with pytest.raises(ValueError, match=r"^sharing: unknown 'paked'; did you mean 'packed'"):
        MemberMLPConfig(task="regression", sharing="paked")
    with pytest.raises(ValueError, match=r"^embedding: unknown 'piecewise'; did you mean 'piecewise_linear'"):
        MemberMLPConfig(task="regression", embedding="piecewise")
    with pytest.raises(ValueError, match=r"^backbone_params of MemberMLPConfig: unknown 'members'.*'n_members'"):
        of_members({"members": 4}).check_params()


def test_other_tasks_and_heads_are_refused():
    with pytest.raises(ValueError, match=r"^MemberMLPConfig is for regression, got task='classification'$"):
        MemberMLPConfig(task="classification")
    with pytest.raises(ValueError, match=r"^head_config: MemberMLPConfig has no LinearHead; .* are in `layers`$"):
        MemberMLPConfig(task="regression", head_config={"layers": "16"})
    with pytest.raises(ValueError, match="has no LinearHead"):
        MemberMLPConfig(task="regression", head_config={"dropout": 0.1})
    with pytest.raises(ValueError, match="head_params") as refusal:
        of_members(head_params={"layers": "16"}).check_params()
    assert "\n" not in str(refusal.value)


def test_every_setting_is_explained():
    own = set(inspect.signature(MemberMLPConfig).parameters) - set(
        inspect.signature(MemberMLPConfig.__mro__[1]).parameters
    )
    fields = MemberMLPConfig.__dataclass_fields__
    assert own >= {"n_members", "sharing", "embedding", "layers"}
    assert all(fields[name].metadata.get("help", "").endswith(".") for name in own)


@pytest.mark.parametrize(
    "params", [{"layers": "9999999-9999999"}, {"embedding_dim": 10**9}, {"embedding": "pbld", "frequencies": 10**10}]
)
def test_a_network_larger_than_the_machine_is_refused_before_it_is_built(params):
    with pytest.raises(ValueError, match=r"backbone_params of MemberMLPConfig: .* larger than what") as refusal:
        of_members(params).check_params()
    assert "\n" not in str(refusal.value)
