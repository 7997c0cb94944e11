"""Numbers of README.md and docs/benchmarks.md are those that benchmarks print, and none stands there unchecked."""

from __future__ import annotations

import functools
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "docs" / "benchmarks.md"]
TEXT = " ".join(" ".join(page.read_text(encoding="utf-8") for page in PAGES).split())
# the sections that quote benchmarks
TITLES = (
    "Which engine when",
    "Beside what people would pick instead",
    "Where nothing was chosen",
    "What each choice in the network is worth",
    "What column sampling is worth in trees",
    "Which scheme when",
    "What bins do for XGBoost",
)
QUOTING = [re.search(rf"## {title} .*?(?= ## |$)", TEXT) for title in TITLES]
NUMBER = r"-?\d[\d,]*(?:\.\d+)?"
# a line of a report: patterns, each searched for behind the one before, of which the last stands before its numbers
Line = Sequence[str]


class Claim(NamedTuple):
    """Numbers in README.md, each # in its text, and those of a report: the n-th of a line."""

    command: str
    text: str
    numbers: Sequence[tuple[Line, int]]
    convert: Callable[[float], float] = float

    def quote(self) -> re.Match[str]:
        found = re.search(re.escape(self.text).replace(r"\#", rf"({NUMBER})"), TEXT)
        assert found is not None, f"the pages have no {self.text!r}"
        return found


def row(*line: str, places: Sequence[int] = (0,)) -> list[tuple[Line, int]]:
    return [(line, place) for place in places]


def networks() -> list[Claim]:
    report = "accuracy.py --report"
    columns = ("end_to_end", "hard", "least_squares", "mdn", "pretrained", "residuals", "soft", "softmax_least_squares")
    cover, time, all_tables = "90 % intervals cover", "Time to fit", ("^  end_to_end$", "all")

    def of_table(table: str, model: str, *before: str) -> tuple[Line, int]:
        # its rows and its training rows come first
        return (*before, "Test RMSE", f"^{table} "), 2 + columns.index(model)

    claims = []
    for name, model, worst in (
        ("`end_to_end`", "end_to_end", "cpu_act"),
        ("`soft`", "soft", "parkinsons"),
        ("`pretrained`", "pretrained", "parkinsons"),
        ("`hard`", "hard", "naval"),
        ("`softmax_least_squares`", "softmax_least_squares", "ames"),
        ("pytorch-tabular's mixture of five Gaussians", "mdn", "pol"),
    ):
        numbers = [*row("Test RMSE", f"^  {model}$", "all", places=range(4)), of_table(worst, model)]
        numbers += row("Test CRPS", f"^  {model}$", "all", places=range(2))
        numbers += row(cover, f"^{model} ") + row(time, f"^{model} ")
        claims.append(Claim(report, f"| {name} | # ± # | # of # | # ({worst}) | # ± # | # | # |", numbers))
        # and none is worse
        worst_of_all = row("Test RMSE", f"^  {model}$", "all", places=[4])
        claims.append(Claim(report, f"# ({worst}) | {claims[-1].quote()[6]}", worst_of_all))
    numbers = row("Test CRPS", "^  residuals$", "all", places=range(2))
    numbers += row(cover, "^residuals ") + row(time, "^residuals ")
    gains = ("kin40k", "sml", "parkinsons", "yacht", "naval", "cpu_act", "energy")
    return [
        *claims,
        Claim(report, "`least_squares` with its local residuals | 1 | | | # ± # | # | # |", numbers),
        Claim(
            report,
            "gains on kin40k (#), sml and pol (#), parkinsons (#), yacht (#) and naval (#),"
            " loses on cpu_act (#) and energy (#)",
            [of_table(table, "end_to_end") for table in gains],
        ),
        Claim(report, "sml and pol (#)", [of_table("pol", "end_to_end")]),
        Claim(
            report,
            "on the other 13 the ratio of RMSE is # ± #",
            row("^  end_to_end$", "not chosen on", places=range(2)),
        ),
        Claim(
            report,
            "the ratio of RMSE is # ± # and `end_to_end` is better on # of the # tables",
            row("^CategoryEmbeddingModelConfig:ReLU, up to", *all_tables, places=range(4)),
        ),
        Claim(
            report,
            "GELU lowers its RMSE by # %, and that of `end_to_end` by # %",
            row("that with ReLU", "^least_squares ") + row("that with ReLU", "^end_to_end "),
            lambda ratio: 100 * (1 - ratio),
        ),
        Claim(
            report,
            "`end_to_end` has # ± # of the RMSE of least squares with a small FTTransformer",
            row("^FTTransformerConfig, up to", *all_tables, places=range(2)),
        ),
        Claim(
            report,
            "and # ± # with a small GANDALF, # on yacht",
            [
                *row("^GANDALFConfig, up to", *all_tables, places=range(2)),
                of_table("yacht", "end_to_end", "^GANDALFConfig, up to"),
            ],
        ),
    ]


