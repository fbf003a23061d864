"""`minilm fill-mask`: let a masked language model fill in the masks."""

from __future__ import annotations

import json

from minilm.cli.device import add_device, require
from minilm.cli.model import add_model, load_model
from minilm.cli.texts import add_text, text_of


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "fill-mask",
        help="let a BERT guess masked words",
        description="The most probable tokens at each [MASK] of a text, by the model in a run's folder, or by published weights.",
        epilog='Example: minilm fill-mask runs/stories-bert-1 --text "Once upon a [MASK] there was a fox."',
    )
    add_model(parser)
    add_text(parser, "text", "with [MASK] where a token is to be guessed")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="tokens to show for each mask (5)")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Print a table for each mask."""
    from minilm import generation
    from minilm.ops import checks

    checks.whole("top", args.top, 1, 2**31)  # before the model is loaded
    require(args.device)
    text = text_of(args, "text")
    if text is None:
        raise ValueError("--text TEXT is missing: a text with [MASK] in it")
    loaded = load_model(args)
    masks = generation.fill_mask(loaded.model, loaded.tokenizer, text, args.top)
    if args.json:
        fillings = [[filling._asdict() for filling in mask] for mask in masks]
        print(json.dumps({"text": text, "masks": fillings}, ensure_ascii=False, indent=2))
        return 0
    for number, mask in enumerate(masks, 1):
        if len(masks) > 1:
            print(f"mask {number} of {len(masks)}")
        for filling in mask:
            print(f"  {filling.probability:6.1%}  {filling.token}")
    return 0
