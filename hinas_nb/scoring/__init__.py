"""What turns a restored image into numbers: protocols, PSNR and SSIM, and the loop over a test set.

It stands on `method` and `data`.
"""
