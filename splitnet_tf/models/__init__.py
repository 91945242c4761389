"""Plain Keras models, which know no method."""

from splitnet_tf.models.alexnet import alexnet
from splitnet_tf.models.convnet import convnet
from splitnet_tf.models.lenet import lenet
from splitnet_tf.models.mlp import mlp, mlp_of_sizes
from splitnet_tf.models.registry import build, settings_of, wide_resnet_name
from splitnet_tf.models.resnet import resnet
from splitnet_tf.models.resnet_cifar import resnet_cifar
from splitnet_tf.models.wide_resnet import wide_resnet

__all__ = [
    "alexnet",
    "build",
    "convnet",
    "lenet",
    "mlp",
    "mlp_of_sizes",
    "resnet",
    "resnet_cifar",
    "settings_of",
    "wide_resnet",
    "wide_resnet_name",
]
