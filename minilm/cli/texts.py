"""Texts that commands take: as an argument, from the standard input, or from a file."""

from __future__ import annotations


def add_text(parser, name: str, purpose: str) -> None:
    """Add the options --NAME TEXT, where - is the standard input, and --NAME-file FILE."""
    parser.add_argument(f"--{name}", metavar="TEXT", help=f"{purpose}; - reads it from the standard input")
    parser.add_argument(f"--{name}-file", metavar="FILE", help="the same from a UTF-8 file, without its last line end")


def text_of(args, name: str) -> str | None:
    """The text that the options of `add_text` give, None without them.

    Raises
    ------
    OSError
    ValueError
        Both options were given, or the text is not UTF-8.
    """
    text, path = getattr(args, name), getattr(args, f"{name}_file")
    if text is not None and path is not None:
        raise ValueError(f"--{name} and --{name}-file both give the text: one of them")
    return read_argument(text, f"--{name}") if path is None else _read(path)


def read_argument(text: str | None, what: str) -> str | None:
    """A text of the command line; "-" is the standard input. `what` is what to call it in an error."""
    if text == "-":
        return _read(text)
    try:
        (text or "").encode("utf-8")
    except UnicodeEncodeError as error:  # of bytes that are not UTF-8 Python makes lone surrogates
        raise ValueError(f"{what}: not UTF-8 at character {error.start}; wanted a text in UTF-8") from None
    return text


def _read(path: str) -> str:
    """All of a file, but for the line end that closes it: `echo` and every editor put one there."""
    from minilm.data.lines import whole_text

    text = whole_text(path)
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