# how README.md and docs/benchmarks.md call a model, its name in the report, and that of its distribution
PEERS = [
    ("`TabularBridgeRegressor()`", "bridge_network", ""),
    ('its `preset="fast"`', "bridge_network_fast", ""),
    ("`XGBBridgeRegressor()`", "bridge_xgboost", ""),
    ("its `location=CatBoostRegressor()`", "bridge_catboost", ""),
    ("`PooledBridgeRegressor`: the network, and trees on CatBoost", "bridge_pool", ""),
    ("CatBoost and RealMLP-TD, their mean", "catboost_and_realmlp_td", " + residuals"),
    ("CatBoost", "catboost", " + residuals"),
    ("CatBoost, RMSEWithUncertainty", "catboost_uncertainty", ""),
    ("LightGBM", "lightgbm", " + residuals"),
    ("RealMLP-TD", "realmlp_td", " + residuals"),
    ("RealMLP-TD-S", "realmlp_td_s", " + residuals"),
    ("NGBoost", "ngboost", ""),
    ("the network without factors of its inputs", "bridge_network_plain", ""),
    ("likewise, over bins alone", "bridge_network_bins", ""),
    ("likewise, by least squares alone", "bridge_network_least_squares", ""),
    ("one network over bins", "bridge_single", ""),
    ("one network by least squares", "bridge_single_least_squares", ""),
    ("XGB-TD", "xgb_td", " + residuals"),
    ("LGBM-TD", "lgbm_td", " + residuals"),
    ("CatBoost-TD", "catboost_td", " + residuals"),
]


def peers() -> list[Claim]:
    report, claims = "peers.py --report", []
    for name, model, more in PEERS:
        distribution = re.escape(model + more)
        rmse, crps = ("^RMSE$", rf"^  {model} "), ("^CRPS$", rf"^  {distribution} ")
        hold, time = ("^90 % intervals hold", rf"^  {distribution} "), ("^processor time", rf"^  {model} ")
        numbers = row(*rmse, places=range(6)) + row(*crps) + row(*hold) + row(*time)
        worst = re.search(rf"\| {re.escape(name)} \| [^|]*\|[^|]*\|[^|]*\| [\d.]+ \((\w+)\)", TEXT)
        assert worst is not None, name
        claims.append(Claim(report, f"| {name} | # ± # | # | # of # | # ({worst[1]}) | # | # | # |", numbers))
        if f"| {name} | " in QUOTING[0][0]:  # type: ignore[index]
            claims.append(Claim(report, f"| {name} | # | # | # |", row(*rmse) + row(*crps) + row(*time)))
    numbers = row("^CRPS$", r"^  xgboost \+ residuals ") + row("^90 % intervals hold", r"^  xgboost \+ residuals ")
    claims.append(Claim(report, "| XGBRegressor | 1 | 1 | | | # | # | 1 |", numbers))
    claims.append(Claim(report, "| XGBRegressor | 1 | # | 1 |", numbers[:1]))
    better = row("^RMSE of bridge_pool ") + row("^CRPS of bridge_pool ")
    claims.append(Claim(report, "each of its two members on # tables and a lower CRPS on #", better))
    return claims


