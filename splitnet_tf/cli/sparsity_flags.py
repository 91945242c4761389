"""Flags of the sparsify program that concern structures: their strengths, and how these change."""

from __future__ import annotations

from absl import flags

from splitnet_tf.cli.define import MAX_EPOCHS, Number, Text, define_float, define_integer
from splitnet_tf.cli.training_flags import phase_values
from splitnet_tf.sparsity import STRUCTURES, SparsityRecipe

FLAGS = flags.FLAGS
flags.disclaim_key_flags()

MEANINGS = {
    "filters": "a filter or unit, all that makes one output channel",
    "channels": "an input channel of one layer",
    "shapes": "one position of the window in one input channel, over all filters",
    "filters2d": "the window of one input channel in one filter",
    "depth": "a whole kernel, which takes a residual block away",
    "layers": "a whole kernel with its bias and the norm right behind it: depth for networks with "
    "batch norms",
    "spaces": "a channel with all that makes and reads it, biases and norms included",
    "blocks": "all weights of a kernel from one device's channels to another's, by --num_devices",
}


class Strength(Text):
    """A strength for every layer, or strengths of layers: ``0.04`` or ``conv1:0.04,conv2:0.08``."""

    number = Number(float, 0, 1e6)
    syntactic_help = "a number, or <layer>:<number>,..."

    def parse(self, argument):
        super().parse(argument)
        self.read(argument)
        return argument

    def read(self, text: str) -> float | dict[str, float]:
        """The strength, or strengths by layer, that a text stands for."""
        if ":" not in text:
            return self._number(text, "it")
        found = {}
        for part in text.split(","):
            layer, _, value = part.strip().rpartition(":")
            if not layer or layer in found:
                raise ValueError(f"'{part}' must be <layer>:<number>, each layer once.")
            found[layer] = self._number(value, f"'{part}'")
        return found

    def _number(self, text: str, what: str) -> float:
        try:
            return self.number.parse(text)
        except ValueError:
            raise ValueError(
                f"{what} must be {self.number.syntactic_help}, or <layer>:<number>,... with names "
                "of layers."
            ) from None


def define_sparsity_flags() -> None:
    """Flags that say which structures are penalized, how strongly, and when."""
    for structure in STRUCTURES:
        flags.DEFINE(
            Strength(),
            structure,
            None,
            f"Strength of {structure}: {MEANINGS[structure]}. A number for every layer, or "
            "<layer>:<number>,... for these alone. Defaults to none.",
            serializer=flags.ArgumentSerializer(),
        )
    define_integer(
        "num_devices",
        None,
        "Devices between which --blocks lie; each has an equal part of every layer's channels, in "
        "order. Defaults to none.",
        2,
        1024,
    )
    flags.DEFINE_enum(
        "factor",
        "none",
        ["none", "sqrt_size"],
        "Factor on the strength of a group: none, as in the paper, or the root of its size.",
    )
    flags.DEFINE_enum(
        "update",
        "proximal",
        ["proximal", "subgradient"],
        "Shrink each group after the optimizer's step, which makes exact zeros (proximal), or add "
        "the penalty to the loss and set small weights to zero, as the authors did (subgradient).",
    )
    define_float(
        "threshold", 1e-4, "Size below which --update=subgradient sets a weight to zero.", 0, 1
    )
    define_strength_over_time()


def define_strength_over_time() -> None:
    """Flags that say when the penalty sets in, and how its strength grows."""
    define_float("warmup_epochs", 0.0, "Epochs before the penalty sets in.", 0, MAX_EPOCHS)
    define_float(
        "ramp_epochs",
        0.0,
        "Epochs over which the strength then grows to its value.",
        0,
        MAX_EPOCHS,
    )
    for name, what in (
        ("flops", "multiply-adds that the shrunk model may have"),
        ("params", "weights of kernels that the shrunk model may have"),
        ("bytes", "bytes that may cross between the devices of --blocks"),
    ):
        define_float(
            f"target_{name}",
            None,
            f"Share of the {what}. The strength is raised after "
            "each evaluation until there are no more. Defaults to none.",
            1e-6,
            1,
        )
    define_float(
        "growth",
        1.3,
        "Factor on the strength after an evaluation that misses a target.",
        1.001,
        100,
    )


def sparsity_recipe() -> SparsityRecipe:
    """The recipe that the flags make."""
    names = "factor update threshold warmup_epochs ramp_epochs growth num_devices"
    names += " target_flops target_params target_bytes"
    given = {s: FLAGS[s].value for s in STRUCTURES if FLAGS[s].value is not None}
    return SparsityRecipe(
        **phase_values(),
        **{name: FLAGS[name].value for name in names.split()},
        **{structure: Strength().read(text) for structure, text in given.items()},
    )
