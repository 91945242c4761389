"""Flags of a program as a whole, for what handles other programs' flags."""

from __future__ import annotations

import importlib

from absl import flags


def flags_of(program: str) -> dict[str, flags.Flag]:
    """Flags that a program defines, by name, in the order of their definitions.

    Args:
      program: str, a module of ``splitnet_tf.cli``, such as ``"group"``.
    """
    before = set(flags.FLAGS)
    importlib.import_module(f"splitnet_tf.cli.{program}").define_flags()
    found = {name: flags.FLAGS[name] for name in flags.FLAGS if name not in before}
    for name in found:
        delattr(flags.FLAGS, name)
    return found
