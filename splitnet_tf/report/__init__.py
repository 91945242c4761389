"""Reports of runs as HTML files; no TensorFlow."""

from splitnet_tf.report.page import make_report, write_report

__all__ = ["make_report", "write_report"]
