"""Cost tables, places to cut, agreement with a taxonomy, figures."""

from splitnet_tf.analysis.agreement import Agreement, agreement
from splitnet_tf.analysis.cost import Cost, LayerCost, cost
from splitnet_tf.analysis.placement import TRUNK_MODES, Placement, make_placement
from splitnet_tf.analysis.suggest import Cut, Refusal, Suggestions, suggest_cuts
from splitnet_tf.analysis.tables import text_table

__all__ = [
    "TRUNK_MODES",
    "Agreement",
    "Cost",
    "Cut",
    "LayerCost",
    "Placement",
    "Refusal",
    "Suggestions",
    "agreement",
    "cost",
    "make_placement",
    "suggest_cuts",
    "text_table",
]
