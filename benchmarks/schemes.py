"""Every scheme of both engines on a few small real tables, at its defaults, against least squares.

    python benchmarks/schemes.py --data-dir DIR --out RUN
    python benchmarks/schemes.py --report

The first compares the models of ``MODELS`` on ``TABLES`` with the same rows, splits and early stopping, writes the
folder of a comparison (its report has the critical-difference plot) and keeps the scores in
benchmarks/results/schemes.csv. Both print geometric means over the tables of each engine's scores and times, as ratios
to its own least squares.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pandas as pd
import yaml

from bridges_tabular.experiments import compare
from bridges_tabular.experiments.results import read_table
from bridges_tabular.experiments.sections.across import over_tables

RESULTS = Path(__file__).parent / "results" / "schemes.csv"
TABLES = ("airfoil", "concrete", "energy", "kin8nm", "power", "abalone")
SCHEMES = {
    "network": ("least_squares", "hard", "soft", "pretrained", "end_to_end"),
    "xgboost": ("least_squares", "hard", "soft", "pretrained", "end_to_end"),
}
ENGINES = {
    # one network, as in the paper
    "network": {"engine": "tabular", "backbone": "CategoryEmbeddingModelConfig"},
    "xgboost": {"engine": "xgboost"},
}
MODELS = {
    f"{name}_{scheme}": {**ENGINES[name], "scheme": scheme} for name, schemes in SCHEMES.items() for scheme in schemes
}


def main() -> None:
    """Run the comparison and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BRIDGES_TABULAR_DATA"))
    parser.add_argument("--rows", type=int, default=1500, help="at most so many rows of each table")
    parser.add_argument("--seeds", type=int, default=2, help="number of splits")
    parser.add_argument("--out", type=Path, help="folder of the comparison")
    parser.add_argument("--report", action="store_true", help="print what stands in the file, run nothing")
    options = parser.parse_args()
    if options.report:
        print_ratios(read_table(RESULTS))
        return
    if options.out is None:
        parser.error("--out has to name the folder of the comparison")
    if options.data_dir is None:
        parser.error("--data-dir or the variable BRIDGES_TABULAR_DATA has to name the folder of the tables")
    known = yaml.safe_load((Path(options.data_dir) / "datasets.yaml").read_text(encoding="utf-8"))
    experiment = {
        "tables": [
            {
                "source": str(Path(options.data_dir) / known[name]["file"]),
                "target": known[name]["target"],
                "rows": options.rows,
            }
            for name in TABLES
        ],
        "split": {"seeds": list(range(options.seeds))},
        "models": MODELS,
        "report": {"baseline": "xgboost_least_squares"},
    }
    comparison = compare(experiment)
    comparison.save(options.out, overwrite=True)
    RESULTS.parent.mkdir(exist_ok=True)
    comparison.results.to_csv(RESULTS, index=False)
    print_ratios(comparison.results)


def print_ratios(results: pd.DataFrame) -> None:
    """Print each engine's schemes as ratios to its own least squares."""
    for name in SCHEMES:
        baseline = f"{name}_least_squares"
        of_engine = results[results["model"].str.startswith(f"{name}_")]
        for score in ("rmse", "crps", "fit_seconds"):
            ranking = over_tables(of_engine, baseline, score)
            if ranking is None:
                continue
            for model in ranking.models:
                better, worse = ranking.record(model)
                ratio, rank = ranking.mean_ratio(model), ranking.ranks[model]
                print(f"{score:11s} {model:29s} ratio {ratio:.3f}  rank {rank:.2f}  better {better}, worse {worse}")


if __name__ == "__main__":
    main()
