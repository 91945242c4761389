"""The phases of a recipe through Keras' ``fit``, on any backend."""
