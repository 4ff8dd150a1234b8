"""A page of HTML in one file: everything it shows is inside, and nothing it holds asks for more.

    Page            headings, blocks below them, a list of contents; written whole or not at all
    text, element   markup from plain values, which are escaped
    chart           a drawing by matplotlib as SVG whose ink follows light and dark
    picture         pixels as a PNG
    table, gallery, details, note    what pages are made of

A block is an `Html`, which is markup already; every other value is text and gets escaped.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, bundles, style
from ..errors import InputError, reason

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

# A dark and a light page both show these (Okabe and Ito 2008, the yellow and the black left out).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

# What matplotlib is told to draw with, and what the page's style makes of it.
_INK, _PALE = "#010203", "#040506"
_THEMED = {_INK: "currentColor", _PALE: "var(--line)"}

LONG_CELL = 32  # characters from which on a column is kept wide enough to be read

STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1b1f24; --dim: #59636e; --line: #d1d9e0;
  --card: #f6f8fa; --good: #1a7f37; --bad: #b42318; --link: #0969da; }
@media (prefers-color-scheme: dark) { :root { --back: #15191e; --ink: #e6edf3; --dim: #9aa5b1;
  --line: #3d444d; --card: #1f252c; --good: #4ac26b; --bad: #ff8a80; --link: #6cb6ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; padding-top: .7rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; list-style: none; }
code { font: .9em ui-monospace, monospace; }
pre { overflow-x: auto; padding: .6rem; background: var(--card); border-radius: .4rem; }
.dim, figcaption, caption { color: var(--dim); font-size: .875rem; }
td .name { white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
td.long { min-width: 15rem; }
figure { margin: .8rem 0; max-width: 100%; } .row figure { margin: 0; }
figure svg { display: block; max-width: 100%; height: auto; }
img { max-width: 100%; height: auto; image-rendering: pixelated; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; max-width: calc(100vw - 2rem); }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { font-weight: 600; } td.number, th.number { text-align: right; white-space: nowrap; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.2rem, 1fr));
  gap: .8rem; }
.gallery figure { margin: 0; } .gallery img { width: 6rem; }
.gallery figcaption { font-size: .78rem; line-height: 1.3; }
.matrix th[scope=col] { vertical-align: bottom; text-align: center; }
.matrix th[scope=col] span { writing-mode: vertical-rl; transform: rotate(180deg);
  max-height: 12rem; }
.matrix td { text-align: right; padding: .2rem .4rem; line-height: 1.15; min-width: 3.2rem; }
.matrix small { display: block; white-space: nowrap; opacity: .8; font-size: .7rem; }
details { margin: .8rem 0; } summary { cursor: pointer; }
@media print { nav, summary { display: none; } body { max-width: none; } }
"""


class Html(str):
    """Markup: a text that is not escaped again."""


def text(value: Any) -> Html:
    """A value as text: escaped, unless it is markup already."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def element(name: str, *children: Any, **attributes: Any) -> Html:
    """<name attributes>children</name>; markup stays, all else is escaped.

    Args:
        name: of the element, such as "p".
        children: what it holds.
        attributes: their names, with "_" for "-", and a trailing "_" for Python's own words
            (class_). None leaves one out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(map(text, children))
    return Html(f"<{name}{given}>" + ("" if name in ("img", "meta") else f"{inner}</{name}>"))


def join(*blocks: Any) -> Html:
    """Blocks one after another."""
    return Html("".join(map(text, blocks)))


def paragraph(*children: Any, class_: str | None = None) -> Html:
    return element("p", *children, class_=class_)


def note(*children: Any) -> Html:
    """A paragraph that stands back: how something was measured, why something is missing."""
    return element("p", *children, class_="dim")


def row(*blocks: Any) -> Html:
    """Blocks side by side where the page is wide enough, else one below another."""
    return element("div", *blocks, class_="row")


def details(summary: Any, *blocks: Any) -> Html:
    """Blocks that are shown when the summary is clicked."""
    return element("details", element("summary", summary), *blocks)


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], caption: Any = None) -> Html:
    """A table; columns whose cells all begin with a digit or a sign stand to the right.

    Args:
        head: a heading a column.
        rows: each as long as the head; None is an empty cell.
        caption: above the table.
    """
    lines = [[text("" if cell is None else cell) for cell in line] for line in rows]
    numeric = [
        any(cells) and all(re.match(r"(?:[-+±≥≤]|&lt;)?\s?\d|$|-$", cell) for cell in cells)
        for cells in zip(*lines)
    ] or [False] * len(head)
    lengths = [[len(re.sub("<[^>]*>", "", cell)) for cell in line] for line in lines]
    longest = [max(column) for column in zip(*lengths)] or [0] * len(head)
    classes = [
        "number" if right else "long" if most > LONG_CELL else None
        for right, most in zip(numeric, longest, strict=True)
    ]

    def line(name: str, cells: Sequence[Any]) -> Html:
        return element(
            "tr", *(element(name, c, class_=k) for c, k in zip(cells, classes, strict=True))
        )

    parts = [element("caption", caption)] if caption else []
    parts += [element("thead", line("th", head)), element("tbody", *(line("td", r) for r in lines))]
    return element("div", element("table", *parts), class_="wide")


