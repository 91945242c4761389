"""Names of the files in a run folder, and of the stages of a cut and of a shrink."""

from __future__ import annotations

CONFIG = "config.json"  # settings of the run
METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
LOCK = "run.lock"

GROUPED = "grouped.keras"  # before the cut, with its assignments
PLAIN = "model.keras"  # trained without groups
CUT = "cut.keras"  # the tree before finetuning
TREE = "tree.keras"  # the tree after finetuning
GROUPING = "grouping.json"
SPARSE = "sparse.keras"  # after sparse training, with its zeros
SHRUNK = "shrunk.keras"  # the shrunk model before finetuning
SMALL = "small.keras"  # the shrunk model after finetuning
SELECTION = "selection.json"
CHANGES = "changes.json"
RESULT = "result.json"
EVALUATION = "evaluation.json"

UNSPLIT = (GROUPED, PLAIN)
TREES = (TREE, CUT)  # the later first
SMALLER = (SMALL, SHRUNK)  # the later first
WHOLE = (SPARSE, PLAIN)  # what a shrink starts from
FINISHED = (TREE, SMALL, GROUPED, SPARSE, PLAIN)  # what a program that came to its end has made

# What a run leaves when it is done, and what was measured of that. A restart removes it, or a
# restarted run that is killed would leave the results of the run before.
RESULTS = (
    *(GROUPED, GROUPING, PLAIN, CUT, TREE),
    *(SPARSE, SELECTION, SHRUNK, SMALL, CHANGES),
    *(RESULT, EVALUATION),
)

# Stages at which the accuracy of a cut is measured, in order, and their words in a table.
STAGES = {
    "before": "before the cut",
    "cut": "right after the cut",
    "recalibrated": "batch norm re-estimated",
    "finetuned": "after finetuning",
}

# The same of a shrink.
SHRINK_STAGES = {
    "before": "before the shrink",
    "shrunk": "right after the shrink",
    "finetuned": "after finetuning",
}
