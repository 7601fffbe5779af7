"""Two pictures on top of each other are wiped by a pointer, a finger or the arrow keys; HTML that loads nothing.

The site's front page and notebook `07_your_own_pictures` show it.
"""

import base64
import html
import io

import numpy as np
from PIL import Image, ImageOps

_QUALITY = 92  # of the JPEGs inside, in percent
STYLE = """<style>
.wipe { --cut: 50%; position: relative; max-width: 100%; overflow: hidden; border-radius: 10px; line-height: 0; }
.wipe img { display: block; width: 100%; height: auto; max-width: none; margin: 0; }
.wipe img + img { position: absolute; inset: 0; clip-path: inset(0 calc(100% - var(--cut)) 0 0); }
.wipe::after { content: ""; position: absolute; top: 0; bottom: 0; left: calc(var(--cut) - 1px); width: 2px;
  background: #fff; box-shadow: 0 0 4px #000; pointer-events: none; }
.wipe span { position: absolute; bottom: .5rem; padding: .15rem .5rem; border-radius: 6px; background: #000a;
  color: #fff; font: 13px/1.4 system-ui, sans-serif; pointer-events: none; }
.wipe .before { left: .5rem; } .wipe .after { right: .5rem; }
.wipe input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize; }
.wipe:focus-within { outline: 2px solid #b5179e; }
</style>"""


def wipe(before: np.ndarray, after: np.ndarray, names: tuple[str, str] = ("before", "after")) -> str:
    """Return HTML that shows `before` left of a line and `after` right of it; the line moves.

    Both (height, width) or (height, width, 3) of equal size, values in [0, 1], shown clipped.
    """
    left, right = (_address(image) for image in (before, after))
    first, second = (html.escape(name) for name in names)
    moved = "this.parentNode.style.setProperty('--cut', this.value + '%')"
    return f"""{STYLE}<div class="wipe" style="width: {before.shape[1]}px">
<img src="{right}" alt="{second}"><img src="{left}" alt="{first}">
<span class="before">{first}</span><span class="after">{second}</span>
<input type="range" min="0" max="100" step="0.2" value="50" aria-label="wipe {first} and {second}" oninput="{moved}">
</div>"""


def _address(image: np.ndarray) -> str:
    pixels = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def opened(picture: str | bytes, side: int) -> np.ndarray:
    """Return the middle of a picture file, by its path or content, as (height, width, 3) in [0, 1], upright.

    side: the longest, in pixels. Raises OSError for what is no picture.
    """
    with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    top, left = (max(0, (length - side) // 2) for length in pixels.shape[:2])
    return (pixels[top : top + side, left : left + side] / 255).astype(np.float32)
