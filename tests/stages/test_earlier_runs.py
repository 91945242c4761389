"""Runs from Python that an earlier version made go on."""

import dataclasses

import pytest

import splitnet_tf as sn
from splitnet_tf.runs import read_config
from splitnet_tf.runs.names import CONFIG
from splitnet_tf.storage.json_files import write_json
from tests.stages.conftest import make_network


def test_settings_that_were_not_there_yet_had_no_effect(arrays, tmp_path):
    train, valid, _ = arrays
    phase, run = sn.Phase(epochs=1, rate=0.05), tmp_path / "run"
    loop = sn.Loop(max_steps=4)
    first = sn.finetune(make_network(), train, valid, phase, run=run, loop=loop)
    config = read_config(run)
    for name in ("mixup", "cutmix", "sync_batch_norm", "data_digest", "batch_size"):
        del config[name]
    write_json(run / CONFIG, config)
    (run / "result.json").unlink()
    again = sn.finetune(make_network(), train, valid, phase, run=run, loop=loop)
    assert again.result.steps == first.result.steps
    mixed = dataclasses.replace(phase, mixup=0.2)
    with pytest.raises(sn.RunError, match="other settings .mixup 0.0 -> 0.2"):
        sn.finetune(make_network(), train, valid, mixed, run=run, loop=loop)
