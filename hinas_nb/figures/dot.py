"""Graphs as notebooks show and `save` keeps them, and the program that draws them."""

import shutil
import subprocess
import sysconfig
from dataclasses import dataclass, field

from hinas_nb.figures.style import DPI, FigureError

#: Where there is no Arial, browsers take fonts as narrow: the layout has Arial's widths.
FALLBACK_FONTS = b'font-family="Arial, Liberation Sans, DejaVu Sans Condensed, sans-serif"'


@dataclass(frozen=True)
class Graph:
    """A drawing in graphviz' language that notebooks show; made only where a `dot` can be found."""

    source: str = field(repr=False)

    def __post_init__(self):
        find_dot()  # refuse in the cell that draws; while showing, a notebook swallows errors

    def svg(self) -> bytes:
        """Without the XML prolog, so that it can stand inside a page."""
        text = self._rendered("-Tsvg")
        text = text.replace(b'font-family="Arial"', FALLBACK_FONTS)
        if b"<svg" not in text:
            raise FigureError(f"dot must draw SVG, got {text[:40].decode(errors='replace').strip()!r}")
        return text[text.index(b"<svg") :]

    def png(self) -> bytes:
        return self._rendered("-Tpng", f"-Gdpi={DPI}")

    def _repr_svg_(self) -> str:
        return self.svg().decode()

    def _rendered(self, *options: str) -> bytes:
        done = subprocess.run([find_dot(), *options], input=self.source.encode(), capture_output=True)
        if done.returncode or not done.stdout:
            reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"])[0]
            raise FigureError(f"dot must draw the graph, got {reason}")
        return done.stdout


def find_dot() -> str:
    """The program that draws: a real `dot` on the PATH first, else the one of the graphviz-pure package.

    Raises FigureError.
    """
    scripts = sysconfig.get_path("scripts")
    found = shutil.which("dot") or shutil.which("graphviz-pure", path=scripts)
    found = found or shutil.which("graphviz-pure")
    if not found:
        raise FigureError(
            f"graphs need a program `dot`, got none on the PATH and no graphviz-pure in {scripts} "
            "(pip install graphviz-pure)"
        )
    return found
