"""Every picture of the collection: functions take data and return what notebooks show and `save` keeps.

Nothing here loads, computes or runs anything; only this package imports matplotlib, seaborn or graphviz. It stands on
`method` and on the names and units of `scoring`.
Layers are counted from 1, nodes, edges and width levels from 0, as in the rest of the collection.
"""

from hinas_nb.figures.audit import averaging_plot, order_plot, tile_map, waterfall
from hinas_nb.figures.by_image import change_by_image, change_scatter, score_pairs
from hinas_nb.figures.cells import genotype_graph, super_cell_graph
from hinas_nb.figures.claims import forest_plot, verdict_table
from hinas_nb.figures.dot import Graph, save
from hinas_nb.figures.effects import effect_plot, sweep_plot
from hinas_nb.figures.op_weights import op_weight_evolution, op_weight_heatmap, width_weight_evolution
from hinas_nb.figures.panels import image_panel
from hinas_nb.figures.speed import cost_bars, foretold_plot, growth_curves, part_bars, slope
from hinas_nb.figures.style import OPERATION_COLOURS, Picture
from hinas_nb.figures.system_tables import equal_time_plot, speed_claims_plot
from hinas_nb.figures.trade_off import front_plot, rate_plot, trade_off_plot
from hinas_nb.figures.training import ranking_plot, recipes_plot, search_curves, searches_plot, training_curves
from hinas_nb.figures.widths import sharing_diagram, width_rows, width_trellis
