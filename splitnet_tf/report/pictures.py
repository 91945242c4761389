"""Figures of matplotlib as SVG inside a page: text in its colour, no foreign reference."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import warnings
from collections.abc import Callable

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

MOST_BYTES = 800_000  # a larger SVG becomes a PNG
DPI = 130  # resolution of images within
_TEXT = "#010203"  # stands for the colour of the page's text

STYLE = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # names may hold dollars
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.facecolor": "none",
    "image.interpolation": "nearest",
    "path.simplify": True,
    **{
        f"{part}color": _TEXT
        for part in ("text.", "axes.label", "axes.edge", "axes.title", "xtick.", "ytick.")
    },
    "legend.labelcolor": _TEXT,
    "hatch.linewidth": 0.6,
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """Picture in a page.

    Attributes:
      markup: ``svg`` or ``img`` element.
      caption: sentence that says what the picture shows.
    """

    markup: Markup
    caption: str


def picture(name: str, caption: str, draw: Callable[[], Figure]) -> Picture:
    """Draws a figure for a page.

    Args:
      name: name that is unique in the page; the ids inside are made of it.
      caption: sentence below the picture.
      draw: function that makes the figure.
    """
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks are the browser's business
        figure = draw()
        figure.patch.set_alpha(0)
        out = io.BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(out, format="svg", dpi=DPI, metadata=nothing)
        markup = _inline(out.getvalue().decode(), caption)
        if len(markup) > MOST_BYTES:
            markup = _as_png(figure, caption)
    return Picture(markup, caption)


def _inline(svg: str, caption: str) -> Markup:
    """Returns the ``svg`` element alone, without the parts that a page does not need."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # such as axes_1, in every figure again
    svg = re.sub(r'(?<= d=")[^"]*', lambda m: _rounded(m[0]), svg)
    svg = svg.replace(_TEXT, "currentColor")
    width = re.search(r'viewBox="0 0 (\d+)', svg)[1]
    label = Markup.escape(caption)
    head = f'<svg role="img" aria-label="{label}" style="max-width: {width}pt" '
    svg = re.sub(r'^<svg[^>]*?(viewBox="[^"]*")[^>]*>', lambda m: f"{head}{m[1]}>", svg)
    return Markup(svg.strip())


def _rounded(path: str) -> str:
    path = re.sub(r"(\.\d\d)\d+", r"\1", path)
    return " ".join(path.split())


def _as_png(figure: Figure, caption: str) -> Markup:
    out = io.BytesIO()
    figure.patch.set_alpha(1)
    figure.savefig(out, format="png", dpi=DPI, facecolor="white")
    data = base64.b64encode(out.getvalue()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(caption, data)
