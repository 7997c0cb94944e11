"""The report of a comparison: one self-contained HTML page, made from the files of the run alone."""

from bridges_tabular.experiments.reporting.page import render_report, write_report

__all__ = ["render_report", "write_report"]
