"""Every quantity that tables, figures and claims speak of: its name, unit and digits, written down once."""

import math

from hinas_nb.settings import Config


class Metric(Config):
    """A quantity by which two arms are compared."""

    title: str
    unit: str
    digits: int
    relative: bool = False  # compared as the change in percent of the control
    of_search: bool = False  # one number for all degradations
    scored: bool = False  # on images, under a protocol
    timed: bool = False  # of an image, whatever its noise, for every scale
    share: bool = False  # of networks, in percentage points above what random ones show

    @property
    def header(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, value: float, low: float = math.nan, high: float = math.nan) -> str:
        """`+0.05 [-0.01, +0.11]`, as far as there are numbers."""
        ends = "" if math.isnan(low) or math.isnan(high) else f"[{self._signed(low)}, {self._signed(high)}]"
        return " ".join(filter(None, ["" if math.isnan(value) else self._signed(value), ends]))

    def _signed(self, value: float) -> str:
        return f"{round(value, 9) + 0.0:+.{self.digits}f}"  # -0.00 for less than nothing, +0.00 for nothing


METRICS = {
    "psnr": Metric(title="PSNR", unit="dB", digits=2, scored=True),
    "ssim": Metric(title="SSIM", unit="", digits=4, scored=True),
    "parameters_m": Metric(title="parameters", unit="%", digits=0, relative=True, of_search=True),
    "time_s": Metric(title="time to restore", unit="%", digits=0, relative=True, timed=True),
    "gpu_hours": Metric(title="time to search", unit="%", digits=0, relative=True, of_search=True),
    "search_memory": Metric(title="memory to search", unit="%", digits=0, relative=True, of_search=True),
    "last_widest": Metric(title="last layer widest", unit="points above chance", digits=0, of_search=True, share=True),
    "collapsed": Metric(title="searches collapsed", unit="points above chance", digits=0, of_search=True, share=True),
}
