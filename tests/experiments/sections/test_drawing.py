from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bridges_tabular.experiments.sections.drawing import log_axis, log_ticks


@given(st.floats(-6, 9), st.floats(0.002, 12))
def test_a_log_axis_has_some_ticks_at_round_numbers_within_it(start: float, decades: float) -> None:
    low, high = 10.0**start, 10.0 ** (start + decades)
    ticks = np.array(log_ticks(low, high))
    assert 2 <= len(ticks) <= 8
    assert (ticks >= low * (1 - 1e-9)).all()
    assert (ticks <= high * (1 + 1e-9)).all()
    gaps = np.diff(np.log(ticks)) / np.log(high / low)
    assert gaps.min() > 0.05, "they would run into each other"
    # so few digits tell them apart
    assert len({f"{tick:.5g}" for tick in ticks}) == len(ticks)
    assert log_axis("x", [low, high], margin=1.0)["ticktext"] == list(
        dict.fromkeys(log_axis("x", [low, high], 1.0)["ticktext"])
    )