def _figure(inner: Html, caption: Any) -> Html:
    return element("figure", inner, *([element("figcaption", caption)] if caption else []))


def picture(pixels: np.ndarray, alt: str, caption: Any = None, width: int | None = None) -> Html:
    """Pixels as a PNG in the page, each pixel sharp.

    Args:
        pixels: uint8 (height, width), or (height, width, channels) with 1, 3 or 4 (the last is
            how opaque it is), 0-255.
        alt: what it shows, for those who cannot see it.
        caption: below it.
        width: on the page, CSS pixels; None: one for each of its own.
    """
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    width = width or image.width
    size = {"width": width, "height": round(image.height * width / image.width)}
    return _figure(element("img", src=f"data:image/png;base64,{data}", alt=alt, **size), caption)


def gallery(items: Iterable[tuple[np.ndarray, str, Any]]) -> Html:
    """Small pictures in rows: (pixels, alt, caption) each, as `picture` takes them."""
    return element("div", *(picture(*item, width=96) for item in items), class_="gallery")


def chart(
    draw: Callable[[Any], None],
    alt: str,
    caption: Any = None,
    width: float = 6.2,
    height: float = 3.9,
) -> Html:
    """A drawing by matplotlib as SVG. Its ink is the page's, light or dark.

    Args:
        draw: draws on the matplotlib Figure that it is given. What it does not colour is drawn in
            the page's ink; other colours stay, so take those of COLOURS.
        alt: what it shows, for those who cannot see it, with its figures where they are few.
        caption: below it.
        width, height: inches of 72 CSS pixels, at most; narrower pages scale it.
    """
    style.import_matplotlib()
    from matplotlib.figure import Figure

    with chart_style():
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _figure(_inline(stream.getvalue().decode("utf-8"), alt), caption)


@contextlib.contextmanager
def chart_style() -> Iterator[None]:
    """matplotlib's settings while a chart of a page is drawn."""
    matplotlib = style.import_matplotlib()
    from cycler import cycler

    inked = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = {
        **dict.fromkeys(inked, _INK),
        **dict.fromkeys(("axes.edgecolor", "grid.color", "legend.edgecolor"), _PALE),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.grid": True,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "axes.titlesize": 12,
        "axes.titlelocation": "left",
        "font.size": 11,
        "legend.fontsize": 10,
        "lines.linewidth": 1.6,
        "svg.fonttype": "none",
        "svg.hashsalt": "cifar_lab",
    }
    with matplotlib.rc_context(settings):
        yield


def _inline(svg: str, alt: str) -> Html:
    """An SVG file's root element, to stand in a page: themed, described, without what only a file
    needs."""
    svg = svg[svg.index("<svg") :]
    for drawn, themed in _THEMED.items():
        svg = svg.replace(drawn, themed)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", svg)  # a hundredth of a point is enough to draw
    svg = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", svg)
    used = set(re.findall(r"#([\w.-]+)", svg))
    own = hashlib.sha256(svg.encode()).hexdigest()[:8]  # no other chart of the page has these names
    svg = re.sub(r' id="([\w.-]+)"', lambda m: f' id="{own}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r"(url\(|href=\")#", rf"\1#{own}-", svg)
    svg = re.sub(r"^<svg([^>]*)>", lambda m: f"<svg{_untied(m[1])}>", svg)
    return Html(svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1))


def _untied(attributes: str) -> str:
    """Of an SVG's root: points as the page's pixels, no name spaces, which HTML knows."""
    return re.sub(r'="([\d.]+)pt"', r'="\1"', re.sub(r' xmlns(:\w+)?="[^"]*"', "", attributes))


class Page:
    """A page under construction.

    Args:
        title: of the window and the first heading.
        lead: blocks below it.
    """

    def __init__(self, title: str, *lead: Any) -> None:
        self.title = title
        self._lead = join(*lead)
        self._sections: list[tuple[str, str, Html]] = []

    def add(self, heading: str, *blocks: Any) -> None:
        """A section with blocks; one without blocks is left out."""
        body = join(*blocks)
        if body:
            name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
            self._sections.append((name, heading, body))

    @property
    def headings(self) -> list[str]:
        """Of the sections, in their order."""
        return [heading for _, heading, _ in self._sections]

    def html(self) -> str:
        """The whole file."""
        links = [
            element("li", element("a", heading, href=f"#{name}"))
            for name, heading, _ in self._sections
        ]
        head = join(
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("meta", name_="generator", content=f"cifar_lab {__version__}"),
            element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            element("title", self.title),
            Html(f"<style>{STYLE}</style>"),
        )
        body = join(
            element("h1", self.title),
            self._lead,
            element("nav", element("ul", *links), aria_label="Contents") if links else "",
            *(
                element("section", element("h2", heading), body, id=name)
                for name, heading, body in self._sections
            ),
        )
        return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'

    def write(self, path: str | Path) -> int:
        """Write the page, whole or not at all. Returns its bytes.

        Raises:
            InputError: the path cannot be written.
        """
        content = self.html().encode("utf-8", "backslashreplace")
        try:
            bundles.write_file(Path(path), lambda file: file.write(content))
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({reason(error)})") from None
        return len(content)
