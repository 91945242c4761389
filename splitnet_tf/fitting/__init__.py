"""The phases of a recipe through Keras' ``fit``, on any backend."""

from splitnet_tf.fitting.accuracy import Accuracy
from splitnet_tf.fitting.batches import calibration_batches
from splitnet_tf.fitting.fit_phase import fit_phase

__all__ = ["Accuracy", "calibration_batches", "fit_phase"]
