"""Plain Keras models, which know no method."""

from splitnet_tf.models.alexnet import alexnet
from splitnet_tf.models.mlp import mlp
from splitnet_tf.models.registry import build, settings_of, wide_resnet_name
from splitnet_tf.models.resnet import resnet
from splitnet_tf.models.wide_resnet import wide_resnet

__all__ = ["alexnet", "build", "mlp", "resnet", "settings_of", "wide_resnet", "wide_resnet_name"]
