"""Cost tables, agreement with a taxonomy, figures and reports."""

from splitnet_tf.analysis.cost import Cost, LayerCost, cost, even_grouping

__all__ = ["Cost", "LayerCost", "cost", "even_grouping"]
