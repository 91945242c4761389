"""The report of runs, as one HTML file."""

from splitnet_tf.report.page import make_report, write_report

__all__ = ["make_report", "write_report"]
