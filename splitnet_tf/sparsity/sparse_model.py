"""From a plain model to the same model with a penalty on its structures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from splitnet_tf.graph.copying import plain_copy
from splitnet_tf.sparsity.group_lasso import penalty, weights_by_path
from splitnet_tf.sparsity.plan import SparsityPlan, Term


class _Penalty:
    """Regularizer of one variable that returns the penalty of all terms.

    A Keras model sums the regularizers of its variables into ``model.losses``, whatever they
    compute. None is part of a layer's settings, so that a saved model is a plain one.

    Args:
      terms: ``Term`` of a plan.
      variables: the model's variables by path.
      learned: bool, whether gradients go through.
      own: regularizer that the variable had before, or None.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        variables: Mapping[str, keras.Variable],
        learned: bool,
        own: Callable[[Any], Any] | None,
    ):
        self.terms, self.variables, self.learned, self.own = terms, variables, learned, own

    def __call__(self, value: Any) -> Any:
        total = sum(penalty(term.groups, self.variables, term.strengths) for term in self.terms)
        total = total if self.learned else ops.stop_gradient(total)
        return total if self.own is None else total + self.own(value)


def sparse_model(model: keras.Model, plan: SparsityPlan) -> keras.Model:
    """Copies a model and adds the penalty of a plan to its losses.

    ``model.losses`` of the copy holds the penalty at full strength. With ``update="proximal"`` the
    penalty has no gradient: the optimizer's ``after_step`` does what it asks for. Every layer is a
    stock one, and a saved model loads as a plain one.

    Args:
      model: functional ``keras.Model``; it is left as it is.
      plan: ``SparsityPlan``.

    Returns:
      A flat functional model that computes what ``model`` computes. To be trained with
      ``after_step=step_of(sparse, plan)``.

    Raises:
      ArgumentError: the model lacks a layer that the plan names.
      PlanError: the model has no graph, or Keras cannot copy a layer.

    >>> from splitnet_tf.recipe.losses import CrossEntropy
    >>> from splitnet_tf.recipe.optimizers import SGD
    >>> from splitnet_tf.sparsity.steps import step_of
    >>> plan = SparsityPlan(filters=1e-4)
    >>> sparse = sparse_model(sn.models.mlp((8,), num_classes=4, input_shape=(6,)), plan)
    >>> sparse.compile(SGD(0.1, after_step=step_of(sparse, plan)), CrossEntropy())
    """
    sparse = plain_copy(model)
    terms = plan.terms(sparse)
    variables = weights_by_path(sparse.trainable_variables)
    first = variables[terms[0].groups.parts[0].path]
    learned = plan.update == "subgradient"
    first.regularizer = _Penalty(terms, variables, learned, first.regularizer)
    return sparse
