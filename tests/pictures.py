"""Looks at what a function draws: text that leaves the picture, and labels that cover one another."""

from __future__ import annotations

import contextlib

import matplotlib.figure


@contextlib.contextmanager
def drawn():
    """Inside this block, the figures that are saved: a list of (figure, texts that can be seen with their boxes in pixels)."""
    figures = []
    save = matplotlib.figure.Figure.savefig

    def saved(figure, *arguments, **options):
        result = save(figure, *arguments, **options)
        figures.append((figure, texts(figure)))
        return result

    matplotlib.figure.Figure.savefig = saved
    try:
        yield figures
    finally:
        matplotlib.figure.Figure.savefig = save


def texts(figure) -> list[tuple]:
    """(text, its box) of everything that is written in a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    seen = [each for each in figure.findobj(Text) if each.get_visible() and each.get_text().strip()]
    beyond = {id(label) for axes in figure.axes for label in _beyond_their_axis(axes)}
    return [(each, each.get_window_extent(renderer)) for each in seen if id(each) not in beyond]


def _beyond_their_axis(axes):
    """Labels of ticks that lie outside the axis's limits, which are not drawn."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def clipped(figure, written, slack: float = 1.5) -> list[str]:
    """Texts that leave the figure."""
    whole = figure.bbox
    return [
        text.get_text()
        for text, box in written
        if box.x0 < whole.x0 - slack or box.y0 < whole.y0 - slack or box.x1 > whole.x1 + slack or box.y1 > whole.y1 + slack
    ]


def overlapping(written, part: float = 0.15) -> list[tuple[str, str]]:
    """Pairs of texts of which one covers more than a part of the other."""
    pairs = []
    for i, (first, a) in enumerate(written):
        for second, b in written[i + 1 :]:
            width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            smaller = min(a.width * a.height, b.width * b.height)
            if width > 0 and height > 0 and width * height > part * smaller:
                pairs.append((first.get_text(), second.get_text()))
    return pairs


def check(figures) -> None:
    """Assert that all is legible."""
    assert figures, "something was drawn"
    for figure, written in figures:
        assert not clipped(figure, written), f"texts leave the picture: {clipped(figure, written)}"
        assert not overlapping(written), f"texts cover one another: {overlapping(written)}"
