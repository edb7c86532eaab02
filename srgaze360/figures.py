"""How figures look and are saved: one style for every plot of the project.

Conventions
-----------
Sizes are those of a paper's text width (7 inches, 8 point type). Colours are those of Okabe and Ito (2008), told apart by
people with any kind of colour vision. Figures are made without pyplot, so nothing global changes, and saved without dates, so
the same data give the same files: PNG, and SVG with outlined type.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from srgaze360.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#24292f"
GRID = "#d0d5db"
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a6d3b", "#7f7f7f")
WIDTH_IN = 7.0
DPI = 200
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "text.color": INK,
    "text.parse_math": False,  # a name is not a formula
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.titlesize": 8.0,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "svg.hashsalt": "srgaze360",
}


def save_figure(figure: Figure, folder: Path, name: str, dpi: int = DPI) -> list[Path]:
    """Save a figure as ``name.png`` and ``name.svg``; draw and save it under :data:`STYLE`."""
    files = [folder / f"{name}.png", folder / f"{name}.svg"]
    for file in files:
        with atomic_path(file) as temporary:
            figure.savefig(temporary, dpi=dpi, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files
