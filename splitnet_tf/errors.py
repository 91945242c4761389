"""The errors that a user can cause; each is one sentence that says what to do.

Arguments stand in backticks, such as `seed` or `restart=True`: a program puts its flags there.
"""


class SplitNetError(ValueError):
    """Base of all errors of this package."""


class ArgumentError(SplitNetError):
    """An argument that cannot be taken; its sentence names it in backticks."""


class PlanError(SplitNetError):
    """A model that cannot be split as asked."""


class GroupingError(SplitNetError):
    """A grouping that is empty, inconsistent or made for another model."""


class SelectionError(SplitNetError):
    """A selection that is inconsistent or made for another model."""


class EmptyGroupError(GroupingError):
    """A group without channels; ``what`` says which, without the remedy."""

    def __init__(self, what: str):
        super().__init__(
            f"{what}; raise `gamma3` so that groups keep their share, or read the grouping with "
            "`method=balanced`."
        )
        self.what = what


class PlacementError(SplitNetError):
    """Devices on which a tree cannot be placed."""


class ClusterError(SplitNetError):
    """Workers that cannot be reached, or no longer."""


class DataError(SplitNetError):
    """Data that is missing or not what it must be."""


class RunError(SplitNetError):
    """A run directory that cannot be used."""


class CheckpointError(SplitNetError):
    """A checkpoint that cannot be read or written."""


class TrainingError(SplitNetError):
    """Training that cannot go on."""
