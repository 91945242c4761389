"""Other ways to use several devices: the unsplit model, distributed over them.

All are exact, in bfloat16 but for rounding. The paper's Table 5 compares the tree with them. Like a
placed tree, each tells what its devices compute and what crosses between them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from splitnet_tf.analysis import cost
from splitnet_tf.analysis.placement import sent_as, tensor_bytes
from splitnet_tf.errors import PlacementError
from splitnet_tf.graph.calls import Call, Graph
from splitnet_tf.graph.copying import apply_call, copy_layer
from splitnet_tf.graph.keras_reader import read_graph
from splitnet_tf.graph.trace import Trace, trace
from splitnet_tf.parallel.placed_tree import copy_on, share_bounds
from splitnet_tf.training.evaluation import inference_layers


@dataclasses.dataclass(frozen=True)
class OnDevices:
    """Model on several devices, to be called on a batch of images.

    Attributes:
      function: ``tf.function`` of images that gives logits.
      flops: floats, FLOPs of each device for one image.
      params: ints, parameters that each device holds.
      bytes_crossing: float, bytes that cross between devices for one image.
    """

    function: Callable
    flops: tuple[float, ...]
    params: tuple[int, ...]
    bytes_crossing: float

    def __call__(self, images):
        return self.function(images)


def _compiled(model: keras.Model, forward: Callable) -> Callable:
    shape = (None, *model.input_shape[1:])
    signature = [tf.TensorSpec(shape, model.inputs[0].dtype)]

    def float32(images):
        return tf.cast(forward(images), tf.float32)

    return tf.function(float32, input_signature=signature, autograph=False)


def data_parallel(
    model: keras.Model, devices: Sequence[str], *, bfloat16: bool = False
) -> OnDevices:
    """Runs the whole model on every device, each on its share of the batch."""
    copies = [copy_on(model, d) for d in devices]

    def forward(images):
        batch, outputs = tf.shape(images)[0], []
        for i, (copy, device) in enumerate(zip(copies, devices, strict=True)):
            begin, end = share_bounds(i, len(devices), batch)
            share = images[begin:end]
            with tf.device(device), inference_layers(copy, bfloat16):
                outputs.append(copy(share, training=False))
        return tf.concat(outputs, axis=0)

    counted, count = cost(model), len(devices)
    return OnDevices(
        _compiled(model, forward), (counted.flops / count,) * count, (counted.params,) * count, 0.0
    )


def blocks_in_sequence(
    model: keras.Model, devices: Sequence[str], *, bfloat16: bool = False
) -> OnDevices:
    """Runs consecutive parts of the model on one device after the other; batches overlap.

    The model is cut where a single tensor goes on, so that the slowest part has the fewest FLOPs.

    Raises:
      PlacementError: there are fewer such places than needed.
    """
    parts = consecutive_parts(model, len(devices))
    copies = [copy_on(p, d) for p, d in zip(parts, devices, strict=True)]

    def forward(images):
        for copy, device in zip(copies, devices, strict=True):
            with tf.device(device), inference_layers(copy, bfloat16):
                images = copy(images, training=False)
        return images

    costs = [cost(p) for p in parts]
    crossing = sum(
        tensor_bytes(p.output_shape, sent_as(p.outputs[0].dtype, bfloat16)) for p in parts[:-1]
    )
    return OnDevices(
        _compiled(model, forward),
        tuple(float(c.flops) for c in costs),
        tuple(c.params for c in costs),
        crossing,
    )


def consecutive_parts(model: keras.Model, count: int) -> list[keras.Model]:
    """Cuts a model with one input and one output into ``count`` consecutive models."""
    graph = read_graph(model)
    shares = {row.name: row.flops for row in cost(model).layers}
    flops = [shares.get(call.name, 0) for call in graph.calls]
    last = {t: i for t, readers in graph.consumers().items() for i in readers}
    alive, places = set(graph.inputs), []  # (index of the first call after, the tensor)
    for i, call in enumerate(graph.calls[:-1]):
        alive = {t for t in (*alive, *call.outputs) if last.get(t, -1) > i}
        if len(alive) == 1:
            places.append((i + 1, *alive))
    if len(places) < count - 1:
        raise PlacementError(
            f"Model '{model.name}' has {len(places)} places where a single tensor goes on; it "
            f"cannot be cut into {count} parts."
        )
    cuts = [(0, graph.inputs[0]), *_balance(flops, places, count)]
    ends = [*(t for _, t in cuts[1:]), graph.outputs[0]]
    stops = [*(i for i, _ in cuts[1:]), len(graph.calls)]
    return [
        _part(graph, graph.calls[begin:stop], start, end)
        for (begin, start), stop, end in zip(cuts, stops, ends, strict=True)
    ]


def _balance(flops: list[int], places: list[tuple[int, int]], count: int) -> list:
    """Chooses the ``count - 1`` places that leave the least to the part that has the most."""
    indices = [0, *(i for i, _ in places), len(flops)]
    most = {len(indices) - 1: (0.0, [])}  # index: the most above it, and the places chosen above
    for left in range(count):
        found = {}
        for i in range(len(indices) - 1) if left < count - 1 else [0]:
            for j, (above, chosen) in most.items():
                if j > i:
                    worst = max(above, sum(flops[indices[i] : indices[j]]))
                    if i not in found or worst < found[i][0]:
                        found[i] = (worst, [places[j - 1], *chosen] if left else [])
        most = found
    return most[0][1]


def _part(graph: Graph, calls: Sequence[Call], start: int, end: int) -> keras.Model:
    x = keras.Input(batch_shape=graph.shapes[start], dtype=graph.dtypes[start])
    tensors = {start: x}
    for call in calls:
        apply_call(call, call.op, tensors)
    return keras.Model(x, tensors[end])


def layers_side_by_side(
    model: keras.Model, devices: Sequence[str], *, bfloat16: bool = False
) -> OnDevices:
    """Distributes each layer's output channels over the devices; kernels read all channels.

    Raises:
      PlacementError: a layer neither has a kernel nor works on each channel by itself.
    """
    traced, count = trace(model), len(devices)
    graph = traced.graph
    made = {call.name: _slices(traced, call, devices) for call in graph.calls}

    def forward(images):
        with tf.device(devices[0]):
            tensors = {graph.inputs[0]: _channel_shares(images, count)}
        for call in graph.calls:
            outputs = []
            for d, device in enumerate(devices):
                op = made[call.name][d]
                with tf.device(device), inference_layers(op, bfloat16):
                    feeds = [
                        # A kernel reads all channels, from all devices.
                        tf.concat(tensors[t], axis=-1)
                        if call.name in traced.kernels
                        # Everything else its own.
                        else tensors[t][d]
                        for t in call.inputs
                    ]
                    outputs.append(op(feeds if len(feeds) > 1 else feeds[0]))
            tensors[call.outputs[0]] = outputs
        with tf.device(devices[0]):
            return tf.concat(tensors[graph.outputs[0]], axis=-1)

    counted = cost(model)
    read = {t for call in graph.calls if call.name in traced.kernels for t in call.inputs}
    crossing = (count - 1) * sum(
        tensor_bytes(graph.shapes[t], sent_as(graph.dtypes[t], bfloat16))
        for t in read - set(graph.inputs)
    )
    return OnDevices(
        _compiled(model, forward),
        (counted.flops / count,) * count,
        (-(-counted.params // count),) * count,
        crossing,
    )


def _channel_shares(x, count: int) -> list:
    bounds = (share_bounds(d, count, x.shape[-1]) for d in range(count))
    return [x[..., begin:end] for begin, end in bounds]


def _slices(traced: Trace, call: Call, devices: Sequence[str]) -> list:
    """Makes a layer of fewer channels for each device; a layer without weights serves all."""
    op, width = call.op, traced.size(call.outputs[0])
    kernel = call.name in traced.kernels
    layer = isinstance(op, keras.layers.Layer)
    if not layer or not (kernel or traced.by_channel(call)) or width < len(devices):
        raise PlacementError(
            f"Layer '{call.name}' ({type(op).__name__}) cannot be computed side by side on "
            f"{len(devices)} devices."
        )
    if not op.weights:
        return [op] * len(devices)
    found = []
    for d, device in enumerate(devices):
        outs = np.arange(*share_bounds(d, len(devices), width))
        ins = [np.arange(traced.size(t)) if kernel else outs for t in call.inputs]
        settings, weights = traced.rule(call).slice(op, ins, [outs])
        copy = copy_layer(op, f"{op.name}_{d}", {**call.overrides, **settings})
        with tf.device(device):
            copy.build((*traced.graph.shapes[call.inputs[0]][:-1], len(ins[0])))
            copy.set_weights(weights)
        found.append(copy)
    return found
