"""`minilm serve`: a page in the browser, for this machine alone, to let a model write, explain and answer."""

from __future__ import annotations

import os
import sys

from minilm.cli.device import add_device, require
from minilm.cli.model import add_model, folder_of
from minilm.cli.page_server import PageServer
from minilm.cli.unused import refuse_unused

WRITING = ("tokens", "temperature")  # options


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "serve",
        help="a local page to let a model write, explain and answer",
        description="Serve a page on 127.0.0.1, for this machine's browser alone, until Ctrl-C. A language model continues a "
        "text and explains it; a recipe's model answers. One request is worked on at a time.",
    )
    add_model(parser)
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="the port; 0 takes one that is free (8000)")
    parser.add_argument("--tokens", type=int, default=200, metavar="N", help="tokens of a continuation, at most (200)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="below 1 plays safe, above 1 dares (0.8)")
    add_device(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Serve until Ctrl-C."""
    from minilm.ops import checks
    from minilm.ops.sampling import checked_options

    checks.whole("port", args.port, 0, 1 << 16)
    checks.whole("tokens", args.tokens, 1, 2**31)
    checked_options(args.temperature, None, None)
    require(args.device)
    actions, pages = _actions(folder_of(args), args)
    try:
        server = PageServer(args.port, os.path.basename(os.path.abspath(folder_of(args))), actions, pages)
    except OSError as error:
        raise ValueError(f"port {args.port} of 127.0.0.1 is not free ({error.strerror}): --port 0 takes any that is") from None
    with server:
        print(f"http://{server.hosts[0]}/   (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)
    return 0


def _actions(folder: str, args) -> tuple[dict, dict]:
    """What the folder's model can do with a text: as text, and as a page."""
    from minilm import generation, interpret, recipes
    from minilm.cli.explain import is_recipe

    if is_recipe(folder):
        refuse_unused(args, WRITING, f"is for a language model, and {folder} holds a model of a task")
        recipe = recipes.open_run(folder, args.device)
        return {"answer": recipe.answer}, {"explain": lambda text: interpret.page(recipe.explain(text))}
    from minilm.training import load_run

    loaded = load_run(folder)
    model, tokenizer = loaded.model.to(args.device), loaded.tokenizer
    if model.objective == "masked":
        refuse_unused(args, WRITING, f"is for a model that writes: that of {folder} guesses masked words")

    def write(text: str) -> str:
        options = {"tokens": args.tokens, "temperature": args.temperature, "end": generation.loop.end_ids(model)}
        return text + generation.generate(model, tokenizer, text, seed=int.from_bytes(os.urandom(4), "little"), **options)

    def explain(text: str) -> str:
        return interpret.page(interpret.explain(model, tokenizer, text))

    return ({} if model.objective == "masked" else {"write": write}), {"explain": explain}
