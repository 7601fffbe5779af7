"""A restored image becomes numbers here: protocols, PSNR and SSIM, and the loop over a test set.

It stands on `method` and `data`.
"""
