"""The former place of ``splitnet_tf.storage.models``, kept for one release."""

from splitnet_tf.storage.models import load_model, save_model

__all__ = ["load_model", "save_model"]
