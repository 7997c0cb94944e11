"""Every model of an experiment on the same rows, and the folder of files that comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bridges_tabular.experiments import folders
from bridges_tabular.experiments.blocks import ExperimentError
from bridges_tabular.experiments.config import Experiment, as_experiment
from bridges_tabular.experiments.console import working
from bridges_tabular.experiments.job import Job
from bridges_tabular.experiments.locks import claimed
from bridges_tabular.experiments.parts import Failure, Part
from bridges_tabular.experiments.results import summarize
from bridges_tabular.experiments.run import CURVES, ERRORS, PREDICTIONS, RESULTS, File, write_json
from bridges_tabular.experiments.sections import COLLECTING
from bridges_tabular.experiments.sections.base import FirstSplit
from bridges_tabular.experiments.sections.distributions import Distributions
from bridges_tabular.experiments.sections.features import Features
from bridges_tabular.experiments.sections.learned import Learned
from bridges_tabular.experiments.unfinished import Plan, Unfinished


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes
    ----------
    experiment : Experiment
    results : DataFrame
        One row for each table, model and seed, with the columns of results.csv; NaN where a model of points has no
        distribution to score, and everywhere where the fit has failed.
    predictions : DataFrame
        One row for each table, model, seed and test row: the prediction, its quantiles, the CRPS and the
        probability integral transform.
    curves : DataFrame
        The validation score after each epoch or round of every fit.
    collected : dict of File to DataFrame or list of dict
        What the sections of the report made of the models of each table's first split.
    facts : dict
        Sizes of the tables and of the parts of the split, versions of the libraries.
    errors : DataFrame
        One row for each fit that has failed: table, model, seed, error and traceback.
    """

    experiment: Experiment
    results: pd.DataFrame
    predictions: pd.DataFrame
    curves: pd.DataFrame
    collected: dict[File, Any]
    facts: dict[str, Any]
    errors: pd.DataFrame = field(default_factory=lambda: ERRORS.join([]))

    @property
    def importances(self) -> pd.DataFrame:
        """Permutation importances of the features on test rows."""
        importances: pd.DataFrame = self.collected[Features.file]
        return importances

    @property
    def encoders(self) -> list[dict[str, Any]]:
        """Classes, decoder and encoder of the models over bins."""
        encoders: list[dict[str, Any]] = self.collected[Learned.file]
        return encoders

    @property
    def examples(self) -> list[dict[str, Any]]:
        """Predictive distributions of a few test rows."""
        examples: list[dict[str, Any]] = self.collected[Distributions.file]
        return examples

    @property
    def incomparable(self) -> dict[str, dict[str, str]]:
        """By table, the scores in which its models cannot be compared, and why."""
        return {table["name"]: table["incomparable"] for table in self.facts["tables"]}

    def summary(self) -> pd.DataFrame:
        """Return the scores of each model, means over the seeds; tables in their order, sorted by RMSE."""
        return summarize(self.results)

    def save(self, directory: str | Path, overwrite: bool = False) -> None:
        """Write the files of the run: config.yaml, results.csv, report.html and those that it is made of.

        Raises
        ------
        ExperimentError
            If the folder holds something else, or another run and ``overwrite`` is not set.
        """
        self._write(directory, overwrite, {})

    def _write(self, out: str | Path, overwrite: bool, header: dict[str, Any], kept: str | None = None) -> None:
        from bridges_tabular.experiments.reporting import render_report

        contents = {RESULTS: self.results, PREDICTIONS: self.predictions, CURVES: self.curves, **self.collected}
        contents[ERRORS] = self.errors
        with folders.new_folder(out, overwrite, {"class": type(self).__name__} | header, kept) as folder:
            (folder / folders.CONFIG_FILE).write_text(self.experiment.to_yaml(), encoding="utf-8")
            for file, content in contents.items():
                file.write(folder, content)
            write_json(folder / folders.FACTS_FILE, self.facts)
            (folder / folders.REPORT_FILE).write_text(render_report(folder), encoding="utf-8")


