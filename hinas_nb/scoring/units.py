"""Every quantity that tables, figures and claims speak of: its name, unit and digits, written down once."""

import math
from typing import Literal

from hinas_nb.settings import Config


class Metric(Config):
    """A quantity by which two arms are compared. Its kind says how:

    - score: of images under a protocol, by the difference, at every degradation;
    - time: to restore an image, by the change in percent of the control; the noise does not matter, the scale does;
    - cost: of a search or of a network, by the change in percent; one number for all degradations;
    - share: of networks, in percentage points above what random ones show; likewise one number.
    """

    title: str
    unit: str
    digits: int
    kind: Literal["score", "time", "cost", "share"]

    @property
    def header(self) -> str:
        """Name the axis or column of such numbers: `PSNR (dB)`, or the title alone where there is no unit."""
        return self.with_unit(self.title)

    def with_unit(self, words: str) -> str:
        """Put the unit behind other words, such as `PSNR on V (dB)`."""
        return f"{words} ({self.unit})" if self.unit else words

    def number(self, value: float) -> str:
        """Return a value without its unit, with as many digits as it is printed with."""
        return f"{value:.{self.digits}f}"

    def text(self, value: float, low: float = math.nan, high: float = math.nan) -> str:
        """Return a difference and its interval, `+0.05 [-0.01, +0.11]`, as far as there are numbers.

        Where the last digit would hardly show any of them, there is one digit more.
        """
        numbers = [round(one, 9) + 0.0 for one in (value, low, high)]  # -0.00 for less than nothing, +0.00 for nothing
        largest = max((abs(one) for one in numbers if not math.isnan(one)), default=0.0)
        digits = self.digits + (0 < largest < 1.5 * 10**-self.digits)
        middle, *ends = ("" if math.isnan(one) else f"{one:+.{digits}f}" for one in numbers)
        return " ".join(filter(None, [middle, f"[{', '.join(ends)}]" if all(ends) else ""]))


METRICS = {
    "psnr": Metric(title="PSNR", unit="dB", digits=2, kind="score"),
    "ssim": Metric(title="SSIM", unit="", digits=4, kind="score"),
    "parameters_m": Metric(title="parameters", unit="%", digits=0, kind="cost"),
    "time_s": Metric(title="time to restore", unit="%", digits=0, kind="time"),
    "gpu_hours": Metric(title="time to search", unit="%", digits=0, kind="cost"),
    "search_memory": Metric(title="memory to search", unit="%", digits=0, kind="cost"),
    "last_widest": Metric(title="last layer widest", unit="points above chance", digits=0, kind="share"),
    "collapsed": Metric(title="searches collapsed", unit="points above chance", digits=0, kind="share"),
}


def duration(seconds: float) -> str:
    """Write `40 s`, `25 min`, `3.5 h`; a question mark for NaN."""
    if math.isnan(seconds):
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
