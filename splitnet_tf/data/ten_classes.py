"""MNIST and CIFAR-10 from the files that tensorflow-datasets keeps.

Nine tenths of the training images train, the others validate. There may be fewer of them in the
folder than the whole data set has.
"""

from __future__ import annotations

from splitnet_tf.data.dataset import Dataset, Split
from splitnet_tf.data.digits import CLASS_NAMES as DIGITS
from splitnet_tf.data.from_tfds import TfdsSource
from splitnet_tf.data.partition import hold_out

CIFAR10_CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())


def load_mnist(data_dir: str | None = None) -> Dataset:
    """Loads MNIST (LeCun et al., 1998), images of 28x28 pixels and one channel.

    Args:
      data_dir: string, folder in which tensorflow-datasets keeps its data. Defaults to
        ``default_data_dir()``.

    Raises:
      DataError: the data is missing or damaged; the sentence says what to run.
    """
    return _load("mnist", "MNIST", DIGITS, data_dir)


def load_cifar10(data_dir: str | None = None) -> Dataset:
    """Loads CIFAR-10 (Krizhevsky, 2009), images of 32x32 pixels and three channels.

    Args:
      data_dir: string, folder in which tensorflow-datasets keeps its data. Defaults to
        ``default_data_dir()``.

    Raises:
      DataError: the data is missing or damaged; the sentence says what to run.
    """
    return _load("cifar10", "CIFAR-10", CIFAR10_CLASSES, data_dir)


def _load(name: str, title: str, class_names: tuple[str, ...], data_dir: str | None) -> Dataset:
    def remedy(where):
        return (
            'run: python -c "import tensorflow_datasets as tfds; '
            f"tfds.load('{name}', data_dir='{where}')\""
        )

    source = TfdsSource(name, title, remedy)
    builder = source.open(data_dir)
    train, valid = hold_out(Split(*source.read(builder, "train", "label")))
    test = Split(*source.read(builder, "test", "label"))
    return Dataset(name, train, valid, test, class_names)
