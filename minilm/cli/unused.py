"""Options that change nothing beside others: refused, so that nobody takes them for what made the result."""

from __future__ import annotations

from collections.abc import Iterable

from minilm.ops import checks

__all__ = ["DRAWING", "refuse_unused", "refuse_unused_of_writing"]

DRAWING = ("temperature", "top_k", "top_p", "seed")  # options that shape what is drawn


def refuse_unused(args, names: Iterable[str], reason: str) -> None:
    """ValueError for the first option of `names` that has another value than its default.

    Parameters
    ----------
    args : argparse.Namespace
        Of `minilm.cli.Parser`, which puts the ``defaults`` of all options beside their values.
    names : iterable of str
        As they stand in `args`, such as "top_k".
    reason : str
        What the option would be for, such as "is for a text that is drawn".
    """
    for name in names:
        if getattr(args, name) != args.defaults[name]:
            raise ValueError(f"--{name.replace('_', '-')} {reason}")


def refuse_unused_of_writing(args) -> None:
    """ValueError for options of `minilm generate` that say how to draw what is not drawn, or how to search without a search."""
    if args.greedy:
        refuse_unused(args, DRAWING, "is for a text that is drawn, and --greedy draws none")
    if args.beam is None:
        refuse_unused(args, ("length_penalty",), "is for a search: it goes with --beam B")
        return
    refuse_unused(args, (*DRAWING, "greedy"), "is for a text that is written token by token, and --beam searches one")
    checks.whole("beams", args.beam, 1, 2**31)
    if args.samples > args.beam:
        raise ValueError(f"--samples {args.samples} with --beam {args.beam}: a search ends with as many texts as it has beams")
