"""Each parameter of TabularBridgeRegressor changes what it says it does, or is refused by name."""

import numpy as np
import pytest
import torch

from bridges_tabular import BridgeConfig, TabularBridgeRegressor
from bridges_tabular.core.encoders import LearnedEncoder, SoftEncoder
from bridges_tabular.tabular import head


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
        ({"early_stopping_metric": "mae"}, "early_stopping_metric"),
        ({"scheme": "least_squares", "early_stopping_metric": "crps"}, "early_stopping_metric='crps' needs a scheme"),
        ({"scheme": "softmax_least_squares", "early_stopping_metric": "crps"}, "needs a scheme with a code"),
        ({"kernel": "gaussian"}, "kernel='gaussian' has no effect with scheme='end_to_end'"),
        ({"scheme": "hard", "encoder": "a.b"}, "encoder: cannot import 'a.b'"),
        ({"scheme": "hard", "encoder": "bridges_tabular.core.encoders.HardEncoder"}, "has no place in scheme='hard'"),
        ({"placement": "quantile", "uniform_share": 0.5}, "uniform_share has no effect with placement='quantile'"),
        ({"head": "cumulative", "head_params": {"gama": 2.0}}, "unknown 'gama'; did you mean 'gamma'"),
        ({"head": "cumulative", "head_params": {1: 2.0}}, "unknown 1"),
        ({"head": "location", "head_params": {"gamma": 2.0}}, "unknown 'gamma'"),
        ({"head": "os.path.join"}, "no subclass of"),
    ],
)
def test_bad_parameters_are_refused_before_any_training(table, regressor, params, message):
    with pytest.raises(ValueError, match=message):
        regressor(**params).check_params()
    with pytest.raises(ValueError, match=message):
        regressor(**params).fit(*table)


STOCK, OWN = "CategoryEmbeddingModelConfig", "MemberMLPConfig"
UNREAD = [
    ({"task": "regression"}, "has no place there; it is always regression"),
    ({"head": "LinearHead"}, "has no place there; set head beside backbone_params"),
    ({"head_config": {"layers": "8"}}, "has no place there; set head_params beside backbone_params"),
    ({"learning_rate": 0.5}, "has no place there; set learning_rate beside backbone_params"),
    ({"seed": 7}, "has no place there; set random_state"),
    ({"loss": "L1Loss"}, "has no place there; scheme decides what is learned"),
    *[({key: []}, "has no place there") for key in ("metrics", "metrics_params", "metrics_prob_input")],
    ({"target_range": [[0.0, 1.0]]}, "has no place there; set support"),
]


@pytest.mark.parametrize(
    ("backbone", "params", "said"),
    [
        *[(backbone, *case) for backbone in (STOCK, OWN) for case in UNREAD],
        (OWN, {"virtual_batch_size": 16}, "has no effect there"),
        (OWN, {"batch_norm_continuous_input": True}, "has no effect there"),
        (
            "StackingModelConfig",
            {"embedding_dropout": 0.1, "model_configs": [{"backbone_config_class": STOCK}]},
            "has no effect there",
        ),
        ("FTTransformerConfig", {"embedding_dims": [[3, 2]]}, "has no effect there"),
    ],
    ids=str,
)
def test_keys_that_a_backbone_does_not_read_are_refused_and_told_their_place(regressor, backbone, params, said):
    key = next(iter(params))
    with pytest.raises(ValueError, match=rf"^backbone_params of {backbone}: '{key}' {said}$"):
        regressor(backbone=backbone, backbone_params=params).check_params()
    with pytest.raises(ValueError, match="unknown 'layrs'") as refusal:
        regressor(backbone=backbone, backbone_params={"layrs": "8"}).check_params()
    assert key not in str(refusal.value).partition("choices: ")[2].split(", ")


def test_keys_of_members_of_a_stack_and_of_native_models_are_refused_alike(regressor):
    members = [{"backbone_config_class": STOCK, "learning_rate": 0.1}]
    with pytest.raises(ValueError, match=f"^backbone_params of {STOCK}: 'learning_rate' has no place there"):
        regressor(backbone="StackingModelConfig", backbone_params={"model_configs": members}).check_params()
    for key, advice in (
        ("head", "set kind of head_config beside backbone_config_params"),
        ("seed", "set seed of TrainerConfig"),
        ("metrics", "set metrics of BridgeConfig"),
        ("target_range", "set target_range of BridgeConfig"),
    ):
        with pytest.raises(ValueError, match=f"^backbone_config_params of {STOCK}: '{key}' has no .*; {advice}$"):
            BridgeConfig(task="regression", backbone_config_params={key: None})