def untouched() -> list[Claim]:
    tables = "boston energy wine ames kin8nm power pol bike_hour kin40k protein diamonds"
    report, claims = f"peers.py --report --splits 0 1 --tables {tables}", []
    for name, model, more in PEERS[:12]:
        distribution = re.escape(model + more)
        rmse, crps = ("^RMSE$", rf"^  {model} "), ("^CRPS$", rf"^  {distribution} ")
        numbers = row(*rmse, places=(0, 1, 3, 4)) + row(*crps) + row("^90 % intervals hold", rf"^  {distribution} ")
        claims.append(Claim(report, f"| {name} | # ± # | # of # | # | # |", numbers))
    numbers = row("^CRPS$", r"^  xgboost \+ residuals ") + row("^90 % intervals hold", r"^  xgboost \+ residuals ")
    claims.append(Claim(report, "| XGBRegressor | 1 | | # | # |", numbers))
    better = row("^RMSE of bridge_pool ", places=range(2)) + row("^CRPS of bridge_pool ", places=range(2))
    claims.append(Claim(report, "each of its members on # of # tables and a lower CRPS on # of #", better))
    models = ("bridge_xgboost", "bridge_catboost", "bridge_network", "bridge_pool")
    second = [number for model in models for number in row("^RMSE$", f"^  {model} ")]
    text = "has # of the RMSE of XGBRegressor, with CatBoost as location #, the network # and the pool #"
    alone = "peers.py --report --splits 1"
    fewer = "a lower CRPS than each of its members on # of # tables"
    return [*claims, Claim(alone, text, second), Claim(alone, fewer, row("^CRPS of bridge_pool ", places=range(2)))]


def choices() -> list[Claim]:
    networks = (
        "no members, as before",
        "no factors of inputs",
        "no factors, 6 members, 6,000 steps",
        "no factors, learning rate 4e-3, 5,000 steps",
        "no factors, learning rate 3e-3",
        "no factors, learning rate 3e-3, 8,000 steps",
        "no factors, learning rate 3e-3, 4 members, 2,000 steps",
        "no factors, learning rate 3e-3, 2,000 steps, twice the batch",
        "no factors, learning rate 3e-3, piecewise-linear embeddings alone",
    )
    trees = (
        "0.8 of the columns at a node",
        "0.5 of the columns",
        "0.35 of the columns",
        "two trees a round",
        "two trees, 0.85 of the columns",
        "two trees, 0.7 of the columns",
        "two trees, 0.5 of the columns",
        "two trees, 0.5 of the columns, learning rate 0.15",
    )
    return [
        Claim(
            f"{benchmark}.py --report",
            f"| {name} | # ± # | # | # | # | # |",
            [((rf"^  {re.escape(name)}  ",), place) for place in (0, 1, 2, 3, 4, 6)],
        )
        for benchmark, variants in (("members", networks), ("trees", trees))
        for name in variants
    ]


def both_engines() -> list[Claim]:
    claims = []
    for scheme in ("least_squares", "hard", "soft", "pretrained", "end_to_end"):
        numbers: list[tuple[Line, int]] = []
        for engine in ("network", "xgboost"):
            line = f"{engine}_{scheme} "
            numbers += row(f"^rmse +{line}") + row(f"^crps +{line}")
            # the baseline is not compared with itself
            numbers += [] if scheme == "least_squares" else row(f"^rmse +{line}", places=[2])
            numbers += row(f"^fit_seconds +{line}")
        cells = "# | # | | #" if scheme == "least_squares" else "# | # | # of 6 | #"
        claims.append(Claim("schemes.py --report", f"| `{scheme}` | {cells} | {cells} |", numbers))
    return claims


def tuned() -> list[Claim]:
    # the columns of the report that the row of a table and an engine shows
    places = (10, 8, 7, 3, 2, 9, 4)
    return [
        Claim(
            "study.py worth --report",
            f"| {name}, {table} | # | # | # | # | # | # | # |",
            row(f"^{table} ", f"{engine} ", places=places),
        )
        for name, engine in (("network", "tabular"), ("XGBoost", "xgboost"))
        for table in ("concrete", "kin8nm", "california", "bike_hour", "cpu_act")
    ]


def boosting() -> list[Claim]:
    report, first = "boosting.py --report", "on the first split"

    def percent(ratio: float) -> float:
        return 100 * (ratio - 1)

    return [
        Claim(report, "its validation residuals | # | # | # |", row("^GM ", places=(0, 3, 12))),
        Claim(
            report,
            "subsample 0.8, likewise | # | # | |",
            row("^GM ", places=(1, 4)),
        ),
        Claim(report, "XGBRegressor of 19 quantiles | | # | |", row("^GM ", places=[2])),
        Claim(report, "quantile-forest on each table | | # | |", row("^GM ", places=[5])),
        Claim(report, "brings the RMSE to # of XGBRegressor's", row(first, "^  xgboost_subsample ")),
        Claim(
            report,
            "an average of five models, to #, and the bins on what it leaves to #",
            row(first, "^  location_alone ") + row(first, "^  bridge "),
        ),
        Claim(
            report,
            "bring it to #, but not on every table (# on energy",
            row(first, "^  bridge_target ", places=range(2)),
        ),
        Claim(report, "calibration adds # % to the bins", row(first, "^  uncalibrated ", places=[3]), percent),
        Claim(report, "scores # % worse than the default", row(first, "^  local_residuals ", places=[3]), percent),
        Claim(report, "(`soft`, RMSE # of it)", row(first, "^  soft ", places=[2])),
    ]


