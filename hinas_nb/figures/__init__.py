"""Every picture of the collection: functions take data and return what notebooks show and `save` keeps.

Nothing here loads, computes or runs anything; only this package imports matplotlib, seaborn or graphviz.
Layers are counted from 1, nodes, edges and width levels from 0, as in the rest of the collection.
"""

from hinas_nb.figures.comparisons import ablation_plot, score_pairs, trade_off_plot
from hinas_nb.figures.dot import Graph
from hinas_nb.figures.evolution import (
    op_weight_evolution,
    op_weight_heatmap,
    search_curves,
    width_weight_evolution,
)
from hinas_nb.figures.graphs import changed_edges, genotype_graph, super_cell_graph
from hinas_nb.figures.panels import image_panel
from hinas_nb.figures.style import OPERATION_COLOURS, FigureError, Picture, save
from hinas_nb.figures.training import training_curves
from hinas_nb.figures.trellis import sharing_diagram, width_trellis

__all__ = [
    "OPERATION_COLOURS",
    "FigureError",
    "Graph",
    "Picture",
    "ablation_plot",
    "changed_edges",
    "genotype_graph",
    "image_panel",
    "op_weight_evolution",
    "op_weight_heatmap",
    "save",
    "score_pairs",
    "search_curves",
    "sharing_diagram",
    "super_cell_graph",
    "trade_off_plot",
    "training_curves",
    "width_trellis",
    "width_weight_evolution",
]
