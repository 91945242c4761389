"""One short program per command; flags live here and nowhere else."""
