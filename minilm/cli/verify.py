"""`minilm verify`: whether files are as they were written, and whether a run gives the same bits again."""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys

from minilm.cli.unused import refuse_unused

DESCRIPTION = """\
Hold PATH against its checksums: a run's folder, a folder of weights (SHA256SUMS), a token file (.npy), or a file with NAME.sha256
beside it. A run of `minilm train` is then replayed, from its last kept checkpoint (--set keep_every=N) or from its first weights,
and losses, norms and weights are compared with the run's own, bit for bit; a recipe's run from its first weights to its last
checkpoint, unless its budget was in minutes. Exit status 1: something differs.
"""


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "verify",
        help="whether files are whole, and a run gives the same bits again",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="a run's folder, a folder of weights, or a file")
    parser.add_argument("--steps", type=int, metavar="N", help="replay so many steps at the most (all); 0 replays none")
    parser.add_argument("--start", type=int, metavar="STEP", help="the kept checkpoint to start from, 0 for the first weights")
    parser.add_argument("--publish", action="store_true", help="print the run's hashes as JSON, for --against on another machine")
    parser.add_argument("--against", metavar="FILE", help="compare with the hashes that another machine published; - is stdin")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Verify and tell; 1 where something differs."""
    from minilm.mistaken import existing_folder
    from minilm.ops import checks
    from minilm.training.checkpoint import RECIPE_STATE, STATE

    for name in ("steps", "start"):  # before anything is read
        if getattr(args, name) is not None:
            checks.whole(name, getattr(args, name), 0, 2**63)
    path = existing_folder(args.path) if os.path.isdir(args.path) else args.path
    if os.path.isfile(os.path.join(path, STATE)):
        return _run(args)
    options = {"--steps": args.steps, "--start": args.start, "--publish": args.publish or None, "--against": args.against}
    if os.path.isfile(os.path.join(path, RECIPE_STATE)) and args.steps == 0:
        del options["--steps"]
    unused = [name for name, value in options.items() if value is not None]
    if unused:
        raise ValueError(f"{unused[0]} is for runs of `minilm train`: {path} has no {STATE}")
    if os.path.isfile(os.path.join(path, RECIPE_STATE)):
        return _recipe(path, args.steps != 0)
    names, faults = _files(path)
    for fault in faults:
        print(fault)
    if not faults:
        print(f"{path}: as written: {', '.join(names)}")
    return 1 if faults else 0


# --- a run --------------------------------------------------------------------------------------------------------------


def _run(args) -> int:
    from minilm.training.checkpoint import STATE
    from minilm.training.publish import compare, published, read_published
    from minilm.training.replay import planned, read_record, replay

    if args.against is not None:
        refuse_unused(args, ("publish",), "prints the hashes that --against compares: one of the two")
        refuse_unused(args, ("start", *(["steps"] if args.steps else [])), "is for a replay, and --against compares hashes alone")
    if args.steps == 0:
        refuse_unused(args, ("start",), "is for a replay, and --steps 0 replays nothing")
    other = None if args.against is None else read_published("/dev/stdin" if args.against == "-" else args.against)
    record = read_record(args.path)
    replayed = args.steps != 0 and other is None
    if replayed:
        planned(record, args.start, args.steps)  # what cannot be replayed is said before anything is printed
    out = sys.stderr if args.publish else sys.stdout
    names = _checked(record)
    print(f"files    as they were written: {', '.join(names)}", file=out)
    _tell_left(record.folder, {*names, STATE})
    failed = False
    if replayed:
        result = replay(record, args.start, args.steps, lambda line: print(f"replay   {line}", file=sys.stderr))
        failed = result.fault is not None
        _tell(record, result, out)
    own = published(record)
    if args.publish:
        print(json.dumps(own, indent=2))
    if other is not None:
        failed = _against(own, other, compare)
    return 1 if failed else 0


def _checked(record) -> list[str]:
    from minilm.training import kept, log, trace

    names = list(record.checkpoint.files)
    names += [trace.NAME] if record.rows else []
    names += [log.NAME] if record.state.log_sha256 else []
    return [*names, *(os.path.basename(kept.folder_of("", step)) for step in record.kept)]


def _tell(record, result, out) -> None:
    """What a replay showed."""
    from minilm.training import provenance

    if result.fault is None:
        losses = f"losses and norms of {result.rows:,} steps" if result.rows else "no losses (the run has no trace.f64)"
        steps = ", ".join(f"{step:,}" for step in result.compared)
        weights = f"weights and optimizer of step {steps}" if steps else "no weights (no checkpoint lies in these steps)"
        print(f"replay   steps {result.first + 1:,} ... {result.last:,}, bit for bit: {losses}; {weights}", file=out)
        return
    print(f"replay   differs. {result.fault}", file=out)
    if record.state.machine is not None:
        _tell_machines(provenance.differences(record.state.machine, provenance.machine()), out)


def _tell_machines(lines: list[str], out) -> None:
    from minilm.training.provenance import DEPENDS

    if not lines:
        print("machine  the same in all that bits depend on: a fault of minilm, or of this machine", file=out)
    for line in lines:
        print(f"machine  {line}", file=out)
    for line in DEPENDS if lines else ():
        print(f"depends  on {line}", file=out)


def _against(own: dict, other: dict, compare) -> bool:
    """Print the comparison; whether something differs."""
    from minilm.training import provenance

    equal, unequal = compare(own, other)
    for line in equal:
        print(f"equal    {line}")
    for line in unequal:
        print(f"differs  {line}")
    if unequal:
        _tell_machines(provenance.differences(own["machine"], other["machine"]), sys.stdout)
    return bool(unequal)


# --- other files ----------------------------------------------------------------------------------------------------------


def _files(path: str) -> tuple[list[str], list[str]]:
    """The files that were held against a checksum, and what is wrong with them."""
    from minilm import checksums, data

    if os.path.isdir(path):
        sums = [os.path.join(path, checksums.SUMS), *sorted(glob.glob(os.path.join(glob.escape(path), f"*{checksums.SUFFIX}")))]
        tokens = sorted(glob.glob(os.path.join(glob.escape(path), "*.npy")))
    else:
        sums, tokens = [path + checksums.SUFFIX], [path] if path.endswith(".npy") else []
        if not os.path.isfile(path):
            raise FileNotFoundError(f"there is no file or folder {path}")
    names, faults = [], []
    for each in filter(os.path.isfile, sums):
        more, wrong = checksums.differing(each)
        names, faults = names + more, faults + wrong
    for each in tokens:
        fault = data.token_files.fault(each)
        names, faults = [*names, os.path.basename(each)], faults + [fault] * (fault is not None)
    if not names:
        forms = f"a run, a folder with {checksums.SUMS}, a token file, or a file with NAME{checksums.SUFFIX} beside it"
        raise ValueError(f"{path} has no checksums: wanted {forms}")
    _tell_left(path, {*names, *map(os.path.basename, sums)})
    return names, faults


def _tell_left(path: str, covered: set[str]) -> None:
    """Name the files that nothing covers."""
    left = sorted(set(os.listdir(path)) - covered) if os.path.isdir(path) else []
    if left:
        print(f"{path}: without a checksum: {', '.join(left)}", file=sys.stderr)


def _recipe(path: str, replayed: bool) -> int:
    """A recipe's run: its files, and its steps again."""
    from minilm.recipes import folder
    from minilm.recipes.replay import replay
    from minilm.training.checkpoint import Checkpoint

    checkpoint = Checkpoint.read(path, layout=folder.LAYOUT)
    print(f"files    as they were written: {', '.join(checkpoint.files)}")
    _tell_left(path, {*checkpoint.files, folder.LAYOUT.state})
    if not replayed:
        return 0
    print("replay   training from the first weights", file=sys.stderr)
    result = replay(path)
    if result.fault is not None:
        print(f"replay   differs. {result.fault}")
        return 1
    rows = f"{result.rows:,} rows of the log; " if result.rows else ""
    print(f"replay   bit for bit: {rows}{' and '.join(result.arrays)} of step {result.step:,}")
    return 0
