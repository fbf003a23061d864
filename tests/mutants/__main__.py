"""`python -m tests.mutants`: see `tests.mutants`."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence

from tqdm import tqdm

from minilm.cli import exit_status
from tests.mutants.fault import Fault, stale
from tests.mutants.faults import AREAS, FAULTS
from tests.mutants.planting import Outcome, copied_tree, failing, try_fault

WANTED = 0.95  # the share that is to be caught
SECONDS = 300  # most that the tests of one fault may take


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Plant faults, and count those the tests catch.")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}; all without")
    parser.add_argument("--list", action="store_true", help="print the faults, and plant none")
    parser.add_argument("--name", metavar="TEXT", help="only faults whose name holds this")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of them, by chance")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample")
    parser.add_argument("--json", metavar="FILE", help="write what came of each fault")
    args = parser.parse_args(words)
    for name in args.areas:
        if name not in AREAS:
            parser.error(f"there is no area {name!r}; there are {', '.join(AREAS)}")
    return args


def chosen(args: argparse.Namespace) -> list[Fault]:
    """The faults that the arguments name."""
    faults = [fault for fault in FAULTS if not args.areas or fault.area in args.areas]
    faults = [fault for fault in faults if not args.name or args.name in fault.name]
    if args.sample is not None:
        faults = random.Random(args.seed).sample(faults, min(args.sample, len(faults)))
    return faults


def plant(faults: Sequence[Fault], seconds: float = SECONDS) -> dict[Fault, Outcome]:
    """What came of each fault."""
    outcomes: dict[Fault, Outcome] = {}
    with copied_tree() as root:
        for fault in tqdm(faults, unit="fault", disable=None):
            wrong = stale(fault, root)
            outcomes[fault] = Outcome("stale", wrong, 0.0) if wrong else try_fault(fault, root, seconds)
            if outcomes[fault].result != "caught":
                tqdm.write(f"{outcomes[fault].result}: {fault.area}: {fault.name}", file=sys.stderr)
        always = failing(sorted({outcome.test for outcome in outcomes.values() if outcome.result == "caught"}), root)
    for fault, outcome in outcomes.items():
        if outcome.result == "caught" and outcome.test in always:  # it says nothing of the fault
            outcomes[fault] = outcome._replace(result="broken", test=f"{outcome.test} fails without the fault too")
    return outcomes


def report(outcomes: dict[Fault, Outcome]) -> tuple[str, bool]:
    """A table by area, what was not caught, and whether all is well: enough caught, and every fault planted."""
    lines, rows = [], [*dict.fromkeys(fault.area for fault in outcomes), "all"]
    for name in rows:
        results = [outcome.result for fault, outcome in outcomes.items() if name in (fault.area, "all")]
        caught = results.count("caught")
        lines.append(f"{name:12} {caught:4} of {len(results):4}   {caught / len(results):6.1%}")
    for fault, outcome in outcomes.items():
        if outcome.result != "caught":
            why = fault.unseen or outcome.test
            lines.append(f"{outcome.result}: {fault.area}: {fault.name} ({fault.file})" + (f": {why}" if why else ""))
    results = [outcome.result for outcome in outcomes.values()]
    return "\n".join(lines), results.count("caught") >= WANTED * len(results) and not {"stale", "broken"} & set(results)


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0 where all is well."""
    return exit_status("mutants", lambda: _run(words))


def _run(words: Sequence[str] | None) -> int:
    args = arguments(words)
    faults = chosen(args)
    if args.list:
        for fault in faults:
            print(f"{fault.area:12} {fault.name}  [{fault.file}; {' '.join(fault.tests)}]")
        print(f"{len(faults)} faults")
        return 0
    if not faults:
        print("no fault has such a name", file=sys.stderr)
        return 2
    outcomes = plant(faults)
    text, well = report(outcomes)
    print(text)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump([{**fault._asdict(), **outcome._asdict()} for fault, outcome in outcomes.items()], file, indent=1)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
