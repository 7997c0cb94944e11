"""study.html: one self-contained page, what was found first, then Optuna's own figures of each study."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import optuna
from optuna import visualization
from optuna.trial import FrozenTrial, TrialState

from bridges_tabular.experiments.config import Experiment
from bridges_tabular.experiments.pages import environment, plotly_script
from bridges_tabular.experiments.sections.drawing import SHADES, percent_text
from bridges_tabular.experiments.studies.parameter import Parameter
from bridges_tabular.experiments.studies.queue import why_failed
from bridges_tabular.experiments.studies.search import Search
from bridges_tabular.experiments.studies.table import state_name

# of the parameters that have a slice, the first
_FIRST = ("n_bins", "smoothing", "placement")
# with fewer complete trials for each parameter, plots of single parameters show the others as well
_ENOUGH_TRIALS = 3
_STAR = {"symbol": "star", "size": 15, "color": "#d5622b"}


def render_study(experiment: Experiment, studies: Mapping[str, optuna.Study], searches: Sequence[Search]) -> str:
    """Return the page of all studies as HTML.

    Parameters
    ----------
    experiment : Experiment
    studies : dict of optuna.Study
        By the names of the models.
    searches : sequence of Search
    """
    figures: list[dict[str, Any]] = []
    shown = [_show(search, studies[search.model], figures) for search in searches]
    block = searches[0].block
    return (
        environment()
        .get_template("study.html.jinja")
        .render(
            name=experiment.name,
            target=experiment.table.target,
            source=experiment.table.source,
            metrics=block.metrics,
            folds=block.folds,
            searches=shown,
            figures=figures,
            plotly=plotly_script(),
        )
    )


def _show(search: Search, study: optuna.Study, figures: list[dict[str, Any]]) -> dict[str, Any]:
    trials = [trial for trial in study.trials if trial.state != TrialState.WAITING]
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    metrics = search.block.metrics
    best = [min(complete, key=lambda trial: trial.values[i]) for i in range(len(metrics)) if complete]
    first = next((trial for trial in complete if trial.user_attrs.get("default")), None)
    default = first if search.departure is None else None
    drawn = []
    for title, draw, starred in _plots(search, study, metrics, best):
        try:
            figure = draw()
        except (ValueError, RuntimeError):
            # too few trials for this one
            continue
        figures.append(_dressed(figure, starred))
        drawn.append({"title": title, "number": len(figures) - 1})
    # a trial that is best by several metrics, or is the default itself, has one column
    columns = {trial.number: trial for trial in best if trial is not default}
    parameters = search.space.parameters
    return {
        "model": search.model,
        "counts": dict(Counter(state_name(trial) for trial in trials)),
        "best": [
            _finding(metric, i, trial, default) for i, (metric, trial) in enumerate(zip(metrics, best, strict=False))
        ],
        "n_complete": len(complete),
        "departure": search.departure,
        "few": 0 < len(complete) < _ENOUGH_TRIALS * len(parameters),
        "default": None if default is None else default.number,
        "default_is_best": default is not None and default in best,
        "columns": list(columns),
        "parameters": [_parameter_row(parameter, search, list(columns.values())) for parameter in parameters],
        "figures": drawn,
        "errors": [(trial.number, error) for trial in trials if (error := why_failed(trial)) is not None],
    }


def _finding(metric: str, i: int, best: FrozenTrial, default: FrozenTrial | None) -> dict[str, Any]:
    value, before = best.values[i], None if default is None else default.values[i]
    return {
        "metric": metric,
        "number": best.number,
        "value": _short(value),
        "is_default": best is default,
        "before": "" if before is None else _short(before),
        "change": percent_text(100 * (value / before - 1)) if before is not None and before > 0 else "",
    }


# how a figure is drawn, and the trial that it marks with its value
Drawing = Callable[[], Any]
Star = tuple[FrozenTrial, float, Any] | None


def _plots(
    search: Search, study: optuna.Study, metrics: Sequence[str], best: Sequence[FrozenTrial]
) -> list[tuple[str, Drawing, Star]]:
    """Name the plots, how to draw each, and where its star is."""
    parameters = {parameter.name: parameter for parameter in search.space.parameters}
    ordered = [name for name in _FIRST if name in parameters] + [name for name in parameters if name not in _FIRST]
    plots: list[tuple[str, Drawing, Star]] = []
    if len(metrics) in (2, 3):
        plots.append(
            ("Pareto front", partial(visualization.plot_pareto_front, study, target_names=list(metrics)), None)
        )
    for i, (metric, trial) in enumerate(zip(metrics, best, strict=False)):
        options: dict[str, Any] = {"target": _target(i) if len(metrics) > 1 else None, "target_name": metric}
        suffix = f" by {metric}" if len(metrics) > 1 else ""
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        value = trial.values[i]
        plots += [
            (
                f"History{suffix}",
                partial(visualization.plot_optimization_history, study, **options),
                (trial, value, trial.number),
            ),
            (
                f"Importance of the parameters{suffix}",
                partial(visualization.plot_param_importances, study, evaluator=evaluator, **options),
                None,
            ),
        ]
        plots += [
            (
                f"{name}{suffix}",
                partial(visualization.plot_slice, study, params=[name], **options),
                (trial, value, _place(parameters[name], trial.params[name])) if name in trial.params else None,
            )
            for name in ordered
        ]
    return plots


def _target(i: int) -> Callable[[FrozenTrial], float]:
    return lambda trial: float(trial.values[i])


def _place(parameter: Parameter, value: Any) -> Any:
    """Where a value stands on the axis of Optuna's slice."""
    return repr(value) if parameter.kind == "categorical" else value


