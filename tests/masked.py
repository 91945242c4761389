"""The reference of every split: the plain model with its off-block weights set to zero."""

import keras
import numpy as np

import splitnet_tf as sn


def masked_outputs(model, plan, grouping, x):
    """Outputs on ``x`` of a plain copy in which only weights inside a group are left, arrays."""
    copy = sn.plain_copy(model)
    for kernel in plan.kernels:
        sides = []
        for names, widths in (
            (kernel.in_spaces, kernel.in_widths),
            (kernel.out_spaces, kernel.out_widths),
        ):
            own = []
            for name, width in zip(names, widths, strict=True):
                merge = plan.merge(plan.space(name), kernel.level)
                own += [merge[g] for g in grouping.space(name).labels() for _ in range(width)]
            sides.append(np.array(own))
        layer = copy.get_layer(kernel.name)
        variable = layer.kernel if hasattr(layer, "kernel") else layer.pointwise_kernel
        same_group = sides[0][:, None] == sides[1][None, :]
        if "Transpose" in kernel.kind:
            same_group = same_group.T
        variable.assign(keras.ops.convert_to_numpy(variable) * same_group)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, copy(x, training=False))
