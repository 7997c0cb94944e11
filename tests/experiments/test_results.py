from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bridges_tabular.experiments.results import RESULT_COLUMNS, read_table, results_frame, summarize


def test_columns_are_those_of_the_file_format() -> None:
    assert ",".join(RESULT_COLUMNS) == (
        "table,model,engine,scheme,seed,rmse,mae,r2,crps,log_score,coverage_90,width_90,calibration_error,"
        "fit_seconds,predict_seconds"
    )


def test_the_summary_is_the_mean_over_seeds_sorted_by_rmse() -> None:
    rows = [
        {"table": "t", "model": model, "engine": "e", "scheme": "s", "seed": seed, "rmse": rmse, "crps": crps}
        for model, seed, rmse, crps in [
            ("b", 0, 4.0, np.nan),
            ("a", 0, 1.0, 0.5),
            ("b", 1, 2.0, np.nan),
            ("a", 1, 2.0, 1.5),
        ]
    ]
    summary = summarize(results_frame(rows))
    assert summary["model"].tolist() == ["a", "b"]
    assert summary["rmse"].tolist() == [1.5, 3.0]
    assert summary["crps"].tolist()[0] == 1.0
    assert np.isnan(summary["crps"][1])


def test_names_that_look_like_values_stay_names(tmp_path: Path) -> None:
    rows = results_frame(
        {"table": "1", "model": name, "engine": "e", "scheme": "s", "seed": 0, "rmse": 1.0}
        for name in ("NA", "1.0", "null", 'a,"b"\nc')
    )
    rows.to_csv(tmp_path / "results.csv", index=False)
    read = read_table(tmp_path / "results.csv")
    assert read["model"].tolist() == ["NA", "1.0", "null", 'a,"b"\nc']
    assert read["table"].tolist() == ["1"] * 4
    pd.testing.assert_frame_equal(read[["seed", "rmse"]], rows[["seed", "rmse"]])
    assert read["crps"].isna().all()
