"""One undisturbed run, for the tests that disturb it."""

import pytest

from tests.training.small_run import histogram, make_dataset, run_training


@pytest.fixture(scope="session")
def dataset():
    return make_dataset()


@pytest.fixture(scope="session")
def whole(tmp_path_factory, dataset):
    folder = tmp_path_factory.mktemp("whole")
    model, result = run_training(folder, dataset, summarize=histogram)
    return folder, [w.numpy() for w in model.variables], result
