"""`minilm book`: the book made from the sources, as a folder of HTML."""

from __future__ import annotations

from minilm import bars


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "book",
        help="write the book: formulas, derivations and code as web pages that open offline",
        description="Write the book into a folder: chapters made from the specifications, the pages and the kernels, with "
        "formulas typeset and tied to the lines that compute them. It opens in a browser without a server or a network. Needs "
        "the extra book: pip install 'minilm[book]'.",
    )
    parser.add_argument("out", metavar="OUT", help="the folder, made if it is not there")
    parser.add_argument("--notebooks", action="store_true", help="write the chapters as Jupyter notebooks instead")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Write the book and say where it begins."""
    from minilm import book

    with bars.bar(total=len(book.CHAPTERS), desc="chapters", disable=not bars.can_draw(), leave=False) as bar:

        def progress(title: str) -> None:
            bar.set_postfix_str(title)
            bar.update()

        if args.notebooks:
            print("\n".join(book.write_notebooks(args.out, progress)))
        else:
            print(book.write(args.out, progress))
    return 0
