"""Random networks, drawn by hypothesis, for the property tests of both methods."""

import keras
from hypothesis import strategies as st


class Drawn:
    """A random network: a pool of tensors that random operations extend.

    The operations are the methods of a subclass whose names begin with ``make_``.
    """

    def __init__(self, draw):
        self.draw = draw
        self.inputs = keras.Input((8, 8, 3))
        self.made = [self.inputs]
        self.shared = {}

    def pick(self):
        """A tensor, recent ones more often."""
        return self.made[-1 - min(self.draw(st.integers(0, 3)), len(self.made) - 1)]

    def same(self, x, channels=None):
        """A tensor of the same positions (and channels)."""
        fits = [
            y for y in self.made if y.shape[:-1] == x.shape[:-1] and channels in (None, y.shape[-1])
        ]
        return self.draw(st.sampled_from(fits))

    def step(self):
        """Extends the pool by one operation."""
        kinds = [f for n, f in sorted(vars(type(self)).items()) if n.startswith("make_")]
        self.made.append(self.draw(st.sampled_from(kinds))(self, self.pick()))
