"""`minilm explain`: what a model expected of a text, where it looked, what it kept, and which tokens moved it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os

from minilm.cli.model import add_model, folder_of, load_model
from minilm.cli.texts import add_text, text_of
from minilm.cli.unused import refuse_unused

DESCRIPTION = """\
Explain what a trained model makes of a text, as one HTML file that opens offline: each token's surprisal, gradient times input
and integrated gradients; of a Transformer every head's attention map, attention rollout and the logit lens; of a recurrent
model its gates and cells; what heads and networks, or gates, cause; and the nearest tokens in the embedding. Of a run of
`minilm recipe`, of an encoder-decoder that was converted, of a published BERT that labels texts or tokens or answers questions:
what each word did for each decision, a label, a tag, a word of a translation, a span, an answer, and what else the decision is
made of.
"""
OF_LANGUAGE_MODELS = ("corrupted", "against", "steps", "attribute", "top", "neighbours")  # options


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "explain",
        help="see what a model expected and where it looked",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='Example: minilm explain runs/stories-lstm-1 --text "The fox ran home." --out fox.html',
    )
    add_model(parser)
    add_text(parser, "text", "what is explained")
    parser.add_argument("--out", metavar="FILE.html", help="the page (explain.html without --png and --json)")
    parser.add_argument("--png", metavar="FOLDER", help="write plots into this folder (needs matplotlib)")
    parser.add_argument("--json", metavar="FILE", help="write all numbers into this file; - prints them")
    parser.add_argument(
        "--attribute",
        choices=("auto", "all", "last"),
        default="auto",
        help="which predictions get integrated gradients: all, the last, or all if it takes no more than about a minute (auto)",
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="gradients of each; as many as it takes without it, up to about 2,048"
    )
    parser.add_argument("--top", type=int, default=10, metavar="N", help="expected tokens to show (10)")
    parser.add_argument("--neighbours", type=int, default=8, metavar="N", help="nearest tokens to show (8)")
    parser.add_argument(
        "--answer",
        metavar="TOKEN",
        help="the last prediction that causes are found for (the most probable); of a recipe's run an answer (its own)",
    )
    parser.add_argument("--foil", metavar="TOKEN", help="why the answer and not this: a token, label, tag, target or span")
    parser.add_argument("--corrupted", metavar="TEXT", help="another text of as many tokens, to patch activations into")
    parser.add_argument("--against", metavar="DIR", help="another model with the same tokenizer, to compare with")
    parser.add_argument(
        "--along",
        action="store_true",
        help="follow head scores and linear probes through the checkpoints that the run kept (train with --set keep_every=N): a "
        "table; --out FILE.csv, --json FILE and --png FOLDER write it, --text names other text than the validation part",
    )
    parser.set_defaults(run=run)


def run(args) -> int:
    """Write the page, the plots and the numbers, and print a summary."""
    from minilm.hub import model_folder
    from minilm.quantized.storing import refuse_quantized_folder

    folder = folder_of(args)
    folder = folder if os.path.exists(os.path.expanduser(folder)) else model_folder(folder)  # a name on the Hub
    refuse_quantized_folder(folder, "explained")
    text = text_of(args, "text")
    _check_places(args.out, args.json, args.png)
    if args.along:
        from minilm.cli.along import explain_along

        if is_recipe(folder):
            raise ValueError(f"--along follows a run of `minilm train`, and {folder} holds a model of a task")
        return explain_along(args, folder, text)
    if text is None:
        raise ValueError("--text TEXT is missing: what is to be explained")
    out = args.out if args.out or args.png or args.json else "explain.html"
    _check(args)
    return _explain_recipe(args, folder, text, out) if is_recipe(folder) else _explain_language_model(args, text, out)


def _check(args) -> None:
    """Refuse what cannot be done now, not when all is computed."""
    from minilm.ops import checks

    for name, value in (("top", args.top), ("neighbours", args.neighbours), ("steps", args.steps)):
        if value is not None:
            checks.whole(name, value, 1, 2**20)
    if args.png and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--png: plots need matplotlib: pip install 'minilm[plots]'")


def _explain_language_model(args, text: str, out: str | None) -> int:
    """What a language model expected of a text, and why."""
    from minilm import interpret

    loaded = load_model(args)
    explanation = interpret.explain(
        loaded.model,
        loaded.tokenizer,
        text,
        attribute=args.attribute,
        steps=args.steps,
        top=args.top,
        neighbours=args.neighbours,
        answer=_token(loaded.tokenizer, "--answer", args.answer),
        foil=_token(loaded.tokenizer, "--foil", args.foil),
        corrupted=args.corrupted,
        against=_other(args.against, loaded),
    )
    numbers = None if args.json == "-" else args.json
    written = _written(explanation, out, numbers, interpret.write_page)
    if args.png:
        try:
            written += interpret.write_plots(explanation, args.png)
        except ImportError as error:
            raise ValueError(f"--png: {error}") from None
    if args.json == "-":
        print(explanation.to_json())
        return 0
    _print_summary(explanation, args.against)
    for path in written:
        print(f"wrote       {path}")
    return 0


def _print_summary(explanation, against: str | None) -> None:
    """The explanation in some lines; `against` is the other model's folder."""
    import numpy as np

    surprisal, complete = explanation.surprisal, explanation.integrated_gradients
    count = int(np.isfinite(surprisal.bits).sum())
    print(f"tokens      {len(explanation.ids)}, of which {count} predicted")
    if count:
        print(f"surprisal   {surprisal.total:.2f} bits, {surprisal.mean:.4f} a token, perplexity {surprisal.perplexity:.3f}")
        worst = int(np.nanargmax(surprisal.bits))
        print(f"most        {explanation.tokens[worst]!r} at {worst}, {surprisal.bits[worst]:.2f} bits")
    print(
        f"integrated  of {len(complete.places)} predictions: attributions sum to the difference of outputs within "
        f"{np.abs(complete.errors).max():.1e} nats ({complete.steps.max()} gradients at most)"
    )
    causes = explanation.causes
    layer, column = np.unravel_index(np.abs(causes.ablation).argmax(), causes.ablation.shape)  # of (L, C)
    lost, how = -causes.ablation[layer, column], "held at its mean" if explanation.attention is None else "without it"
    print(f"cause       {causes.columns[column]} of layer {layer + 1} does most for the last prediction: {lost:+.3f} nats {how}")
    if explanation.comparison is not None:
        other = explanation.comparison.other
        print(f"against     {other.total:.2f} bits, {other.mean:.4f} a token, perplexity {other.perplexity:.3f}: {against}")
    for name in sorted(explanation.lacks):
        print(f"without     {name}: {explanation.lacks[name]}")


