"""The picture of predictive distributions; the only part of core that draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from bridges_tabular.core._cells import FloatArray, Rows, log_densities, quantile

_MOST_ROWS = 10  # colours that differ
_TAIL_POINTS = 50


def plot_rows(rows: Rows, intervals: FloatArray, label: str, y: FloatArray | None, ax: Any) -> Any:
    """Draw each row's density, atoms, interval (n, 2) called ``label`` and, with ``y`` (n,), true value on the axes."""
    n = len(rows.masses)
    if n > _MOST_ROWS:
        raise ValueError(f"plot() draws at most {_MOST_ROWS} rows, got {n}: pick some, as in d[:3]")
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('plot() needs matplotlib: pip install "bridges-tabular[plot]"') from error

    if ax is None:
        ax = plt.subplots()[1]
    atom_axis = None
    for i in range(n):
        edges = rows.edges if rows.edges.ndim == 1 else rows.edges[i]
        row, colour = Rows(edges, *(array[i : i + 1] for array in rows[1:])), f"C{i}"
        ax.plot(*_density_line(row), color=colour, label=f"row {i}" if n > 1 else "density")
        masses = row.masses[0]
        atoms = (np.diff(edges) == 0) & (masses > 0)
        if atoms.any():
            if atom_axis is None:
                atom_axis = ax.twinx()
                atom_axis.set_ylabel("mass of an atom")
                atom_axis.set_ylim(0.0, 1.0)
            atom_axis.vlines(edges[:-1][atoms], 0.0, masses[atoms], color=colour, linewidth=3)
        ax.axvspan(*intervals[i], color=colour, alpha=0.15, label=label)
        if y is not None:
            ax.axvline(y[i], color=colour, linestyle="--", label="truth")
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("target")
    ax.set_ylabel("density")
    ax.legend()
    return ax


def _density_line(row: Rows) -> tuple[FloatArray, FloatArray]:
    """Points of one row's density: steps over the cells, curves over the tails out to 0.5 % and 99.5 %."""
    edges, masses = row.edges, row.masses[0]
    widths = np.diff(edges)
    spread = widths > 0
    low, high = np.where(row.tail_masses[0] > 0, quantile(row, np.array([[0.005, 0.995]]))[0], edges[[0, -1]])
    first, last = np.nextafter(edges[[0, -1]], [-np.inf, np.inf])
    below = np.linspace(min(low, first), first, _TAIL_POINTS)
    above = np.linspace(last, max(high, last), _TAIL_POINTS)
    steps = np.stack([edges[:-1][spread], edges[1:][spread]], axis=1).ravel()
    return (
        np.concatenate([below, steps, above]),
        np.concatenate([_densities(row, below), np.repeat(masses[spread] / widths[spread], 2), _densities(row, above)]),
    )


def _densities(row: Rows, at: FloatArray) -> FloatArray:
    """Of one row at points (p,)."""
    repeated = Rows(row.edges, *(np.repeat(array, len(at), axis=0) for array in row[1:]))
    return np.exp(log_densities(repeated, at)[0])
