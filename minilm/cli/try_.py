"""`minilm try`: give a recipe's trained model input of your own."""

from __future__ import annotations

import sys

from minilm.cli.device import add_device, require
from minilm.cli.model import add_model, add_quantize, folder_of, quantize
from minilm.cli.texts import read_argument


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "try",
        help="put your own input to a recipe's model",
        description="Answer TEXT with a recipe's trained model, or with published weights for the task that they are for, or ask "
        "for input line by line until it ends (Ctrl-D).",
    )
    add_model(parser, "a run of `minilm recipe`, or a model in Hugging Face's layout with its tokenizer")
    add_device(parser)
    add_quantize(parser)
    parser.add_argument("text", nargs="*", metavar="TEXT", help="- is all of the standard input")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Answer the texts given, or what is typed."""
    from minilm import recipes

    require(args.device)
    if args.weights is not None and args.folder is not None:  # then the first of the words is a text
        args.folder, args.text = None, [args.folder, *args.text]
    recipe = recipes.open_run(folder_of(args), args.device)
    quantize(recipe.model, args)
    if args.text:
        for text in args.text:
            print(recipe.answer(read_argument(text, "TEXT")))
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
