"""Figures that the paper prints for WRN-16-8 on CIFAR-100, in its Table 2."""

# Test errors in percent.
ERRORS = {
    "baseline": 24.28,
    "fc": 24.26,
    "shallow": 23.96,
    "deep": 24.62,
    "hierarchical": 24.80,
}

# Parameters in millions; the last three have learned, unequal groups.
PARAMS = {"baseline": 11.0, "fc": 10.96, "shallow": 7.42, "deep": 5.90, "hierarchical": 4.12}

# GFLOPs of the rows that do not depend on the groups that were learned.
FLOPS = {"baseline": 3.10, "fc": 3.10}
