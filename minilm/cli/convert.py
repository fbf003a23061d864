"""`minilm convert`: weights of one program in the form of another."""

from __future__ import annotations

import os

from minilm.cli import conversions


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    import argparse

    parser = subparsers.add_parser(
        "convert",
        help="weights of other programs in, and out for them",
        description="Read a model that minilm or another program wrote, and write it in another form. The kind of FROM follows\n"
        "from its content, and that of TO from its name; where it does not, --from and --to say it. No code of a file is run.",
        epilog=conversions.table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="FROM", help="a file or folder, a run of `minilm train`, or a name on the Hub")
    parser.add_argument("target", metavar="TO", help="a new file or folder")
    parser.add_argument("--from", dest="from_kind", metavar="KIND", choices=conversions.sources(), help="what FROM is")
    parser.add_argument("--to", dest="to_kind", metavar="KIND", choices=tuple(conversions.TARGETS), help="what TO is to be")
    parser.add_argument(
        "--vocabulary", metavar="FILE", help="the tokens, where FROM has none: a JSON list, an object of ids, or lines"
    )
    parser.set_defaults(run=run)


def run(args) -> int:
    """Read, write, and say what was written."""
    kind = args.to_kind or conversions.kind_of_target(args.target)
    if os.path.lexists(args.target) and not (os.path.isdir(args.target) and not os.listdir(args.target)):
        raise ValueError(f"{args.target} is there already: TO must be new")
    read = conversions.read(args.source, args.from_kind, args.vocabulary)
    written = conversions.write(read, args.target, kind)
    print(f"read        {args.source}: {read.kind}, {type(read.model).__name__}, {read.parameters:,} numbers")
    print(f"wrote       {args.target}: {written}")
    if written == "onnx" and type(read.model).__name__ != "BERT":
        print("without     a head: the graph is the encoder's")
    if not read.tokenizers and written in conversions.WITH_TOKENIZER:
        print("without     a tokenizer: FROM has none; --vocabulary FILE gives its tokens")
    return 0
