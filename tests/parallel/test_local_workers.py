"""Workers that are started here: they answer, tell how much memory they held, and end."""

import os

import keras
import pytest

from splitnet_tf.errors import ClusterError
from splitnet_tf.parallel.cluster import find_lost
from splitnet_tf.parallel.local_workers import LocalWorkers

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="placement is TensorFlow's"
)


def test_a_worker_answers_until_it_is_closed():
    with LocalWorkers(1) as workers:
        assert find_lost(workers.addresses, 5.0) is None
        (held,) = workers.peak_bytes()
        assert 2**27 < held < 2**33
    assert "nothing answers there" in str(find_lost(workers.addresses, 5.0))


def test_each_worker_needs_a_core():
    count = len(os.sched_getaffinity(0)) + 1
    with pytest.raises(ClusterError, match=f"{count} workers need a core each; there are"):
        LocalWorkers(count)