CLAIMS = [*peers(), *untouched(), *choices(), *networks(), *both_engines(), *tuned(), *boosting()]
# numbers of those sections that no benchmark finds
GIVEN = [
    r"rate (0\.05)",
    r"a rate of (0\.05)",
    r"CRPS \| (90 %) hold",
    r"rate (0\.1), subsample (0\.8)",
    r"a rate of (0\.1) with",
    r"(0\.\d+) of the columns",
    r"of the columns, learning rate (0\.15)",
    # a gap that is named, and coverage that is asked for
    r"within (3 %) on the other 13",
    r"(90 %) intervals",
    # see the last test
    r"the first 11 to (15 of 20)",
]


@functools.cache
def report_of(command: str) -> str:
    name, *arguments = command.split()
    folder, before, printed = str(ROOT / "benchmarks"), (sys.argv, sys.path), StringIO()
    sys.argv, sys.path = [name, *arguments], [folder, *sys.path]
    try:
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), suppress(SystemExit):
            # the data are not part of the project
            patch.delenv("BRIDGES_TABULAR_DATA", raising=False)
            runpy.run_path(f"{folder}/{name}", run_name="__main__")
    finally:
        sys.argv, sys.path = before
    return printed.getvalue()


def numbers_of(report: str, line: Line) -> list[float]:
    at = 0
    for pattern in line:
        found = re.compile(pattern, re.MULTILINE).search(report, at)
        assert found is not None, f"the report has no {pattern!r} of {line}"
        at = found.end()
    rest = report[at:].partition("\n")[0]
    return [float(number) for number in re.findall(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w])", rest)]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text)
def test_a_quoted_number_is_that_of_the_report(claim: Claim) -> None:
    report = report_of(claim.command)
    found = [claim.convert(numbers_of(report, line)[place]) for line, place in claim.numbers]
    quoted = [number.replace(",", "") for number in claim.quote().groups()]
    for number, value in zip(quoted, found, strict=True):
        last_digit = 10.0 ** -len(number.partition(".")[2])
        # half of it, and what the report itself has rounded away
        assert float(number) == pytest.approx(value, abs=0.501 * last_digit), claim.text


def test_no_quoted_number_goes_unchecked() -> None:
    checked = [claim.quote().span(i + 1) for claim in CLAIMS for i in range(len(claim.numbers))]
    for given in GIVEN:
        checked += [found.span(i + 1) for found in re.finditer(given, TEXT) for i in range(len(found.groups()))]
    unchecked = []
    for section in QUOTING:
        assert section is not None
        for number in re.finditer(r"\d+\.\d+(?![\w.]*/)|\d+ %|\d+ of (?:the )?\d+", section[0]):
            start, end = (section.start() + place for place in number.span())
            if not any(first < end and start < last for first, last in checked):
                unchecked.append(section[0][max(number.start() - 60, 0) : number.end()])
    assert unchecked == []


def test_published_numbers_are_reached_where_it_is_said() -> None:
    said = re.search(
        r"networks are better or within a standard error .* on (\w+) of nine tables \(not on (\w+)\), XGBoost over bins"
        r" on (\w+) \(not on (\w+)\), either on all nine.*the first (\d+) to (\d+) of 20 with networks",
        TEXT,
    )
    assert said is not None
    missed, splits = {}, []
    for part in report_of("published.py --report").strip().split("\n\n"):
        engine, *lines = part.splitlines()
        # one table comes from another publication
        rows = [line.split() for line in lines[:-1] if not line.startswith("cpu_act")]
        assert len(rows) == 9
        missed[engine.split()[0]] = [row[0] for row in rows if row[-2:] != ["as", "good"]]
        if engine.startswith("network"):
            splits = [int(row[1]) for row in rows if row[0] != "protein"]
    assert missed == {"network": [said[2]], "xgboost": [said[4]], "either": []}
    assert said[1] == said[3] == "eight"
    assert (int(said[5]), int(said[6])) == (min(splits), max(splits))
