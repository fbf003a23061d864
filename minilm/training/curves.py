"""What the plots of training have in common; matplotlib is imported by whoever draws."""

from __future__ import annotations

__all__ = ["line_of", "steps_below"]


def line_of(points: int) -> dict:
    """The form of the line of training losses, so that one point alone is seen."""
    return {"lw": 0.9, "color": "0.6", "marker": "o" if points == 1 else "", "ms": 4}


def steps_below(axes) -> None:
    """The axis of steps: whole numbers, written out (2,500,000 and not 2.5 with 1e6 in the corner)."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter("{x:,.0f}")
