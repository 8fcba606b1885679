"""Render charts and pictures: as SVG that follows light and dark, and as PNG.

Knows nothing of the content of the charts.
"""

import base64
import contextlib
import io
import re
import warnings
from collections.abc import Iterator

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from components.mnist.report.palette import LIGHT

PNG_DOTS_PER_INCH = 160


def render_svg(figure: Figure, *, name: str) -> str:
    """Render a chart as an <svg> element for a page.

    Text stays text, in the page's own font; each colour of the palette becomes a CSS variable: `var(--ink)`.

    Args:
        name: Unique within the page; the prefix of every id.
    """
    buffer = io.StringIO()
    # The salt makes ids, and so the page, the same for the same chart.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), _any_script():
        figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style type=.*?</style>", "", svg, flags=re.DOTALL)
    # Only tags change; class names, which may look like a colour or an id, stay.
    return re.sub(r"<[^>]+>", lambda tag: _adapt_tag(tag[0], name), svg[svg.index("<svg") :])


def render_png(figure: Figure) -> bytes:
    """Render a chart as a PNG file."""
    buffer = io.BytesIO()
    with _any_script():
        figure.savefig(buffer, format="png", dpi=PNG_DOTS_PER_INCH)
    return buffer.getvalue()


def encode_picture(image: np.ndarray) -> str:
    """Encode a picture, uint8 (28, 28), as a PNG image in a data: URL."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@contextlib.contextmanager
def _any_script() -> Iterator[None]:
    """Allow names in scripts that matplotlib's font lacks: PNG files show boxes, the page shows the letters."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _adapt_tag(tag: str, name: str) -> str:
    # No reference points to a group.
    tag = re.sub(r'^<g id="[^"]*" ?', "<g ", tag).replace("<g >", "<g>")
    # matplotlib rotates every text by -0 degrees.
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r'font-family: [^;"]*;? ?', "", tag)
    for variable, color in LIGHT.items():
        tag = tag.replace(color, f"var(--{variable})")
    return tag
