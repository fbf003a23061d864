"""`minilm generate` and `minilm evaluate` of an encoder-decoder that `minilm convert` wrote."""

from __future__ import annotations

import json
import sys

from minilm.cli.model import folder_of, quantize
from minilm.cli.texts import text_of
from minilm.cli.unused import DRAWING, refuse_unused

__all__ = ["evaluate", "generate", "is_encoder_decoder"]

WRITTEN = ("stop", "ignore_eos", "no_unk", "cuda_graphs")  # options of `generate` for texts that go on and on


def is_encoder_decoder(args) -> bool:
    """Whether the folder of a command's arguments holds such a model."""
    from minilm.recipes.converted import is_converted

    return is_converted(folder_of(args))


def generate(args) -> int:
    """Print the target of --prompt: the most probable token at every step, or a search with --beam."""
    from minilm import generation
    from minilm.ops import checks

    reason = "is for a text that is drawn: an encoder-decoder's target is searched, --beam B or greedily"
    refuse_unused(args, (*DRAWING, *WRITTEN), reason)
    if args.samples > 1 and args.beam is None:
        raise ValueError("--samples of an encoder-decoder are the best targets of a search: --beam B")
    source = text_of(args, "prompt")
    if source is None:
        raise ValueError("--prompt TEXT is missing: the source, of which an encoder-decoder writes the target")
    pairs = _opened(args)
    checks.whole("tokens", args.tokens, 1, 2**31)
    most = min(args.tokens, pairs.rules["max_new_tokens"])
    ids, lengths, limit = *pairs.sources([source]), {**pairs.limits, "tokens": most}
    if args.beam is None:
        rows = [(generation.greedy_targets(pairs.model, ids, lengths, **limit)[0], None)]
    else:
        options = {"beams": args.beam, "length_penalty": args.length_penalty}
        hypotheses = generation.beam_targets(pairs.model, ids, lengths, **limit, **options)[0]
        rows = [(each.ids, each.log_probability) for each in hypotheses[: args.samples]]
    texts = [pairs.target_text(row) for row, _ in rows]
    if args.json:
        results = [{"text": text, "log_probability": log_p} for text, (_, log_p) in zip(texts, rows, strict=True)]
        print(json.dumps({"prompt": source, "beam": args.beam, "texts": results}, ensure_ascii=False, indent=2))
        return 0
    for text, (_, log_p) in zip(texts, rows, strict=True):
        print(text)
        if log_p is not None:
            print(f"log probability {log_p:.3f}", file=sys.stderr)
    return 0


def evaluate(args) -> int:
    """Print the loss of the targets in --corpus, a file of pairs, and how many are written to the letter."""
    from minilm.data.pairs import read_file

    if args.corpus is None:
        raise ValueError(
            "--corpus FILE is missing: an encoder-decoder is measured on lines of source<TAB>target, or source_target"
        )
    if args.lines is not None:
        raise ValueError("--lines is for language models: every line of an encoder-decoder's file is a pair")
    if args.errors is not None:
        raise ValueError("--errors is for language models: a file of pairs is UTF-8")
    examples = read_file(args.corpus)
    cut = len(examples) - max(1, len(examples) // 10)
    parts = {"train": slice(0, cut), "validation": slice(cut, None), "all": slice(None)}
    split = args.split or "all"
    examples = examples[parts[split]]
    if not examples:
        raise ValueError(f"{args.corpus}: no pair is left for --split {split}")
    pairs = _opened(args)
    try:
        result = pairs.measure(examples)
    except ValueError as error:  # such as a word that the vocabulary lacks
        raise ValueError(f"{args.corpus}: {error}") from None
    if args.json:
        about = {"run": folder_of(args), "corpus": args.corpus, "split": split}
        print(json.dumps({**about, **result._asdict()}, indent=2))
        return 0
    print(f"pairs       {args.corpus}, {split}: {result.pairs:,}")
    print(f"loss        {result.loss:.4f} nats a token of the targets ({result.tokens:,})")
    print(f"exact       {result.exact:.1%} of the targets, written greedily")
    return 0


def _opened(args):
    from minilm.recipes.converted import open_converted

    pairs = open_converted(folder_of(args), args.device)
    quantize(pairs.model, args)
    return pairs
