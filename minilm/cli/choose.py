"""`minilm choose`: which model fits a task, data and a machine."""

from __future__ import annotations

import argparse
import json
import sys

from minilm.cli.unused import refuse_unused

DESCRIPTION = """\
Say which of the models fits TASK, with its size, its memory and its time, and the command that trains it. The time is estimated
from rates of this machine, which are measured at first (some seconds) and kept. How much data there is comes from --data, or from
--examples, --length and --vocabulary. What was assumed is printed too.
"""


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "choose",
        help="which model fits a task, data and this machine",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", nargs="?", metavar="TASK", help="what the model is for; without it: what there is")
    parser.add_argument("--data", metavar="PATH", help="a text file, or a folder of them, to be counted; - is the standard input")
    parser.add_argument("--examples", type=int, metavar="N", help="how many texts, pairs or sentences there are (1)")
    parser.add_argument("--length", type=int, metavar="L", help="tokens of an example (30; for language-model of all text)")
    parser.add_argument("--vocabulary", type=int, metavar="V", help="different tokens (10000; 100 for language-model)")
    parser.add_argument("--minutes", type=float, default=30.0, metavar="M", help="minutes of training (30)")
    parser.add_argument("--memory", type=float, metavar="GIB", help="memory that training may use (half of the machine's)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (the default), or the one --machine describes")
    parser.add_argument("--machine", metavar="FILE", help="rates of another machine, as --save-machine writes them")
    parser.add_argument("--save-machine", metavar="FILE", help="write this machine's rates")
    parser.add_argument("--measure", action="store_true", help="measure the machine again")
    parser.add_argument("--all", action="store_true", help="list all sizes, not the best of each family alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Choose and tell; 1 where nothing fits."""
    from minilm import planner

    _refuse_unused(args)
    if args.task is None and not args.save_machine:
        for name, task in planner.TASKS.items():
            models = dict.fromkeys(each.model for each in planner.candidates(name, planner.Data(1000, 30_000, 1000)))
            print(f"{name:<16}{', '.join(models)} ({task.unit}s)")
        return 0
    memory = None if args.memory is None else args.memory * 2**30
    if args.task is not None:  # what is wrong is refused before anything is measured
        planner.require_task(args.task)
        data = _data(args)
        planner.check_limits(data, args.minutes, memory)
    machine = machine_of(args)
    if args.save_machine:
        machine.save(args.save_machine)
    if args.task is None:
        print(machine.summary())
        return 0
    where = args.data or "PATH"
    advice = planner.choose(args.task, data, machine, minutes=args.minutes, memory=memory, where=where)
    if args.json:
        print(json.dumps(_plain(advice), indent=2, ensure_ascii=False))
    else:
        _print(advice, args.all)
    return 0 if advice.best is not None else 1


def _refuse_unused(args) -> None:
    """ValueError for options of a choice where none is made, and of a measurement where a file has its results."""
    if args.task is None:
        refuse_unused(args, ("data", "examples", "length", "vocabulary", "minutes", "memory", "all", "json"), "is for a TASK")
        if not args.save_machine:
            refuse_unused(args, ("device", "machine", "measure"), "is for a TASK, or for --save-machine")
    if args.machine is not None:
        refuse_unused(args, ("measure",), f"measures this machine, and --machine {args.machine} has another's rates")


def machine_of(args):
    """The machine that --machine names, or this one, measured if need be."""
    from minilm import planner

    if args.machine is not None:
        return planner.Machine.load(args.machine)
    if args.device != "cpu":
        raise ValueError(f"--device {args.device}: only the cpu can be measured here; --machine FILE tells of another's rates")
    return planner.machine(args.measure, lambda: print("measuring this machine, some seconds", file=sys.stderr, flush=True))[0]


def _data(args):
    from minilm import planner

    counts = (args.examples, args.length, args.vocabulary)
    if args.data is not None:
        if any(each is not None for each in counts):
            raise ValueError("--data counts examples, length and vocabulary: give it or them")
        return planner.data_of(args.task, args.data)
    if args.examples is None and args.length is None:
        raise ValueError("how much data is there? --data PATH, or --examples N (and --length L, --vocabulary V)")
    language = args.task == "language-model"
    examples = 1 if args.examples is None else args.examples
    length = 30 if args.length is None else args.length
    vocabulary = args.vocabulary if args.vocabulary is not None else 100 if language else 10_000
    return planner.Data(examples, examples * length, vocabulary)


def _plain(advice) -> dict:
    """As JSON can hold it."""
    return {
        **advice._asdict(),
        "data": advice.data._asdict(),
        "best": None if advice.best is None else advice.best._asdict(),
        "others": [each._asdict() for each in advice.others],
    }


def _print(advice, everything: bool) -> None:
    best = advice.best
    if best is None:
        print("nothing fits; the nearest:")
    else:
        print(f"{best.model}: {best.remark}")
        print(f"  {best.command}")
        print(
            f"  {best.parameters:,} parameters, {in_bytes(best.memory)} of memory, {in_seconds(best.step)} a step, "
            f"{best.tokens_per_second:,.0f} tokens a second"
        )
        print(f"  {best.passes:,.1f} passes over the data in {advice.minutes:g} minutes")
    print()
    rows = [("model", "size", "parameters", "memory", "a step", "tokens/s", "passes", "score", "")]
    shown, seen = ([] if best is None else [best]), set() if best is None else {best.model}
    for each in advice.others:
        if everything or each.model not in seen:
            shown.append(each)
            seen.add(each.model)
    for each in shown:
        size = " ".join(str(value) for key, value in each.settings.items() if value != each.model)
        numbers = (in_seconds(each.step), f"{each.tokens_per_second:,.0f}", f"{each.passes:,.1f}", f"{each.score:.2f}")
        rows.append((each.model, size, f"{each.parameters:,}", in_bytes(each.memory), *numbers, each.why_not))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        left = [
            cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join([*left[:-1], row[-1]]).rstrip())
    print("\nassumed:")
    for line in advice.assumed:
        print(f"  {line}")


def in_bytes(number: float) -> str:
    """A number of bytes as text: "1.5 GiB"."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"


def in_seconds(seconds: float) -> str:
    """A time as text: "2.0 s", "3.1 ms"."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"
