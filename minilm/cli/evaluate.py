"""`minilm evaluate`: how well a trained model predicts a text."""

from __future__ import annotations

import functools
import json
from typing import Any, NamedTuple

from minilm.cli import recipe_run, targets
from minilm.cli.device import add_device, require
from minilm.cli.model import add_model, add_quantize, folder_of, load_model
from minilm.cli.several import several
from minilm.cli.targets import is_encoder_decoder

SPLITS = ("validation", "train", "all")


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "evaluate",
        help="a model's loss, perplexity and bits a character; a recipe's metrics",
        description="How well a trained model predicts a text: every token but the first is predicted once, from all before it. "
        "An encoder-decoder that `minilm convert` wrote is measured on a file of pairs, source<TAB>target a line. A run of "
        "`minilm recipe` is measured by its recipe's metrics, on its own data or on those at --data.",
    )
    add_model(parser)
    parser.add_argument(
        "--corpus",
        metavar="FILE|NAME",
        help="the text, or - for stdin, or several with a comma between them; the run's own without it",
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        help="which part of it: that kept for validation (without --split, of the run's own text), that for training, or all "
        "(without --split, of another text, or of a file of other data)",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="of a recipe's run: other data, in the form that `minilm recipe NAME --keys` tells; its own without it",
    )
    parser.add_argument(
        "--lines",
        nargs="?",
        const="\n",
        metavar="TOKEN",
        help="read every line by itself, between two of this token (a new line): for models of names, titles, sentences, which "
        "no text before a line helps",
    )
    parser.add_argument(
        "--errors",
        choices=("strict", "replace", "ignore"),
        help="invalid UTF-8: refuse it, replace it, leave it out (as in training)",
    )
    add_device(parser)
    add_quantize(parser)
    parser.add_argument(
        "--dynamic",
        action="store_true",
        help="dynamic evaluation: after each few tokens the weights learn from them; the folder stays as it is. It says "
        "something else than the loss, and stands by itself",
    )
    parser.add_argument("--dynamic-lr", type=float, metavar="LR", help="the learning rate of --dynamic (0.3)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Evaluate, and print the numbers."""
    from minilm import training
    from minilm.recipes.folder import is_run

    require(args.device)
    dynamic = _dynamic(args)
    if is_run(folder_of(args)):
        return recipe_run.evaluate(args)
    if args.data is not None:
        raise ValueError(f"--data is for a recipe's run, and {folder_of(args)} holds none; a text is --corpus FILE|NAME")
    if is_encoder_decoder(args):
        return targets.evaluate(args)
    loaded = load_model(args)
    part = _part(args, loaded)
    if args.lines is None:
        result = training.evaluate_text(loaded.model, loaded.tokenizer, part.text, by=dynamic)
    else:
        result = training.evaluate_lines(loaded.model, loaded.tokenizer, part.text, args.lines)
    if args.json:
        step = None if loaded.state is None else loaded.state.step
        about = {"run": loaded.folder, "step": step, "corpus": part.source, "split": part.split, "dynamic": args.dynamic}
        print(json.dumps({**about, **result.to_dict()}, indent=2))
    elif result.accuracy is not None:
        print(f"{part.split}  {result.summary('token')}")
    else:
        _print(args, part, result)
    return 0


class _Part(NamedTuple):
    """What is evaluated."""

    text: Any  # a `minilm.data.Text`
    source: str  # what the whole text is called
    split: str  # "all", "train" or "validation"
    fraction: float  # of the whole text, for validation


def _part(args, loaded) -> _Part:
    """The text that the arguments name, or else the run's own, and of it the part that they name."""
    from minilm.checksums import file_hash

    config, state = loaded.config, loaded.state
    if config is None and args.corpus is None:
        raise ValueError(f"{loaded.folder} does not say what text its model was trained on: --corpus FILE|NAME")
    fraction = config.validation if config else 0.1
    source, text = _text(args, config, fraction)
    own = state is not None and file_hash(text.path) == state.corpus_sha256
    if args.corpus is None and not own:
        raise ValueError(f"{text.path} is no longer the text that {loaded.folder} was trained on; --corpus names another one")
    split = args.split or ("validation" if own else "all")
    if split != "all":
        train, validation = text.split(fraction)
        text = train if split == "train" else validation
    return _Part(text, source, split, fraction)


def _print(args, part: _Part, result) -> None:
    """The numbers of a model that predicts the next token."""
    unit = "character" if result.tokens == result.characters else "token"
    validation = f"the last {part.fraction:g} for validation"
    which = {"all": "all", "train": "the part for training", "validation": validation}[part.split]
    lines = "" if args.lines is None else ", line by line"
    print(f"text        {part.source}, {which}{lines}: {result.tokens:,} {unit}s predicted")
    print(f"loss        {result.loss:.4f} nats a {unit}" + ", by dynamic evaluation" * args.dynamic)
    print(f"perplexity  {result.perplexity:.3f}")
    print(f"bits        {result.bits_per_character:.4f} a character")


def _text(args, config, fraction):
    """What the text is called, and the text: several are joined as in training."""
    from minilm import data, training

    source = config.corpus if args.corpus is None else args.corpus
    errors = args.errors or (config.errors if config else "strict")
    names = several(source)
    if len(names) == 1:
        return source, data.text(names[0], errors)
    return source, data.text(training.corpora.as_one(names, errors, fraction).path)


def _dynamic(args):
    """What measures the loss instead of `training.evaluate`, with --dynamic; ValueError where it cannot."""
    from minilm import training

    if not args.dynamic:
        if args.dynamic_lr is not None:
            raise ValueError(f"--dynamic-lr is for --dynamic, got --dynamic-lr {args.dynamic_lr:g} alone")
        return None
    if args.lines is not None or is_encoder_decoder(args):
        raise ValueError("--dynamic is for language models that read a text on and on, not for lines or pairs")
    if args.quantize:
        raise ValueError(f"--dynamic moves float32 weights, and --quantize {args.quantize} has none: give one of them")
    options = {} if args.dynamic_lr is None else {"lr": args.dynamic_lr}
    return functools.partial(training.evaluate_dynamic, **options)
