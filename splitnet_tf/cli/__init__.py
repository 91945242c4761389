"""One short program per command; flags live here and nowhere else."""

import os

# Before TensorFlow is imported: its start-up notes would drown ours.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
