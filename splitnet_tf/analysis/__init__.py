"""Cost tables, where to cut, agreement with a taxonomy, figures."""

from splitnet_tf.analysis.agreement import Agreement, agreement
from splitnet_tf.analysis.cost import Cost, LayerCost, cost, even_grouping
from splitnet_tf.analysis.suggest import Cut, Refusal, suggest_cuts
from splitnet_tf.analysis.tables import text_table

__all__ = [
    "Agreement",
    "Cost",
    "Cut",
    "LayerCost",
    "Refusal",
    "agreement",
    "cost",
    "even_grouping",
    "suggest_cuts",
    "text_table",
]
