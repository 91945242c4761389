"""Files from strangers: every hostile one is refused with a sentence, the honest ones are not.

Each file is made here. A file that would run code when it is believed writes a marker; no test
may find it.
"""

import os

import pytest


class Bomb:
    """Writes a marker when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "ran"
    yield path
    assert not path.exists()