def _dressed(figure: Any, star: Star) -> dict[str, Any]:
    """A figure of Optuna's in the page's manner: early trials are seen as well as late ones, the best has a star."""
    figure.update_layout(template=None, title=None, legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    plain: dict[str, Any] = json.loads(figure.to_json())
    for trace in plain["data"]:
        if trace["type"] == "bar":
            plain["layout"]["yaxis"]["title"] = None
        elif trace.get("mode") == "markers":
            marker = trace.setdefault("marker", {})
            marker["size"] = 8
            if "colorscale" in marker:
                title = marker.get("colorbar", {}).get("title")
                bar = {"title": title, "thickness": 10, "nticks": 6, "tickformat": "d"}
                marker |= {"colorscale": _scale(), "colorbar": bar}
    colored = [trace for trace in plain["data"] if "colorscale" in trace.get("marker", {})]
    for trace in colored[1:]:
        # of a Pareto front: those on it
        trace["marker"] = _STAR
    if star is not None:
        trial, value, at = star
        plain["data"].append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [at],
                "y": [value],
                "marker": _STAR,
                "name": f"trial {trial.number}, the best",
                "showlegend": False,
                "hovertemplate": "%{x}: %{y}<extra>%{fullData.name}</extra>",
            }
        )
    _name_choices(plain["layout"].get("xaxis", {}), plain["layout"])
    return plain


def _scale() -> list[list[Any]]:
    """Colours from early to late that stand out on white and on black."""
    last = len(SHADES) - 1
    return [[i / last, "rgb({}, {}, {})".format(*shade)] for i, shade in enumerate(SHADES)]


def _name_choices(axis: dict[str, Any], layout: dict[str, Any]) -> None:
    """Write the choices of a parameter as a reader would, without Python's quotes."""
    choices = axis.get("categoryarray")
    if choices:
        names = ["default" if choice == "None" else choice.strip("'") for choice in choices]
        layout["xaxis"] = axis | {"tickvals": choices, "ticktext": names}


def _parameter_row(parameter: Parameter, search: Search, best: Sequence[FrozenTrial]) -> dict[str, Any]:
    arguments = parameter.arguments
    if parameter.kind == "categorical":
        searched = ", ".join("default" if choice is None else str(choice) for choice in arguments["choices"])
    else:
        searched = f"{_short(arguments['low'])} to {_short(arguments['high'])}" + (
            ", log" if arguments.get("log") else ""
        )
    default = search.space.defaults.get(parameter.name)
    values = [trial.params.get(parameter.name, default) for trial in best]
    return {
        "name": parameter.name,
        "default": _in_words(default, parameter),
        "best": [{"text": _in_words(value, parameter), "differs": value != default} for value in values],
        "searched": searched,
    }


def _in_words(value: Any, parameter: Parameter) -> str:
    """A value as the regressor takes it: what None means, where the space says so."""
    if value is None:
        return "default" if parameter.null is None else str(parameter.null)
    return _short(value)


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
