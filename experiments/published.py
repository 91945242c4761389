"""Test errors (%) on CIFAR-100 that the paper prints: its Tables 1 and 2, WRN-16-8."""

ERRORS = {
    ("baseline", "learned"): 24.28,
    ("fc", "learned"): 24.26,
    ("fc", "semantic"): 23.80,
    ("fc", "clustering"): 23.72,
    ("fc", "random"): 24.30,
    ("shallow", "learned"): 23.96,
    ("shallow", "semantic"): 24.46,
    ("shallow", "clustering"): 24.54,
    ("shallow", "random"): 25.46,
    ("deep", "learned"): 24.62,
    ("deep", "semantic"): 25.04,
    ("deep", "clustering"): 26.04,
    ("deep", "random"): 27.12,
    ("hierarchical", "learned"): 24.80,
    ("hierarchical", "semantic"): 24.92,
    ("hierarchical", "clustering"): 25.98,
    ("hierarchical", "random"): 26.78,
}

# Parameters in millions: Table 2; the last three of learned, unequal groups.
PARAMS = {"baseline": 11.0, "fc": 10.96, "shallow": 7.42, "deep": 5.90, "hierarchical": 4.12}

# GFLOPs of the same table, of the rows that do not depend on the groups that were learned.
FLOPS = {"baseline": 3.10, "fc": 3.10}
