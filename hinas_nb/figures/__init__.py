"""Every picture of the collection: functions take data and return what notebooks show and `save` keeps.

Nothing here loads, computes or runs anything; only this package imports matplotlib, seaborn or graphviz.
Layers are counted from 1, nodes, edges and width levels from 0, as in the rest of the collection.
"""

from hinas_nb.figures.audit import averaging_plot, order_plot, tile_map, waterfall
from hinas_nb.figures.changes import change_by_image, change_scatter, effect_plot, sweep_plot
from hinas_nb.figures.comparisons import ablation_plot, score_pairs
from hinas_nb.figures.contest import equal_time_plot, speed_claims_plot
from hinas_nb.figures.dot import Graph
from hinas_nb.figures.evolution import (
    op_weight_evolution,
    op_weight_heatmap,
    search_curves,
    width_weight_evolution,
)
from hinas_nb.figures.forest import forest_plot, verdict_table
from hinas_nb.figures.fronts import front_plot
from hinas_nb.figures.graphs import changed_edges, genotype_graph, super_cell_graph
from hinas_nb.figures.panels import image_panel
from hinas_nb.figures.speed import cost_bars, foretold_plot, growth_curves, part_bars, slope
from hinas_nb.figures.stability import ranking_plot, searches_plot
from hinas_nb.figures.style import OPERATION_COLOURS, FigureError, Picture, save
from hinas_nb.figures.trade_off import rate_plot, trade_off_plot
from hinas_nb.figures.training import training_curves
from hinas_nb.figures.trellis import sharing_diagram, width_trellis
from hinas_nb.figures.widths import width_rows

__all__ = [
    "OPERATION_COLOURS",
    "FigureError",
    "Graph",
    "Picture",
    "ablation_plot",
    "averaging_plot",
    "change_by_image",
    "change_scatter",
    "changed_edges",
    "cost_bars",
    "effect_plot",
    "equal_time_plot",
    "forest_plot",
    "foretold_plot",
    "front_plot",
    "genotype_graph",
    "growth_curves",
    "image_panel",
    "op_weight_evolution",
    "op_weight_heatmap",
    "order_plot",
    "part_bars",
    "ranking_plot",
    "rate_plot",
    "save",
    "score_pairs",
    "search_curves",
    "searches_plot",
    "sharing_diagram",
    "slope",
    "speed_claims_plot",
    "super_cell_graph",
    "sweep_plot",
    "tile_map",
    "trade_off_plot",
    "training_curves",
    "verdict_table",
    "waterfall",
    "width_rows",
    "width_trellis",
    "width_weight_evolution",
]
