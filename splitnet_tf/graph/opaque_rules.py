"""Rule of calls that no rule describes: they may stand where no channels are permuted."""

from __future__ import annotations

from keras import layers

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.layer_rules import MixRule
from splitnet_tf.graph.rules import ANY_OPERATION, TraceContext, register_rule
from splitnet_tf.graph.spaces import Layout

OPAQUE_LAYERS = (
    "AdditiveAttention Attention AugMix AutoContrast Bidirectional CategoryEncoding "
    "ContrastLimitedAdaptiveHistogramEqualization ConvLSTM1D ConvLSTM2D "
    "ConvLSTM3D CutMix Discretization Dot EinsumDense "
    "Embedding Equalization GRU GroupQueryAttention HashedCrossing Hashing IntegerLookup "
    "LSTM Masking MelSpectrogram MixUp MultiHeadAttention Pipeline RNN RandAugment "
    "RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop "
    "RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale "
    "RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation "
    "RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom RepeatVector "
    "ReversibleEmbedding STFTSpectrogram SimpleRNN Solarization SpectralNormalization "
    "StringLookup TextVectorization TimeDistributed"
).split()


@register_rule(
    ANY_OPERATION, *(getattr(layers, name) for name in OPAQUE_LAYERS if hasattr(layers, name))
)
class OpaqueRule(MixRule):
    """Calls that may stand in the trunk where nothing is permuted, refused anywhere else."""


OPAQUE = OpaqueRule()


@register_rule(layers.Lambda)
class LambdaRule(MixRule):
    """Refusal of ``Lambda`` layers, which Keras does not make again in safe mode."""

    def trace(self, ctx: TraceContext) -> list[Layout]:
        raise PlanError(
            f"Layer '{ctx.name}' is a Lambda layer, which cannot be copied or loaded safely; write "
            "it with keras.ops, or as a layer class with a rule of its own."
        )
