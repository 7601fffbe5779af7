"""Data sets, degradation and training pairs."""

from hinas_nb.data.batches import Pairs, validation_patches
from hinas_nb.data.catalog import CATALOG, DataError, check_leak, check_split, is_folder
from hinas_nb.data.degrade import add_noise, bicubic, modcrop, stream, with_noise_map
from hinas_nb.data.images import ImageSet, digest, divide, grey, load, read_image, to_image, write_image
