"""``grouped.fit`` on every backend: the same losses and gradients as on TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.fit_once import main


def fit_once(backend, folder):
    path = folder / f"{backend}.npz"
    if backend == keras.backend.backend():
        main(path)
    else:
        command = [sys.executable, "-m", "tests.fit_once", str(path)]
        subprocess.run(command, env={**os.environ, "KERAS_BACKEND": backend}, check=True, cwd=ROOT)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def on_tensorflow(tmp_path_factory):
    return fit_once("tensorflow", tmp_path_factory.mktemp("fit"))


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_fit_does_the_same_on_every_backend(backend, on_tensorflow, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    found = fit_once(backend, tmp_path)
    assert found.keys() == on_tensorflow.keys()
    np.testing.assert_allclose(found["split_losses"], on_tensorflow["split_losses"], rtol=1e-5)
    np.testing.assert_allclose(found["loss"], on_tensorflow["loss"], rtol=1e-5)
    for name, gradient in on_tensorflow.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-4, err_msg=name)
    logits = [g for n, g in on_tensorflow.items() if n.endswith("|logits")]
    assert all(np.abs(g).max() > 1e-4 for g in logits)  # not equal because both are nothing
