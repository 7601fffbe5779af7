"""Graphs as notebooks show them, the program that draws them, and how all figures are saved."""

import os
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from hinas_nb.figures.style import DPI, Picture
from hinas_nb.files import write_atomic

#: Where there is no Arial, browsers take fonts as narrow: the layout has Arial's widths.
_FALLBACK_FONTS = b'font-family="Arial, Liberation Sans, DejaVu Sans Condensed, sans-serif"'


@dataclass(frozen=True)
class Graph:
    """A drawing in graphviz' language that notebooks show; made only where a `dot` can be found."""

    source: str = field(repr=False)

    def __post_init__(self):
        _find_dot()  # refuse in the cell that draws; while showing, a notebook swallows errors

    def svg(self) -> bytes:
        """Return the drawing without the XML prolog, so that it can stand inside a page."""
        _, begins, rest = self._rendered("-Tsvg").partition(b"<svg")
        return begins + rest.replace(b'font-family="Arial"', _FALLBACK_FONTS)

    def png(self) -> bytes:
        return self._rendered("-Tpng", f"-Gdpi={DPI}")

    def _repr_svg_(self) -> str:
        return self.svg().decode()

    def _rendered(self, *options: str) -> bytes:
        done = subprocess.run([_find_dot(), *options], input=self.source.encode(), capture_output=True)
        if done.returncode or not (b"<svg" in done.stdout or done.stdout.startswith(b"\x89PNG")):
            said = (done.stderr or done.stdout).decode(errors="replace").strip().partition("\n")[0]
            raise ValueError(f"dot must draw the graph, got {said or 'nothing'}")
        return done.stdout


Drawing: TypeAlias = Picture | Graph


def save(figure: Drawing, stem: str | os.PathLike) -> tuple[Path, Path]:
    """Write `stem`.svg and `stem`.png, whole or not at all; the folder is made when it is missing.

    Raises StoreError; older files then stay as they were.
    """
    # Drawn before anything is written: a drawing that fails leaves the pair of files it should replace.
    content = {Path(f"{stem}.svg"): figure.svg(), Path(f"{stem}.png"): figure.png()}
    for path, data in content.items():
        write_atomic(path, data)
    return tuple(content)


def _find_dot() -> str:
    """Return the program that draws: a real `dot` on the PATH first, else the one of the graphviz-pure package.

    The `graphviz` package itself runs only a `dot` on the PATH. Raises ValueError.
    """
    scripts = sysconfig.get_path("scripts")
    found = shutil.which("dot") or shutil.which("graphviz-pure", path=scripts) or shutil.which("graphviz-pure")
    if not found:
        raise ValueError(
            f"graphs need a program `dot`, got none on the PATH and no graphviz-pure in {scripts} "
            "(pip install graphviz-pure)"
        )
    return found
