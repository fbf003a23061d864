"""`minilm generate`: let a trained model write."""

from __future__ import annotations

import json
import sys

from minilm.cli import targets
from minilm.cli.device import add_device, require
from minilm.cli.model import add_model, add_quantize, load_model
from minilm.cli.targets import is_encoder_decoder
from minilm.cli.texts import add_text, text_of
from minilm.cli.unused import refuse_unused_of_writing


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "generate",
        help="let a trained model write",
        description="Continue a prompt with the model in a run's folder, or with published weights. The same seed gives the same "
        "text, on a GPU as on the CPU but for what rounding decides. Of the options that shape the distribution, the temperature "
        "acts first, then top-k, then top-p. Of an encoder-decoder that `minilm convert` wrote, --prompt is the "
        "source, and its target is printed, greedy or by --beam.",
    )
    add_model(parser)
    add_text(parser, "prompt", "what the text begins with (a new line without it)")
    parser.add_argument("--tokens", type=int, default=200, metavar="N", help="tokens to draw at most (200)")
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help="below 1 plays safe, above 1 dares (1)")
    parser.add_argument("--top-k", type=int, metavar="K", help="draw from the K most probable tokens")
    parser.add_argument("--top-p", type=float, metavar="P", help="draw from the fewest tokens that have probability P together")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the random numbers (0)")
    parser.add_argument("--greedy", action="store_true", help="always take the most probable token")
    parser.add_argument("--samples", type=int, default=1, metavar="N", help="texts to write, drawn side by side (1)")
    parser.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; may be given several times")
    parser.add_argument(
        "--ignore-eos", action="store_true", help="go on after a token that ends texts, as a pretrained model's folder names them"
    )
    parser.add_argument("--no-unk", action="store_true", help="never draw the token for unknown words")
    parser.add_argument("--beam", type=int, metavar="B", help="search the most probable text with B beams; draws nothing")
    parser.add_argument(
        "--length-penalty", type=float, default=0.0, metavar="A", help="with --beam: divide log P by the length to this power (0)"
    )
    add_device(parser)
    add_quantize(parser)
    parser.add_argument(
        "--cuda-graphs", action="store_true", help="with --device cuda: launch a token's kernels as one CUDA graph"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Print the prompt and what follows it, piece by piece as it is drawn."""
    from minilm import generation
    from minilm.generation.loop import end_ids
    from minilm.ops import checks
    from minilm.ops.sampling import checked_options

    checked_options(args.temperature, args.top_k, args.top_p)  # before the model is loaded
    checks.whole("samples", args.samples, 1, 2**31)
    checks.whole("tokens", args.tokens, 0, 2**63)
    checks.whole("seed", args.seed, 0, 2**64)
    refuse_unused_of_writing(args)
    require(args.device)
    if is_encoder_decoder(args):
        return targets.generate(args)
    if args.cuda_graphs and (args.device != "cuda" or args.beam is not None):
        raise ValueError("--cuda-graphs wants --device cuda, and draws: it goes without --beam")
    args.prompt = text_of(args, "prompt") or ""
    loaded = load_model(args)
    model, tokenizer = loaded.model, loaded.tokenizer
    unknown = tokenizer.unk_token_id
    shared = {
        "suppress": () if unknown is None or not args.no_unk else (unknown,),
        "end": () if args.ignore_eos else end_ids(model),
    }
    if args.beam is not None:
        return _beam(args, model, tokenizer, shared)
    options = {
        "temperature": args.temperature,
        "top_k": args.top_k,
        "top_p": args.top_p,
        "seed": args.seed,
        "greedy": args.greedy,
        "stop": args.stop,
        **shared,
    }
    if args.cuda_graphs:
        options["cuda_graphs"] = True
    if args.json:
        texts = generation.generate_many(model, tokenizer, args.prompt, args.samples, args.tokens, **options)
        print(json.dumps({"prompt": args.prompt, **options, "tokens": args.tokens, "texts": texts}, ensure_ascii=False, indent=2))
    elif args.samples > 1:
        texts = generation.generate_many(model, tokenizer, args.prompt, args.samples, args.tokens, **options)
        for number, text in enumerate(texts, 1):
            print(f"--- {number} of {args.samples}\n{args.prompt}{text}")
    else:
        pieces = generation.stream(model, tokenizer, args.prompt, args.tokens, **options)
        try:
            _write(args.prompt)
            for piece in pieces:
                _write(piece)
        finally:
            _write("\n")
    return 0


def _beam(args, model, tokenizer, options) -> int:
    from minilm import generation
    from minilm.generation.text import Continuation, prompt_ids

    ids = prompt_ids(tokenizer, args.prompt)  # (T,)
    options = {**options, "length_penalty": args.length_penalty, "vocab_size": tokenizer.vocab_size}
    hypotheses = generation.beam_search(model, ids, args.tokens, args.beam, **options)
    texts = []
    for hypothesis in hypotheses[: args.samples]:
        text = Continuation(tokenizer, args.prompt, ids, tuple(args.stop or ()), options["end"])
        texts.append("".join([*map(text.feed, hypothesis.ids), text.flush()]))
    if args.json:
        rows = [{"text": text, "log_probability": h.log_probability} for text, h in zip(texts, hypotheses, strict=False)]
        print(json.dumps({"prompt": args.prompt, "beam": args.beam, "texts": rows}, ensure_ascii=False, indent=2))
    else:
        for text, hypothesis in zip(texts, hypotheses, strict=False):
            print(f"{args.prompt}{text}")
            print(f"log probability {hypothesis.log_probability:.3f}", file=sys.stderr)
    return 0


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
