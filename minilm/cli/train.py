"""`minilm train`: from a text to a folder with a trained model."""

from __future__ import annotations

import argparse
import os
import sys

from minilm.cli.requeue import add_requeue, requeued
from minilm.cli.several import several
from minilm.training.settings import CELLS, MODELS
from minilm.training.starting_points import RECIPES

DESCRIPTION = """\
Train a language model on a text. Without any option: a character LSTM on the built-in corpus, which takes about a minute.

The run's folder holds config.json, model.safetensors and tokenizer.json, and beside them training.json (how far the run is),
optimizer.safetensors, log.csv, loss.png and sample.txt, and trace.f64 (each step's rate, loss and norm: `minilm verify`).
Ctrl-C writes a checkpoint and ends; --resume goes on from it.
"""

EPILOG = """\
Settings, later ones win: the recipe, then --config, then --set, then the options. Examples:

  minilm train --corpus book.txt --minutes 3
  minilm train --corpus book.txt,letters.txt --mixture 3,1
  minilm train --corpus book.txt --recipe words --set tokenizer.vocab_size=5000
  minilm train --model gru --set model.hidden_size=512 --set optimizer.lr=0.002 --steps 2000
  minilm train --init-from openai-community/gpt2 --corpus book.txt --steps 200
  minilm train --out runs/stories-lstm-1 --resume
  mpiexec -n 4 minilm train --corpus book.txt --out runs/four     the same bits for any -n (pip: minilm[mpi])

Minutes are of training alone: time to read the text, to compile the kernels and for the last evaluation does not count.
The keys of --set and --config are those of minilm.training.RunConfig; `minilm train --keys` lists them with the recipe's values.
"""


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "train",
        help="train a model on a text",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--corpus",
        action="append",
        metavar="FILE|NAME",
        help="a UTF-8 text, - for standard input, or a name of `minilm corpus list` (stories); several with a comma between "
        "them, or by repeating the option",
    )
    parser.add_argument(
        "--mixture", metavar="W,W", help="how often each of several texts is drawn, such as 3,1; as one text without it"
    )
    parser.add_argument("--model", choices=MODELS, help="lstm without it; gpt, llama and bert start from their recipes")
    parser.add_argument(
        "--init-from",
        metavar="FOLDER|NAME",
        help="go on with the weights and the tokenizer of a run, or of a pretrained model, at a tenth of the recipe's "
        "learning rate if nothing is said",
    )
    parser.add_argument("--recipe", metavar="NAME", help=f"what to start from: {', '.join(RECIPES)}")
    parser.add_argument("--out", metavar="DIR", help="the run's folder; runs/CORPUS-MODEL-N without it")
    parser.add_argument("--config", metavar="FILE.toml", help="settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="a setting; may be repeated")
    budget = parser.add_argument_group("when to stop (one of them)")
    budget.add_argument("--steps", type=int, metavar="N")
    budget.add_argument("--minutes", type=float, metavar="M")
    budget.add_argument("--epochs", type=float, metavar="E", help="passes over the text")
    parser.add_argument("--seed", type=int, metavar="S", help="seed of the first weights, dropout and the order of the text (0)")
    parser.add_argument("--device", metavar="cpu|cuda")
    parser.add_argument(
        "--errors", metavar="strict|replace|ignore", help="invalid UTF-8: refuse it, replace it, leave it out (strict)"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --out: bit for bit on such a processor and BLAS (minilm info)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    add_requeue(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--keys", action="store_true", help="print the settings that this command would use, and end")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Train, and print how well it went."""
    from minilm import distributed

    with distributed.job():
        return _run(args)


def _run(args) -> int:
    from minilm import distributed
    from minilm.training import settings

    args.resume = requeued(args, "training.json")
    layers = {"file": args.config, "sets": args.sets, "options": _options(args)}
    if args.resume and args.overwrite:
        raise ValueError("--resume goes on with a run, --overwrite replaces it: one of them")
    if not args.resume:
        config = settings.configuration(args.recipe, **layers)
    else:
        if args.out is None:
            raise ValueError(f"--resume needs --out DIR, the run to go on with{_newest()}")
        from minilm.training.train import stored_config

        config = settings.resumed(stored_config(args.out), args.recipe, **layers)
    if args.keys:
        if distributed.current().rank:
            return 0
        for key, value in settings.flattened(config.to_dict()).items():
            print(f"{key} = {_toml(value)}")
        return 0
    return _train(config, args)


def _train(config, args) -> int:
    from minilm import distributed, training

    try:
        progress = False if args.quiet else None
        result = training.train(config, out=args.out, resume=args.resume, overwrite=args.overwrite, progress=progress)
    except training.Stopped as stop:
        how = f"minilm train --out {stop.folder} --resume"
        if distributed.current().rank == 0:
            print(f"\nminilm: {stop}, and saved; `{how}` goes on", file=sys.stderr)
        return 128 + stop.signal
    if distributed.current().rank:
        return 0
    state, evaluation = result.state, result.evaluation
    unit = state.config.tokenizer.kind if state.config.tokenizer.kind in ("character", "word") else "token"
    if result.sample is not None:
        print(f"{result.sample}\n")
    print(f"validation  {evaluation.summary(unit)}")
    rate = state.tokens / state.seconds if state.seconds else 0.0
    print(f"training    {state.step:,} steps, {state.epoch:.2f} epochs, {state.seconds:.1f} s, {rate:,.0f} {unit}s/s")
    if state.skipped:
        print(f"skipped     {state.skipped:,} steps, whose loss or gradient was not finite")
    print(f"run         {result.folder}")
    return 0


def _options(args) -> dict:
    """The options that were given, as settings."""
    names = ("corpus", "init_from", "steps", "minutes", "epochs", "seed", "device", "errors")
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.corpus is not None:
        corpora = [name for each in args.corpus for name in several(each)]
        options["corpus"] = corpora[0] if len(corpora) == 1 else corpora
    if args.mixture is not None:
        try:
            options["mixture"] = [float(weight) for weight in args.mixture.split(",")]
        except ValueError:
            raise ValueError(f"--mixture wants numbers with a comma between them, such as 3,1, got {args.mixture!r}") from None
    if args.model is not None:
        options["model"] = {"model_type": "rnn_lm", "cell": args.model} if args.model in CELLS else {"model_type": args.model}
    return options


def _newest() -> str:
    """The run under runs/ that was last written to, for a hint."""
    from minilm.training.checkpoint import STATE
    from minilm.training.train import RUNS

    states = [os.path.join(RUNS, name, STATE) for name in (os.listdir(RUNS) if os.path.isdir(RUNS) else [])]
    states = [path for path in states if os.path.isfile(path)]
    return f"; the newest here is {os.path.dirname(max(states, key=os.path.getmtime))}" if states else ""


def _toml(value) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False)
    return repr(list(value) if isinstance(value, tuple) else value)
