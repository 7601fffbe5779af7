"""Denoisers that are not trained: non-local means, wavelet shrinkage and BM3D, each told sigma.

Non-local means (Buades et al. 2005) and wavelets (BayesShrink, Chang et al. 2000) are scikit-image's. BM3D (Dabov et
al. 2007) is the package `bm3d` of its authors, whose licence allows non-commercial use only: an optional extra
(`pip install 'hinas_nb[classical]'`) for one reference column; nothing else needs it.
"""

from importlib.util import find_spec

import numpy as np
import torch

from hinas_nb.comparators.base import Grey, Restorer


class Filter(Restorer):
    """Restores whole grey pictures on 0-1, one by one on the CPU, by a function that is told sigma."""

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma = sigma  # grey levels, 0-255

    def forward(self, noisy: Grey) -> Grey:
        pictures = noisy[:, 0].detach().cpu().double().numpy()
        restored = np.stack([self.filtered(picture, self.sigma / 255) for picture in pictures])
        return torch.from_numpy(restored)[:, None].to(noisy)

    def filtered(self, picture: np.ndarray, sigma: float) -> np.ndarray:
        """Return the picture without noise of deviation `sigma`, on 0-1 as well."""
        raise NotImplementedError


class NonLocalMeans(Filter):
    """Averages pixels whose surroundings are alike.

    Chosen here: what scores best at sigma 50 on every 34th of BSDS500's training images, among patches of 5 to 9
    pixels, search radii of 6 to 15 and h of 0.5 to 1 sigma; at 30 and 70 it is 0.01 and 0.04 dB behind the best.
    """

    def filtered(self, picture: np.ndarray, sigma: float) -> np.ndarray:
        from skimage.restoration import denoise_nl_means

        return denoise_nl_means(picture, patch_size=7, patch_distance=6, h=0.6 * sigma, sigma=sigma, fast_mode=True)


class Wavelet(Filter):
    """Shrinks wavelet coefficients.

    Chosen here: BayesShrink with soft thresholds and db2, at sigma 50 the best on the same images of db1 (scikit-
    image's default; 0.1 dB better at 70), db2, sym4, sym8 and bior4.4, each with BayesShrink and VisuShrink.
    """

    def filtered(self, picture: np.ndarray, sigma: float) -> np.ndarray:
        from skimage.restoration import denoise_wavelet

        return denoise_wavelet(picture, sigma=sigma, wavelet="db2", method="BayesShrink", mode="soft")


class BM3D(Filter):
    """Runs the normal profile of the package, both stages. Raises ValueError without it. Licence: non-commercial."""

    def __init__(self, sigma: float):
        super().__init__(sigma)
        if find_spec("bm3d") is None:
            raise ValueError("bm3d is not installed: pip install 'hinas_nb[classical]' (its licence: non-commercial)")

    def filtered(self, picture: np.ndarray, sigma: float) -> np.ndarray:
        import bm3d  # ty: ignore[import-not-found]

        return bm3d.bm3d(picture, sigma_psd=sigma)
