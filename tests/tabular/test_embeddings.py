"""Embeddings of numbers and categories agree with rtdl-num-embeddings and with their formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rtdl_num_embeddings import PiecewiseLinearEmbeddings
from torch import nn

from bridges_tabular.tabular.embeddings import PBLD, NumberEmbeddings, PiecewiseLinear, input_layer

DIM, BINS = 3, 6

# rtdl-num-embeddings says that a single bin is MinMaxScaler
pytestmark = pytest.mark.filterwarnings("ignore:The .* feature has just two bin edges")

COLUMNS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: 100 * rng.exponential(size=n),
    "few": lambda rng, n: rng.choice([-1.0, 0.5, 2.0, 7.0], n),
    "two": lambda rng, n: rng.integers(0, 2, n),
    "mostly one": lambda rng, n: np.where(rng.random(n) < 0.9, 0.0, rng.normal(size=n)),
    "constant": lambda rng, n: np.full(n, rng.normal()),
}


def table_of(kinds, n, seed):
    rng = np.random.default_rng(seed)
    return np.stack([COLUMNS[kind](rng, n) for kind in kinds], axis=1).astype(np.float32)


def randomised(module, seed):
    """Version B starts as if it had no bins: parameters as some training may leave them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def edges_of(column):
    edges = np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)).astype(np.float32))
    return edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1])


def of_one_column(ours, index, edges):
    """rtdl's own module over the bins of a column, with the column's parameters."""
    theirs = PiecewiseLinearEmbeddings([torch.from_numpy(edges)], DIM, activation=False, version="B")
    inner = [*range(len(edges) - 2), BINS - 1]
    with torch.no_grad():
        theirs.linear.weight.copy_(ours.embeddings.linear.weight[index : index + 1, inner])
        for name, parameter in theirs.linear0.named_parameters():
            parameter.copy_(dict(ours.embeddings.linear0.named_parameters())[name][index : index + 1])
    return theirs


