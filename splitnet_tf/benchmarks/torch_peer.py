"""Wide ResNets and their trees as PyTorch modules with the same weights, timed beside ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from splitnet_tf.errors import PlanError
from splitnet_tf.graph.calls import Call
from splitnet_tf.graph.keras_reader import read_graph
from splitnet_tf.recipe.phase import Phase


def torch_is_installed() -> bool:
    """True where PyTorch can be imported."""
    return importlib.util.find_spec("torch") is not None


def torch_module(model: keras.Model) -> Any:
    """A PyTorch module that computes what a model computes, channels first.

    Padding is PyTorch's: a convolution with strides reads other positions at the borders.

    Args:
      model: functional, of the layers of a Wide ResNet and its trees.

    Raises:
      PlanError: another layer.
    """
    import torch

    graph = read_graph(model)
    parts = [_part(call) for call in graph.calls]

    class Translated(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList(p for p in parts if isinstance(p, torch.nn.Module))

        def forward(self, images):
            tensors = {graph.inputs[0]: images}
            for call, part in zip(graph.calls, parts, strict=True):
                tensors[call.outputs[0]] = part(*(tensors[t] for t in call.inputs))
            return tensors[graph.outputs[0]]

    return Translated()


def _part(call: Call) -> Callable:
    """A module or a function of the tensors that a call reads."""
    import torch

    layer, nn = call.op, torch.nn
    kind = type(layer).__name__
    if kind == "Conv2D":
        kernel = np.asarray(layer.kernel).transpose(3, 2, 0, 1)
        (high, wide), bias = layer.kernel_size, layer.use_bias
        padding = (high // 2, wide // 2) if layer.padding == "same" else 0
        made = nn.Conv2d(*kernel.shape[1::-1], (high, wide), layer.strides, padding, bias=bias)
        return _filled(made, weight=kernel, bias=layer.bias if bias else None)
    if kind == "BatchNormalization":
        size, momentum = layer.moving_mean.shape[0], 1 - layer.momentum
        made = nn.BatchNorm2d(size, layer.epsilon, momentum)
        return _filled(
            made,
            weight=layer.gamma if layer.scale else np.ones(size),
            bias=layer.beta if layer.center else np.zeros(size),
            running_mean=layer.moving_mean,
            running_var=layer.moving_variance,
        )
    if kind == "Dense":
        made = nn.Linear(*layer.kernel.shape)
        return _filled(made, weight=np.asarray(layer.kernel).T, bias=layer.bias)
    if kind == "GetItem":  # channels, which are last here
        key = call.args[1][-1]
        return lambda x: x[:, key]
    functions = {
        "ReLU": torch.relu,
        "Add": lambda *xs: sum(xs[1:], xs[0]),
        "GlobalAveragePooling2D": lambda x: x.mean((2, 3)),
        "Concatenate": lambda *xs: torch.cat(xs, 1),
    }
    if kind not in functions:
        raise PlanError(f"Layer '{call.name}' ({kind}) is not translated to PyTorch.")
    return functions[kind]


def _filled(module: Any, **values: Any) -> Any:
    """Gives a module its weights."""
    import torch

    for name, value in values.items():
        if value is not None:
            getattr(module, name).data.copy_(torch.from_numpy(np.array(value)))
    return module


def torch_work(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, bfloat16: bool
) -> dict[str, Callable[[], Any]]:
    """The forward pass and the training step of a model in PyTorch, as functions to be timed.

    Args:
      model: see ``torch_module``.
      images: float32 (B, H, W, C).
      labels: int (B,).
      bfloat16: bool, whether PyTorch casts to bfloat16 by itself (autocast).
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = {"device": device, "memory_format": torch.channels_last}
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(**layout)
    y = torch.from_numpy(labels.astype("int64")).to(device)
    still, trained = torch_module(model).eval().to(**layout), torch_module(model).to(**layout)
    optimizer = torch.optim.SGD(
        trained.parameters(), 1e-3, Phase.momentum, weight_decay=Phase.l2, nesterov=Phase.nesterov
    )

    def precision():
        return torch.autocast(device, torch.bfloat16, enabled=bfloat16)

    def forward():
        with torch.inference_mode(), precision():
            return still(x).float().cpu().numpy()

    def step():
        optimizer.zero_grad(set_to_none=True)
        with precision():
            logits = trained(x)
        loss = torch.nn.functional.cross_entropy(logits.float(), y)
        loss.backward()
        optimizer.step()
        return float(loss)

    return {"forward": forward, "step": step}
