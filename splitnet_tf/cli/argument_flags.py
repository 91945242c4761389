"""Sentences of the package, which name arguments in backticks, with the flags of a program."""

from __future__ import annotations

import logging
import re

from absl import flags

# Flags that have another name than the argument that they give; the others are called alike.
FLAG_OF = {
    "assignment_start": "assignment_init",
    "base": "basemodel",
    "decay": "lr_decay",
    "drops": "lr_step_epoch",
    "final_rate": "final_lr",
    "l2": "l2_weight",
    "pace": "assignment_lr_scale",
    "rate": "initial_lr",
    "rate_warmup_epochs": "lr_warmup_epochs",
    "run": "train_dir",
    "schedule": "lr_schedule",
}
_ARGUMENT = re.compile(r"`(\w+)(?:=([^`]*))?`")


def with_flags(sentence: str) -> str:
    """Puts ``--flag`` and ``--flag=value`` for `argument` and `argument=value` in a sentence.

    An argument that is not a flag of the running program stays as it is.
    """

    def flag(match: re.Match) -> str:
        name, value = FLAG_OF.get(match[1], match[1]), match[2]
        if name not in flags.FLAGS:
            return match[0]
        if value is None or value == "True":
            return f"--{name}"
        return f"--{name}={value.lower() if value == 'False' else value}"

    return _ARGUMENT.sub(flag, sentence)


class FlagFormatter(logging.Formatter):
    """Log lines with flags in the place of arguments."""

    def format(self, record: logging.LogRecord) -> str:
        return with_flags(super().format(record))
