"""`minilm try`: put your own input to a recipe's trained model."""

from __future__ import annotations

import sys

from minilm.cli.device import add_device, require


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "try",
        help="put your own input to a recipe's model",
        description="Answer TEXT with a recipe's trained model, or ask for input line by line until it ends (Ctrl-D).",
    )
    parser.add_argument("folder", metavar="DIR", help="a run of `minilm recipe`")
    add_device(parser)
    parser.add_argument("text", nargs="*", metavar="TEXT")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Answer the texts given, or what is typed."""
    from minilm import recipes

    require(args.device)
    recipe = recipes.open_run(args.folder, args.device)
    if args.text:
        for text in args.text:
            print(recipe.answer(text))
        return 0
    while True:
        try:
            text = recipe.ask(_read)
        except EOFError:
            return 0
        if text.strip():
            try:
                print(recipe.answer(text), flush=True)
            except ValueError as error:  # one wrong input does not end the session
                print(f"minilm: {error}", file=sys.stderr)


def _read(prompt: str) -> str:
    """A line; the prompt is shown only to a person."""
    if sys.stdin.isatty():
        return input(prompt)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")
