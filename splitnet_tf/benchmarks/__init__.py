"""Timings: the paper's Table 5, parts of a training, peak memory."""
