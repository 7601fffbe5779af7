"""The one door to the fast twins of what `method` says plainly: the same numbers, to 1e-10, sooner.

Import from here and not from the files behind: `kernels` (passes over memory), `layers`, `branches` and `supercell`
(all edges of a source at once), `deformable`, `ssim`. They know the names of `method.genotype` and nothing else of
the package. Notebook `24_speed` times them against torch's own.
"""

from hinas_nb.method.fast.deformable import DeformableConv2d
from hinas_nb.method.fast.layers import (
    ActivatedBatchNorm2d,
    BatchNorm2d,
    DepthwiseConv2d,
    DilatedConv2d,
    repetition,
    stock,
)
from hinas_nb.method.fast.ssim import check_shapes, gaussian_window, mean_ssim, ssim_map
from hinas_nb.method.fast.supercell import SuperCell
