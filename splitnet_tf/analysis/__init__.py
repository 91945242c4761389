"""Cost tables, agreement with a taxonomy, figures."""

from splitnet_tf.analysis.agreement import Agreement, agreement
from splitnet_tf.analysis.cost import Cost, LayerCost, cost, even_grouping
from splitnet_tf.analysis.tables import text_table

__all__ = ["Agreement", "Cost", "LayerCost", "agreement", "cost", "even_grouping", "text_table"]
