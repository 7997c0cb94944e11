"""study.html: one self-contained page with Optuna's own figures of each study."""

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
from bridges_tabular.experiments.studies.parameter import Parameter
from bridges_tabular.experiments.studies.queue import why_failed
from bridges_tabular.experiments.studies.search import Search
from bridges_tabular.experiments.studies.table import state_name

# of the parameters that have a slice, the first
_FIRST = ("n_bins", "smoothing", "placement")


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
    default = next((trial for trial in complete if trial.user_attrs.get("default")), None)
    drawn = []
    for title, draw in _plots(search, study, metrics):
        try:
            figure = draw()
        except (ValueError, RuntimeError):
            # too few trials for this one
            continue
        figure.update_layout(template=None, title=None)
        figures.append(json.loads(figure.to_json()))
        drawn.append({"title": title, "number": len(figures) - 1})
    return {
        "model": search.model,
        "counts": dict(Counter(state_name(trial) for trial in trials)),
        "best": [
            {
                "metric": metric,
                "number": trial.number,
                "value": _short(trial.values[i]),
                "default": trial is default,
                "before": _short(default.values[i]) if default else "",
            }
            for i, (metric, trial) in enumerate(zip(metrics, best, strict=False))
        ],
        "parameters": [_parameter_row(parameter, search, best) for parameter in search.space.parameters],
        "figures": drawn,
        "errors": [(trial.number, error) for trial in trials if (error := why_failed(trial)) is not None],
    }


def _plots(search: Search, study: optuna.Study, metrics: Sequence[str]) -> list[tuple[str, Callable[[], Any]]]:
    """Name the plots, and how to draw each."""
    names = [parameter.name for parameter in search.space.parameters]
    ordered = [name for name in _FIRST if name in names] + [name for name in names if name not in _FIRST]
    plots: list[tuple[str, Callable[[], Any]]] = []
    if len(metrics) in (2, 3):
        plots.append(("Pareto front", partial(visualization.plot_pareto_front, study, target_names=list(metrics))))
    for i, metric in enumerate(metrics):
        options: dict[str, Any] = {"target": _target(i) if len(metrics) > 1 else None, "target_name": metric}
        suffix = f" by {metric}" if len(metrics) > 1 else ""
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        plots += [
            (f"History{suffix}", partial(visualization.plot_optimization_history, study, **options)),
            (
                f"Importance of the parameters{suffix}",
                partial(visualization.plot_param_importances, study, evaluator=evaluator, **options),
            ),
        ]
        plots += [
            (f"{name}{suffix}", partial(visualization.plot_slice, study, params=[name], **options)) for name in ordered
        ]
    return plots


def _target(i: int) -> Callable[[FrozenTrial], float]:
    return lambda trial: float(trial.values[i])


def _parameter_row(parameter: Parameter, search: Search, best: Sequence[FrozenTrial]) -> dict[str, Any]:
    arguments = parameter.arguments
    if parameter.kind == "categorical":
        searched = ", ".join(map(str, arguments["choices"]))
    else:
        searched = f"{_short(arguments['low'])} to {_short(arguments['high'])}" + (
            ", log" if arguments.get("log") else ""
        )
    default = search.space.defaults.get(parameter.name)
    return {
        "name": parameter.name,
        "default": _short(default),
        "best": [_short(trial.params.get(parameter.name, default)) for trial in best],
        "searched": searched,
    }


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
