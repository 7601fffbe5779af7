"""MoreMNAS-D (Chu et al., "Multi-objective reinforced evolution in mobile neural architecture search", 2019).

FALSR's frame with seven cells in a chain (see `falsr`), for the luminance and x2. 663,993 parameters against 664 K
published.

As in the code: all cells, from the trained graph of its authors. Departs: the 1.04 M of table 9 are of MoreMNAS-A,
whose cells are printed as a picture only; D's are known exactly and score within 0.1 dB of A's in its paper.
"""

from hinas_nb.comparators.falsr import Cell, Cells


class MoreMNASD(Cells):
    """Is MoreMNAS-D, the best in score for its size."""

    cells = (
        Cell(1, 3, 1, 1, True, (0,)),
        Cell(4, 2, 1, 2, True, (1,)),
        Cell(1, 3, 1, 1, True, (2,)),
        Cell(4, 3, 1, 1, True, (3,)),
        Cell("inverted", 3, 1, 4, True, (4,)),
        Cell(4, 1, 1, 1, False, (5,)),
        Cell("inverted", 4, 3, 4, False, (6,)),
    )
    joined = (7,)