def test_a_virtual_batch_is_of_a_batch_norm(table, regressor):
    with pytest.raises(ValueError, match=r"'virtual_batch_size' has no effect without batch_norm_continuous_input$"):
        regressor(backbone=STOCK, backbone_params={"layers": "8", "virtual_batch_size": 16}).check_params()
    found = [
        regressor(
            backbone=STOCK,
            backbone_params={"layers": "8", "batch_norm_continuous_input": True, "virtual_batch_size": size},
            max_epochs=1,
        )
        .fit(*table)
        .predict(table[0])
        for size in (8, 16)
    ]
    assert not np.array_equal(*found)


def test_weights_of_terms_that_a_scheme_does_not_have_may_be_zero(table, regressor):
    for scheme in ("least_squares", "softmax_least_squares"):
        regressor(scheme=scheme, alignment_weight=0.0, max_epochs=1).fit(*table)


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
        {"scheme": "pretrained", "pretraining_steps": 20},
        {"regression_weight": 1.0},
        {"alignment_weight": 0.0, "regression_weight": 1.0},
        {"encoder_learning_rate": 1.0},
        {"early_stopping_metric": "crps"},
        {"head": "plain"},
        {"head": "cumulative", "head_params": {"gamma": 1.0}},
        {"backbone": "CategoryEmbeddingModelConfig", "head": "cumulative", "head_params": {"layers": "16"}},
        {"head": "location"},
    ],
    ids=str,
)
def test_every_option_trains_and_saves(table, tmp_path, regressor, options):
    X, y = table
    model = regressor(**options, learning_rate=1e-2).fit(X[:350], y[:350])
    assert model.score(X[350:], y[350:]) > 0.2
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(TabularBridgeRegressor.load(tmp_path / "m").predict(X), model.predict(X))


def bins_of(model):
    """Edges and centres in units of the target."""
    (codec,), (scale,) = model.codecs_, model.codec_scales_
    return scale.restore(codec.bins.edges), scale.restore(codec.bins.centers)


def test_where_the_bins_lie(table, regressor):
    X, y = table
    placed = {}
    for name, options in {
        "uniform": {"placement": "uniform"},
        "margin": {"placement": "uniform", "margin": 0.5},
        "quantile": {"placement": "quantile"},
        "kmeans": {"placement": "kmeans"},
        "blend": {},
        "share": {"uniform_share": 0.1},
        "fewer": {"n_bins": 8},
    }.items():
        model = regressor(max_epochs=1, calibration="none", **options).fit(X, y, eval_set=(X, y))
        placed[name] = bins_of(model)
    edges = {name: edges for name, (edges, _) in placed.items()}
    np.testing.assert_allclose(np.diff(edges["uniform"]), 1.2 * np.ptp(y) / 16)
    np.testing.assert_allclose(edges["margin"][[0, -1]], [y.min() - 0.5 * np.ptp(y), y.max() + 0.5 * np.ptp(y)])
    counts = np.histogram(y, edges["quantile"])[0]
    assert counts.min() > 0.7 * len(y) / 16
    # with a small uniform share nearly quantiles, with the default nearly uniform
    share, blend = (np.histogram(y, edges[name])[0].std() for name in ("share", "blend"))
    assert counts.std() < share < 0.7 * blend
    middles = (placed["kmeans"][1][1:] + placed["kmeans"][1][:-1]) / 2
    # but for the outer two, whose centres reach the extreme targets
    np.testing.assert_allclose(edges["kmeans"][2:-2], middles[1:-1])
    assert len(edges["fewer"]) == 9


def code_widths(model, y):
    """Deviations of the codes of targets, in widths of their bins."""
    (codec,), (scale,) = model.codecs_, model.codec_scales_
    standard = scale.standardise(np.asarray(y))
    with torch.no_grad():
        psi = codec.encode(torch.as_tensor(standard, dtype=torch.float32)).exp().double().numpy()
    mean = psi @ codec.bins.centers
    deviations = np.sqrt((psi * (codec.bins.centers - mean[:, None]) ** 2).sum(1))
    return deviations / codec.bins.widths[codec.bins.assign(standard)]


def test_how_wide_the_codes_are(table, regressor):
    X, y = table
    widths = {
        name: np.median(code_widths(regressor(max_epochs=1, scheme="soft", **options).fit(X, y), y))
        for name, options in {
            "narrow": {"smoothing": 0.5},
            "default": {},
            "wide": {"smoothing": 2.0},
            "two_hot": {"kernel": "two_hot"},
        }.items()
    }
    assert widths["two_hot"] <= 0.5
    assert widths["default"] == pytest.approx(1.0, rel=0.15)
    assert widths["narrow"] < 0.7 * widths["default"] < 0.5 * widths["wide"]


@pytest.mark.parametrize("draw", ["uniform", "normal", "exponential"])
def test_by_default_extreme_targets_have_codes_as_wide_as_others(draw):
    # a code squeezed against the end of the axis biases the network inwards
    random = np.random.default_rng(0)
    y = getattr(random, draw)(size=2_000)
    model = TabularBridgeRegressor(scheme="soft", max_epochs=1).fit(random.normal(size=(2_000, 2)), y)
    widths = code_widths(model, np.quantile(y, [0.0, 0.01, 0.5, 0.99, 1.0]))
    assert (widths > 0.5).all()
    assert (widths < 3).all()


