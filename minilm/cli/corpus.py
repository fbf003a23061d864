"""`minilm corpus`: the corpora that have a name."""

from __future__ import annotations

import dataclasses
import json
import sys

from minilm import data
from minilm.data.manifest import named


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "corpus",
        help="list, download and check the texts that have a name",
        description="Texts that have a name: the built-in one, and public ones that are downloaded into the cache folder "
        "(MINILM_CACHE if that is set).",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|fetch|path|check")
    listing = actions.add_parser("list", help="all of them: size, licence, and whether it is here")
    listing.add_argument("--json", action="store_true", help="print one JSON list")
    fetching = actions.add_parser("fetch", help="download; goes on where it was stopped")
    fetching.add_argument("names", nargs="+", metavar="NAME")
    place = actions.add_parser("path", help="print where the file is")
    place.add_argument("name", metavar="NAME")
    check = actions.add_parser("check", help="compare sizes and sha256 with the manifest; exit status 1 if one is wrong")
    check.add_argument("names", nargs="*", metavar="NAME", help="all that are here without any")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Do what `args.action` says; ValueError and OSError have one line for the user."""
    return {"list": _list, "fetch": _fetch, "path": _path, "check": _check}[args.action](args)


def _list(args) -> int:
    entries = data.corpora().values()
    states = [_state(entry) for entry in entries]
    if args.json:
        rows = [
            {**dataclasses.asdict(entry), "path": entry.path, "state": state}
            for entry, state in zip(entries, states, strict=True)
        ]
        print(json.dumps(rows, indent=2))
        return 0
    print(f"{'name':<18} {'bytes':>9}  {'state':<9} licence")
    for entry, state in zip(entries, states, strict=True):
        print(f"{entry.name:<18} {entry.bytes:>9,}  {state:<9} {entry.licence}\n    {entry.description}")
    print("`minilm corpus fetch NAME` downloads one; --corpus also takes any UTF-8 text file.")
    return 0


def _state(entry) -> str:
    fault = entry.fault()
    if fault == "missing":
        return "not here"
    if fault:
        return "wrong"
    return "built in" if entry.url is None else "here"


def _fetch(args) -> int:
    for entry in [named(name) for name in args.names]:  # a wrong name is reported before anything is downloaded
        fault = entry.fault()
        path = data.fetch(entry)
        if fault is None:
            print(f"{entry.name}: here already, {path}")
        else:
            print(f"{entry.name}: {path} ({entry.bytes:,} bytes, sha256 as it should be)")
            if fault != "missing":
                print(f"{entry.name}: the file that was there ({fault}) is kept beside it, {entry.file}.wrong-*", file=sys.stderr)
    return 0


def _path(args) -> int:
    named(args.name)
    print(data.corpus(args.name))
    return 0


def _check(args) -> int:
    entries = [named(name) for name in args.names] or list(data.corpora().values())
    failed = False
    for entry in entries:
        fault = entry.fault()
        if fault == "missing" and not args.names:
            continue
        failed |= fault is not None
        print(f"{entry.name:<18} {'ok' if fault is None else f'WRONG: {fault}'}  {entry.path}")
    return int(failed)
