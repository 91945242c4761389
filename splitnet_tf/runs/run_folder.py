"""Folder of a run: its settings, logs and checkpoints, and a lock."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from splitnet_tf.errors import RunError
from splitnet_tf.runs.lock import lock
from splitnet_tf.runs.names import (
    CHECKPOINTS,
    CONFIG,
    METRICS,
    TENSORBOARD,
    TIMING,
)
from splitnet_tf.storage.atomic import remove_leftovers
from splitnet_tf.storage.json_files import read_json, write_json

LENGTHS = ("epochs", "max_steps")


class RunDirectory:
    """Paths of a run, its ``config.json``, and a lock that holds while the program runs.

    Args:
      path: made if it is not there.
      config: the settings that re-create the run.
      restart: bool, whether to remove what an earlier run left. Defaults to False.
      free: names of settings that may change when a run goes on. Defaults to none.
      today: settings of a run of before -> the same in today's words. Defaults to no change.
      results: names of files in the folder that a restart removes besides checkpoints and logs:
        what is written when the run is done. Defaults to none.
      kept: bool, whether the folder outlasts the run, for sentences on it. Defaults to True.

    Raises:
      RunError: not writable, in use, or made by other settings.
    """

    def __init__(
        self,
        path: str | Path,
        config: dict[str, Any],
        restart: bool = False,
        *,
        free: Collection[str] = (),
        today: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        results: Collection[str] = (),
        kept: bool = True,
    ):
        self.path, self.kept = Path(path), kept
        self._free, self._today = frozenset(free), today
        self._results = tuple(results)
        self._lock_file = lock(self.path)
        try:
            self._prepare(config, restart)
        except OSError as error:
            self.close()
            raise RunError(f"Run folder {self.path} cannot be written: {error.strerror}.") from None
        except BaseException:
            self.close()
            raise

    def _prepare(self, config: dict[str, Any], restart: bool) -> None:
        for folder in (self.path, self.checkpoints):
            remove_leftovers(folder)
        if restart:
            for old in (self.checkpoints, self.tensorboard):
                if old.exists():
                    shutil.rmtree(old)
            for old in (self.metrics, self.timing, self.config):
                old.unlink(missing_ok=True)
            self._remove_results()
        self._settle(config)

    def _remove_results(self) -> None:
        for name in self._results:
            (self.path / name).unlink(missing_ok=True)

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    @property
    def metrics(self) -> Path:
        return self.path / METRICS

    @property
    def timing(self) -> Path:
        return self.path / TIMING

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    @property
    def tensorboard(self) -> Path:
        return self.path / TENSORBOARD

    def close(self) -> None:
        """Releases the lock."""
        self._lock_file.close()

    def _settle(self, config: dict[str, Any]) -> None:
        config = json.loads(json.dumps(config))
        if self.config.exists():
            found = read_config(self.path)
            earlier = {
                # Runs made before data and a teacher's layers had digests have those of now.
                **{name: config.get(name) for name in ("data_digest", "teacher_layers_digest")},
                **self._today(found),
            }
            digest = found.get("data_digest")
            moved = {"dataset"} if digest and digest == config.get("data_digest") else set()
            different = [
                key
                for key in sorted(set(earlier) | set(config))
                if key not in self._free | moved and earlier.get(key) != config.get(key)
            ]
            longer = [key for key in different if _is_longer(key, earlier, config)]
            if longer and different == longer:
                lengths = ", ".join(f"`{k}={config[k]:g}` (was {earlier[k]:g})" for k in longer)
                logging.info(
                    "The run goes on to %s; from here on the learning rate follows the longer "
                    "schedule, so that it is not what a run of that length from its first step is.",
                    lengths,
                )
                different = []
                self._remove_results()  # of the shorter run, or they would pass for this one's
            changed = [
                f"{key} {json.dumps(earlier.get(key))} -> {json.dumps(config.get(key))}"
                for key in different
            ]
            if changed:
                raise RunError(
                    f"Run folder {self.path} was made with other settings ({'; '.join(changed)}); "
                    "use those, another `run`, or `restart=True` to begin anew."
                )
        try:
            write_json(self.config, config)
        except OSError as error:
            raise RunError(f"Run folder {self.path} cannot be written: {error.strerror}.") from None


def _is_longer(key: str, earlier: dict[str, Any], config: dict[str, Any]) -> bool:
    """True for a length of training that a run may still grow to; ``max_steps`` 0 is none."""
    before, now = earlier.get(key), config.get(key)
    known = all(isinstance(v, (int, float)) for v in (before, now))
    return key in LENGTHS and known and 0 < before < now


def read_config(path: str | Path) -> dict[str, Any]:
    """Reads the ``config.json`` of a run folder.

    Raises:
      RunError: it is missing or damaged, or does not hold settings.
    """
    file = Path(path) / CONFIG
    try:
        config = read_json(file)
    except FileNotFoundError:
        raise RunError(f"{path} is not a run folder: it has no {CONFIG}.") from None
    except ValueError as error:
        raise RunError(f"{file}: {error}; begin anew with `restart=True`.") from None
    for key, value in config.items():
        items = value if isinstance(value, list) else [value]
        if not all(v is None or isinstance(v, (str, int, float)) for v in items):
            raise RunError(f"{file}: {key[:40]!r} is no setting; begin anew with `restart=True`.")
    return config
