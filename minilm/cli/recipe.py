"""`minilm recipe`: one task that language models are used for, from data to a result that a person can look at."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys

from minilm.cli.device import add_device, require
from minilm.cli.recipe_run import metric_rows, print_rows
from minilm.cli.requeue import add_requeue, requeued
from minilm.files import new_folder

DESCRIPTION = """\
Train a model for a task and measure it, on built-in data, or on real data with --data PATH. Without a name: what there is.

The run's folder holds config.json, model.safetensors and the vocabularies, and beside them recipe.json and
optimizer.safetensors, from which --resume goes on, and metrics.json, log.csv, loss.png, samples.txt and the recipe's own
pictures. Ctrl-C writes a checkpoint, measures and ends. `minilm try DIR` lets you put your own input to the model, and
`minilm evaluate DIR` measures it again, on its own data or on those at --data PATH.

sentiment, tag, pos, roles, intents, extract and answer's reader start their words from a file of word2vec, GloVe or fastText
with --set vectors=FILE: embedding_size is the file's; its vectors_most commonest words (100,000) are known beside those of the
data; freeze_vectors=true keeps the vectors as they are. The model in the run's folder has them, and the file is needed no more.
"""


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "recipe",
        help="train and measure a model for a task",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the recipe; without it: what there is")
    parser.add_argument("--data", metavar="PATH", help="real data, as `minilm recipe NAME --keys` tells; - is the standard input")
    parser.add_argument(
        "--bad-rows",
        choices=("refuse", "skip"),
        help="rows of --data that cannot be read: end at the first (refuse), or leave out and count them",
    )
    budget = parser.add_argument_group("when to stop (one of them)")
    budget.add_argument("--minutes", type=float, metavar="M")
    budget.add_argument("--steps", type=int, metavar="N")
    parser.add_argument("--out", metavar="DIR", help="the run's folder; runs/NAME-N without it")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --out, with its settings and data, bit for bit on such a processor and BLAS",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    add_requeue(parser)
    parser.add_argument("--seed", type=int, metavar="S", help="seed of built-in data, first weights and dropout (0)")
    add_device(parser)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="a setting; may be repeated")
    parser.add_argument("--keys", action="store_true", help="print what the recipe does and its settings, and end")
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Run a recipe, or tell of them."""
    from minilm import distributed

    with distributed.job():
        return _run(args)


def _run(args) -> int:
    from minilm import distributed, recipes

    if args.name is None:
        for name in recipes.RECIPES:
            print(f"{name:<12}{recipes.load(name).summary}")
        return 0
    kind = recipes.load(args.name)
    bad_rows = {} if args.bad_rows is None else {"bad_rows": args.bad_rows}
    recipe = kind(**{**_settings(args.sets), **bad_rows})
    recipe.limit(minutes=args.minutes, steps=args.steps)
    if args.keys:
        print(f"{kind.__doc__.strip()}\n")
        for key, value in recipe.options.items():
            names = ["none" if choice is None else str(choice) for choice in kind.among().get(key, ())]
            among = f"   one of {', '.join(names)}" if names else ""
            print(f"{key} = {'none' if value is None else value}{among}")
        return 0
    args.resume = requeued(args, "recipe.json")
    if args.resume and args.out is None:
        raise ValueError("--resume needs --out DIR, the run to go on with")
    require(args.device)
    out = args.out
    if out is None:
        out = distributed.first_alone(lambda: new_folder(os.path.join("runs", args.name)))
    try:
        progress = False if args.quiet else None
        options = {"seed": args.seed, "device": args.device, "progress": progress}
        result = recipe.run(args.data, out=out, overwrite=args.overwrite, resume=args.resume, **options)
    finally:
        if args.out is None:
            with contextlib.suppress(OSError):
                os.rmdir(out)  # empty, where nothing was learned
    if distributed.current().rank:
        return 0 if result.stopped is None else 128 + result.stopped
    if args.json:
        print(json.dumps({"recipe": args.name, **result._asdict()}, ensure_ascii=False))
    else:
        _print(recipe, result)
    if result.stopped is not None:
        how = f"what was learned is in {result.folder}; `minilm recipe {args.name} --out {result.folder} --resume` goes on"
        print(f"minilm: stopped after {result.steps:,} steps; {how}", file=sys.stderr)
        return 128 + result.stopped
    return 0


def _print(recipe, result) -> None:
    from minilm.recipes.folder import sample_lines

    print("\n".join(sample_lines(result.samples)), end="\n\n")
    rows = metric_rows(recipe, result)
    rows["training"] = f"{result.steps:,} steps, {result.seconds:.1f} s"
    rows["run"] = result.folder
    rows["try it"] = f"minilm try {result.folder}"
    print_rows(rows)


def _settings(sets) -> dict:
    from minilm.training.settings import parse_set

    settings = {}
    for text in sets:
        for key, value in parse_set(text).items():
            if isinstance(value, dict):
                raise ValueError(f"--set {text}: a recipe's settings have no dots in their names")
            settings[key] = None if value == "none" else value
    if None not in (settings.get("minutes"), settings.get("steps")):
        raise ValueError("--set minutes and --set steps both say when to stop: give one of them")
    return settings