def _explain_recipe(args, folder: str, text: str, out: str | None) -> int:
    """The decisions of a recipe's model about a text."""
    from minilm import interpret, recipes

    refuse_unused(args, OF_LANGUAGE_MODELS, f"is for a language model, and {folder} holds a model of a task")
    decisions = recipes.open_run(folder).explain(text, answer=args.answer, foil=args.foil)
    numbers = None if args.json == "-" else args.json
    written = _written(decisions, out, numbers, interpret.write_page)
    written += [] if args.png is None else interpret.write_plots(decisions, args.png)
    if args.json == "-":
        print(decisions.to_json())
        return 0
    print(f"answer      {decisions.answer}")
    for label, decision in zip(
        decisions.labels or [each.answer for each in decisions.decisions], decisions.decisions, strict=True
    ):
        strongest = max(range(len(decision.values)), key=lambda s, values=decision.values: abs(values[s]))
        most = f"most by {decisions.pieces[strongest].strip()!r} {decision.values[strongest]:+.3f}"
        print(f"decision    {label}: {decision.measure} = {decision.output:.3f}, {most}")
    errors = [abs(decision.error) for decision in decisions.decisions if decision.steps]
    if errors:
        print(f"integrated  attributions sum to the difference of outputs within {max(errors):.1e}")
    for path in written:
        print(f"wrote       {path}")
    return 0


def _check_places(out: str | None, numbers: str | None, png: str | None) -> None:
    """OSError or ValueError where the page, the numbers or the plots cannot be written: now, not when all is computed."""
    for path in (out, numbers):
        if path and path != "-" and not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise FileNotFoundError(f"there is no folder {os.path.dirname(os.path.abspath(path))} to write {path} into")
        if path and os.path.isdir(path):
            raise IsADirectoryError(f"{path} is a folder, and a file is to be written")
    if out and numbers and os.path.abspath(out) == os.path.abspath(numbers):
        raise ValueError(f"--out and --json both name {out}: one of them would replace the other")
    if png and os.path.isfile(png):
        raise NotADirectoryError(f"--png: {png} is a file, wanted a folder for the plots")


def _written(explanation, out: str | None, numbers: str | None, write_page) -> list[str]:
    """Write the page and the numbers where they are wanted; the paths."""
    from minilm.files import written_whole

    if out:
        write_page(explanation, out)
    if numbers:
        with written_whole(numbers) as file:
            file.write(explanation.to_json().encode("utf-8", "replace"))
    return [path for path in (out, numbers) if path]


def _other(folder: str | None, loaded):
    """The model of --against; ValueError if it does not cut texts as the first one does."""
    if folder is None:
        return None
    from minilm.training import load_run

    other = load_run(folder)
    if other.tokenizer != loaded.tokenizer:
        raise ValueError(f"--against: {folder} has another tokenizer, so that the two models cannot be compared token by token")
    return other.model


def _token(tokenizer, option: str, text: str | None) -> int | None:
    """The id of a text that is one token."""
    if text is None:
        return None
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(f"{option} must be one token of this model's tokenizer, got {text!r}, which is {len(ids)}")
    return int(ids[0])


def is_recipe(folder: str) -> bool:
    """Whether a folder answers texts: a recipe's run, an encoder-decoder of `minilm convert`, a published model of a task."""
    from minilm.recipes.converted import is_converted
    from minilm.recipes.published import is_task

    if is_converted(folder) or is_task(folder):
        return True
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            return "recipe" in json.load(file)
    except (OSError, ValueError, TypeError):
        return False  # what else may be wrong, load_run says