def compare(
    experiment: Experiment | Mapping[str, Any] | str | Path | pd.DataFrame,
    *,
    target: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **blocks: Any,
) -> Comparison:
    """Fit every model of an experiment on the same training rows and score it on the same test rows.

    A model that cannot be fitted is one row of ``errors``, with a warning; the others are fitted all the same.

    Parameters
    ----------
    experiment : Experiment, path of an experiment file, name of a bundled one, mapping with its content, or DataFrame
        Of a DataFrame (pandas, polars, pyarrow, ...), the models of the bundled ``diamonds`` are compared, unless
        ``blocks`` say otherwise; in a mapping, ``table["source"]`` may be one.
    target : str, optional
        The column of a DataFrame to predict.
    out : path, optional
        Folder for the files of the run. Each fit is kept there as soon as it is done: after an interruption, or where
        a fit has failed, the same call goes on with what is missing.
    overwrite : bool
        Replace another run in ``out``, or one that is not finished and has another configuration.
    quiet : bool
        No progress bars.
    **blocks : mapping
        Values to change in the file: ``table={"rows": 2000}``.

    Raises
    ------
    ExperimentError
        Before anything is fitted, if the experiment cannot be run, or ``out`` not be written.

    Examples
    --------
    >>> from bridges_tabular.experiments import compare
    >>> comparison = compare("diamonds", table={"rows": 2000}, out="runs/diamonds")  # doctest: +SKIP
    >>> comparison.summary()  # doctest: +SKIP
    >>> compare(frame, target="price", out="runs/mine")  # doctest: +SKIP
    """
    experiment = as_experiment(experiment, target, blocks, "diamonds")
    if out is not None:
        # before a large table is read, and again below
        folders.check_writable(Path(out))
        if not (Path(out) / folders.UNFINISHED).exists():
            folders.check_folder(out, overwrite)
    job = Job.prepare(experiment)
    if out is None:
        job.print_look(quiet)
        return _put_together(job, job.run(quiet))
    with claimed(out):
        unfinished, plan, is_same = _go_on(out, job.plan, overwrite)
        if not unfinished.count():
            job.print_look(quiet)
        try:
            comparison = _put_together(job, job.run(quiet, unfinished))
            header = {"plan": plan.id, "failed": len(comparison.errors)}
            with working("writing the report", quiet):
                comparison._write(out, overwrite or is_same, header, folders.UNFINISHED)
        except BaseException:
            if not (unfinished.count() or is_same):
                unfinished.discard()
            raise
        if comparison.errors.empty:
            unfinished.discard()
    return comparison


@contextmanager
def comparing(experiment: Experiment, out: Path | None, quiet: bool) -> Iterator[Comparison]:
    """Compare as a part of something else, which writes the results to ``out`` in the block.

    Fits are kept there until the end of the block. Those of another configuration are forgotten.
    """
    job = Job.prepare(experiment)
    if out is None:
        yield _put_together(job, job.run(quiet))
        return
    unfinished, plan = Unfinished(out), job.plan
    if unfinished.plan is None or unfinished.plan.changes(plan):
        unfinished.discard()
        unfinished.begin(plan)
    comparison = _put_together(job, job.run(quiet, unfinished))
    yield comparison
    if comparison.errors.empty:
        unfinished.discard()


def _go_on(out: str | Path, plan: Plan, overwrite: bool) -> tuple[Unfinished, Plan, bool]:
    """Find the fits that are kept in ``out``, or begin to keep some.

    Returns
    -------
    Unfinished, its plan, and whether the run that ``out`` holds is the same one, with failures

    Raises
    ------
    ExperimentError
        If ``out`` holds anything else that may not be replaced.
    """
    finished = folders.read_manifest(out, folders.UNFINISHED)
    unfinished = Unfinished(out)
    before = unfinished.plan
    is_same = finished is not None and before is not None and finished.get("plan") == before.id
    if is_same and finished is not None and not finished["failed"]:
        # it was about to be tidied up
        unfinished.discard()
        before, is_same = None, False
    if not is_same:
        folders.check_folder(out, overwrite, folders.UNFINISHED)
    changes = [] if before is None else before.changes(plan)
    if changes and not overwrite:
        raise ExperimentError(
            f"{out} holds an unfinished run of another configuration ({', '.join(changes)}): choose another folder with"
            " --out, or begin anew with --overwrite"
        )
    if before is not None and not changes:
        return unfinished, before, is_same
    unfinished.discard()
    unfinished.begin(plan)
    return unfinished, plan, is_same


def _put_together(job: Job, found: Sequence[Part | Failure]) -> Comparison:
    done = [(fit, part) for fit, part in zip(job.fits, found, strict=True) if isinstance(part, Part)]
    parts = [part for _, part in done]
    firsts = [
        FirstSplit(table, splits[0], {fit.name: part for fit, part in done if fit.table is table and fit.is_first})
        for table, splits in zip(job.tables, job.splits, strict=True)
    ]
    return Comparison(
        experiment=job.experiment,
        results=RESULTS.join([one.results for one in found]),
        predictions=PREDICTIONS.join([part.predictions for part in parts]),
        curves=CURVES.join([part.curve for part in parts]),
        collected={file: file.join([section.join(one) for one in firsts]) for file, section in COLLECTING.items()},
        facts=job.facts,
        errors=ERRORS.join([pd.DataFrame([one.row()]) for one in found if isinstance(one, Failure)]),
    )