kinds_of_columns = st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(kinds=kinds_of_columns, n=st.integers(2, 60), seed=st.integers(0, 2**31))
def test_piecewise_linear_embeddings_are_those_of_each_column_by_itself(kinds, n, seed):
    numbers = table_of(kinds, n, seed)
    ours = randomised(PiecewiseLinear(len(kinds), BINS, DIM), seed)
    ours.fit(numbers)
    far = np.concatenate([numbers, numbers * 3 - 5])
    found, beyond = (ours(torch.from_numpy(rows)).detach() for rows in (numbers, far))
    assert found.shape == (n, len(kinds), DIM)
    for index in range(len(kinds)):
        edges = edges_of(numbers[:, index])
        theirs = of_one_column(ours, index, edges)
        expected = theirs(torch.from_numpy(numbers[:, index : index + 1]))[:, 0].detach()
        torch.testing.assert_close(found[:, index], expected, rtol=1e-5, atol=1e-4)
        if len(edges) > 2:
            # of a single bin rtdl goes on below, here it is flat
            expected = theirs(torch.from_numpy(far[:, index : index + 1]))[:, 0].detach()
            torch.testing.assert_close(beyond[:, index], expected, rtol=1e-5, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    column=arrays(np.float32, st.integers(1, 30), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    bins=st.integers(2, 40),
)
def test_any_column_has_finite_embeddings(column, bins):
    numbers = column[:, None]
    module = randomised(PiecewiseLinear(1, bins, DIM), 0)
    module.fit(numbers)
    assert torch.isfinite(module(torch.from_numpy(numbers))).all()


@pytest.mark.parametrize("constant", [0.0, 1.0, 1e8, -3e20])
def test_a_constant_of_any_size_is_embedded_as_a_number_alone(constant):
    numbers = np.full((5, 1), constant, dtype=np.float32)
    module = randomised(PiecewiseLinear(1, BINS, DIM), 0)
    module.fit(numbers)
    torch.testing.assert_close(module(torch.from_numpy(numbers)), module.embeddings.linear0(torch.from_numpy(numbers)))


@settings(max_examples=20, deadline=None)
@given(
    kinds=st.lists(st.tuples(*[st.sampled_from(sorted(COLUMNS))] * 2), min_size=1, max_size=4),
    seed=st.integers(0, 2**31),
)
def test_a_fitted_state_fits_a_module_for_any_other_table_of_as_many_columns(kinds, seed):
    first, second = (table_of(names, n, seed + n) for names, n in zip(zip(*kinds, strict=True), (40, 7), strict=True))
    fitted, other = (PiecewiseLinear(len(kinds), BINS, DIM) for _ in range(2))
    randomised(fitted, seed).fit(first)
    other.fit(second)
    other.load_state_dict(fitted.state_dict())
    rows = torch.from_numpy(np.concatenate([first, second]))
    torch.testing.assert_close(other(rows), fitted(rows), rtol=0, atol=0)


def test_bins_lie_at_quantiles_of_the_rows_of_fit():
    numbers = np.random.default_rng(0).exponential(size=(500, 1)).astype(np.float32)
    module = PiecewiseLinear(1, 10, 1)
    module.fit(numbers)
    with torch.no_grad():
        for parameter in module.embeddings.linear0.parameters():
            parameter.zero_()
        module.embeddings.linear.weight.fill_(1.0)
    # the sum of the encoding is how many tenths of the rows lie below
    deciles = np.quantile(numbers, np.linspace(0, 1, 11)).astype(np.float32)
    found = module(torch.from_numpy(deciles[:, None])).detach().numpy().ravel()
    np.testing.assert_allclose(found, np.arange(11), atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 6), p=st.integers(1, 4), frequencies=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_pbld_is_its_formula(n, p, frequencies, seed):
    module = randomised(PBLD(p, frequencies, DIM, 0.5), seed)
    numbers = np.random.default_rng(seed).normal(size=(n, p))
    w, b, linear, offset = (
        getattr(module, name).detach().double().numpy() for name in ("weight", "bias", "linear", "offset")
    )
    expected = np.empty((n, p, DIM))
    for row in range(n):
        for column in range(p):
            waves = np.cos(2 * np.pi * (w[column] * numbers[row, column] + b[column]))
            expected[row, column] = waves @ linear[column] + offset[column]
    found = module(torch.from_numpy(numbers.astype(np.float32))).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_scale_is_the_deviation_of_the_first_frequencies():
    torch.manual_seed(0)
    for scale in (0.1, 2.0):
        assert float(PBLD(50, 100, 2, scale).weight.detach().std()) == pytest.approx(scale, rel=0.05)


def test_plr_is_its_formula():
    module = randomised(NumberEmbeddings("plr", 2, dim=DIM, n_bins=2, frequencies=4, scale=0.5), 0)
    numbers = np.random.default_rng(0).normal(size=(5, 2))
    state = {name: part.double().numpy() for name, part in module.embeddings.state_dict().items()}
    angles = 2 * np.pi * state["periodic.weight"] * numbers[..., None]
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    embedded = np.maximum(np.einsum("npf,pfd->npd", waves, state["linear.weight"]) + state["linear.bias"], 0)
    found = module(torch.from_numpy(numbers.astype(np.float32))).detach().numpy()
    np.testing.assert_allclose(found, np.concatenate([numbers, embedded.reshape(5, -1)], axis=1), atol=1e-4)


@pytest.mark.parametrize("kind", ["none", "piecewise_linear", "pbld", "plr"])
@pytest.mark.parametrize("columns", [0, 1, 3])
def test_numbers_stand_before_their_embeddings(kind, columns):
    module = NumberEmbeddings(kind, columns, dim=DIM, n_bins=BINS, frequencies=4, scale=0.1)
    numbers = np.random.default_rng(0).normal(size=(20, columns)).astype(np.float32)
    module.fit(numbers)
    features = module(torch.from_numpy(numbers)).detach()
    assert features.shape == (20, module.output_dim)
    assert module.output_dim == columns * (1 if kind == "none" else 1 + DIM)
    np.testing.assert_array_equal(features[:, :columns], numbers)
    if kind != "none" and columns:
        # each column's embedding is of that column
        changed = torch.from_numpy(numbers).clone()
        changed[:, -1] += 1
        moved = (module(changed) != features).any(0)[columns:].view(columns, DIM).any(1)
        assert moved.tolist() == [False] * (columns - 1) + [True]


def batch_of(numbers, codes):
    return {"continuous": torch.as_tensor(numbers, dtype=torch.float32), "categorical": torch.as_tensor(codes)}


def test_categories_of_few_codes_are_one_hot_and_others_embedded():
    layer = input_layer(2, [(3, 2), (9, 5), (4, 2)], one_hot=4, dropout=0.0)
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(30, 2)).astype(np.float32)
    codes = np.stack([generator.integers(0, n, 30) for n in (3, 9, 4)], axis=1)
    features = layer(batch_of(numbers, codes)).detach()
    parts = torch.split(features, [2, 3, 5, 4], dim=1)
    np.testing.assert_array_equal(parts[0], numbers)
    np.testing.assert_array_equal(parts[1], np.eye(3)[codes[:, 0]])
    np.testing.assert_array_equal(parts[3], np.eye(4)[codes[:, 2]])
    # nine codes have vectors of their own, which are learned
    (learned,) = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    assert learned.shape == (9, 5)
    np.testing.assert_array_equal(parts[2], learned.detach()[codes[:, 1]])


def test_nothing_is_one_hot_by_default():
    layer = input_layer(0, [(2, 1), (3, 2)], one_hot=0, dropout=0.0)
    assert [parameter.shape for parameter in layer.parameters() if parameter.requires_grad] == [(2, 1), (3, 2)]


def test_one_hot_columns_stay_so_when_a_network_is_reset():
    # pytorch-tabular does it between the folds of cross_validate
    layer = input_layer(0, [(3, 2), (9, 5)], one_hot=4, dropout=0.0)
    before = [embedding.weight.detach().clone() for embedding in layer.cat_embedding_layers]
    for embedding in layer.cat_embedding_layers:
        embedding.reset_parameters()
    first, second = (embedding.weight.detach() for embedding in layer.cat_embedding_layers)
    torch.testing.assert_close(first, torch.eye(3))
    assert not torch.equal(second, before[1])


@pytest.mark.parametrize(("n_numbers", "categories"), [(3, []), (0, [(4, 2), (3, 2)]), (0, [(2, 1)])])
def test_tables_without_numbers_or_without_categories(n_numbers, categories):
    layer = input_layer(n_numbers, categories, one_hot=3, dropout=0.0)
    features = layer(batch_of(torch.ones(5, n_numbers), torch.zeros(5, len(categories), dtype=torch.long)))
    widths = [codes if codes <= 3 else width for codes, width in categories]
    assert features.shape == (5, n_numbers + sum(widths))


def test_dropout_of_inputs_is_that_of_training():
    layer = input_layer(4, [(9, 5)], one_hot=0, dropout=0.5)
    batch = batch_of(torch.ones(50, 4), torch.zeros(50, 1, dtype=torch.long))
    assert isinstance(layer.embd_dropout, nn.Dropout)
    assert (layer.train()(batch) == 0).any()
    assert not (layer.eval()(batch) == 0).any()
