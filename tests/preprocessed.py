"""Whitening in slow, obvious NumPy: for the layer, the pipeline and trained models alike."""

import numpy as np


def whitened(images: np.ndarray) -> np.ndarray:
    """Images (B, H, W, C), each channel of each with mean 0 and deviation 1, in float32."""
    found = np.empty(images.shape)
    for i, image in enumerate(images):
        for channel in range(images.shape[-1]):
            values = image[..., channel].astype("float64")
            deviation = max(values.std(), 1 / np.sqrt(values.size))
            found[i, ..., channel] = (values - values.mean()) / deviation
    return found.astype("float32")