def test_which_encoder_there_is_and_what_training_does_to_it(table, regressor):
    start = regressor(max_epochs=1, scheme="soft", calibration="none").fit(*table).codecs_[0].encoder
    assert isinstance(start, SoftEncoder)
    slopes = {}
    for name, options in {
        "pretrained": {"scheme": "pretrained"},
        "shortly": {"scheme": "pretrained", "pretraining_steps": 1},
        "moved": {},
        "slowly": {"encoder_learning_rate": 1e-6},
        "unweighted": {"autoencoding_weight": 0.0},
    }.items():
        encoder = regressor(max_epochs=4, **options).fit(*table).codecs_[0].encoder
        assert isinstance(encoder, LearnedEncoder)
        slopes[name] = encoder.slopes.detach() / start.family.slopes
    moved = {name: float((slope - 1).abs().max()) for name, slope in slopes.items()}
    assert moved["slowly"] < 1e-3 < moved["moved"]
    assert moved["shortly"] < 0.5 * moved["pretrained"]
    assert not torch.equal(slopes["unweighted"], slopes["moved"])


def test_which_head_there_is(table, regressor):
    X, y = table
    for kind, expected in head.HEADS.items():
        (made,) = regressor(head=kind, max_epochs=1).fit(X, y).model_.bridge_heads
        assert type(made) is expected
    (made,) = regressor(head="cumulative", head_params={"gamma": 7.0}, max_epochs=1).fit(X, y).model_.bridge_heads
    assert made.gamma == 7.0
    # by the number of rows: the location head for few, the cumulative one for many
    many = np.repeat(np.arange(len(y)), 3)
    for rows, expected in ((np.arange(len(y)), head.LocationHead), (many, head.CumulativeHead)):
        (made,) = regressor(max_epochs=1).fit(X.iloc[rows], y[rows]).model_.bridge_heads
        assert type(made.chosen) is expected


def test_how_the_optimiser_is_set(table, regressor, monkeypatch):
    made = []

    class Recorded(torch.optim.AdamW):
        def __init__(self, params, **options):
            super().__init__(params, **options)
            made.append((self, [dict(group) for group in self.param_groups]))

        def step(self, *args, **kwargs):
            made[-1][0].steps = getattr(made[-1][0], "steps", 0) + 1
            return super().step(*args, **kwargs)

    monkeypatch.setattr(torch.optim, "AdamW", Recorded)
    options = {"learning_rate": 5e-3, "weight_decay": 0.2, "encoder_learning_rate": 0.1, "batch_size": 50}
    regressor(max_epochs=3, **options).fit(*table, eval_set=table)
    ((optimizer, (network, codec)),) = made
    assert (network["lr"], network["weight_decay"]) == (5e-3, 0.2)
    assert (codec["lr"], codec["weight_decay"]) == (pytest.approx(5e-4), 0.0)
    assert optimizer.steps == 3 * 9
    # half a cosine
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)


def linear_outputs(model, table):
    """Types of the outputs of linear layers, by whether the network was in training."""
    seen = set()

    def see(module, inputs, output):
        if isinstance(module, torch.nn.Linear):
            seen.add((module.training, output.dtype))

    # which tries a network of its own, unless it has been tried before
    model.check_params()
    handle = torch.nn.modules.module.register_module_forward_hook(see)
    try:
        model.fit(*table)
        fitted = seen.copy()
        seen.clear()
        model.predict(table[0])
        return fitted, seen.copy()
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16)]
)
def test_precision_is_that_of_the_network_in_training(table, regressor, precision, dtype):
    # its layers are torch's own
    single = {"backbone": "CategoryEmbeddingModelConfig", "max_epochs": 3}
    model = regressor(precision=precision, **single)
    in_fit, in_predict = linear_outputs(model, table)
    assert {kind for training, kind in in_fit if training} == {dtype}
    assert in_predict == {(False, torch.float32)}
    assert model.score(*table) == pytest.approx(regressor(**single).fit(*table).score(*table), abs=0.05)


def test_compile_trains_on_the_compiled_network(table, regressor, monkeypatch):
    compiled, real, steps = [], torch.compile, []

    def recording(network, *args, **kwargs):
        compiled.append(network)
        # tracing alone: making kernels would take a minute
        made = real(network, backend="eager")
        return lambda batch: (steps.append(len(batch["target"])), made(batch))[1]

    monkeypatch.setattr(torch, "compile", recording)
    plain = regressor(max_epochs=3, batch_size=128).fit(*table)
    assert compiled == []
    model = regressor(max_epochs=3, batch_size=128, compile=True).fit(*table)
    assert compiled == [model.model_.inner]
    assert len(steps) == 3 * 3
    np.testing.assert_allclose(model.predict(table[0]), plain.predict(table[0]), rtol=1e-2)
