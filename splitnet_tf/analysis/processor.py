"""Name of the processor, for measurements."""

from __future__ import annotations

import platform


def processor_name() -> str:
    """Finds the processor's name as Linux has it, or else as Python has it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()
