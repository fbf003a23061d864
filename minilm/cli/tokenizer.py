"""`minilm tokenizer`: train tokenizers, and try them on texts."""

from __future__ import annotations

import argparse
import codecs
import json
import os
import sys

import numpy as np

KINDS = ("character", "word", "bpe", "wordpiece", "keras")
ONLY = {  # option -> the kinds it is for
    "vocab_size": ("character", "word", "bpe", "wordpiece"),
    "min_count": ("word", "bpe", "wordpiece"),
    "special": ("bpe",),
    "pattern": ("bpe",),
    "split": ("word",),
    "lower": ("word", "wordpiece", "keras"),
    "strip_accents": ("wordpiece",),
    "unk": ("character", "word"),
    "eos": ("word",),
    "num_words": ("keras",),
    "oov": ("keras",),
}


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "tokenizer",
        help="train and try tokenizers",
        description="Train a tokenizer, encode texts, decode ids. TOKENIZER is a tokenizer's file, or a folder with a "
        "tokenizer.json or vocab.txt, such as a run's, or with a vocabulary and merges, such as GPT-2's.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="train|encode|decode|info")
    _add_train(actions)
    encoding = actions.add_parser("encode", help="text to ids, in one line")
    encoding.add_argument("tokenizer", metavar="TOKENIZER")
    encoding.add_argument(
        "text",
        nargs="?",
        metavar="TEXT",
        help="standard input without it, or with -, to its last byte; with the tokens around it that the tokenizer's file wants",
    )
    encoding.add_argument("--file", metavar="FILE", help="encode a UTF-8 file, of any size, or a corpus by its name")
    encoding.add_argument("--tokens", action="store_true", help="print the tokens instead, one a line, with their ids")
    decoding = actions.add_parser("decode", help="ids to text")
    decoding.add_argument("tokenizer", metavar="TOKENIZER")
    decoding.add_argument("ids", nargs="*", metavar="ID", help="standard input without any: numbers, or a JSON list")
    telling = actions.add_parser("info", help="kind, size, special tokens")
    telling.add_argument("tokenizer", metavar="TOKENIZER")
    for each in (encoding, decoding, telling):
        each.add_argument("--json", action="store_true", help="print JSON")
    _add_errors(encoding)
    parser.set_defaults(run=run)


def _add_train(actions) -> None:
    training = actions.add_parser("train", help="build the vocabulary of texts")
    training.add_argument(
        "--kind",
        choices=KINDS,
        default="character",
        help="bpe: GPT-2's, on bytes; wordpiece: BERT's; keras: the semantics of Keras's Tokenizer",
    )
    training.add_argument(
        "--corpus", nargs="+", required=True, metavar="FILE|NAME", help="UTF-8 files, or corpora by their names"
    )
    training.add_argument(
        "--out", required=True, metavar="FILE", help="the JSON file to write, or a folder for its tokenizer.json"
    )
    training.add_argument(
        "--vocab-size",
        type=int,
        metavar="N",
        help="at most N ids (bpe: 4,096; wordpiece: 30,000); character: needs --unk",
    )
    training.add_argument(
        "--min-count", type=int, metavar="N", help="word: leave out rarer words; bpe, wordpiece: join no rarer pair (2)"
    )
    training.add_argument(
        "--special", nargs="*", metavar="TOKEN", help="bpe: special tokens, which get the first ids (<|endoftext|>)"
    )
    training.add_argument(
        "--pattern",
        metavar="NAME|REGEX",
        help="bpe: how texts are cut into pieces that merges never cross: gpt2 (the default), cl100k, o200k, qwen2, smollm, "
        "or a regular expression",
    )
    training.add_argument("--split", choices=("words", "spaces"), help="word: cut punctuation off (words, the default), or not")
    training.add_argument(
        "--lower",
        action=argparse.BooleanOptionalAction,
        help="word, wordpiece, keras: lower-case; the last two do so by themselves",
    )
    training.add_argument(
        "--strip-accents", action=argparse.BooleanOptionalAction, help="wordpiece: remove accents (as --lower says)"
    )
    training.add_argument("--unk", metavar="TOKEN", help="character, word: for what is unknown (word: <unk>; '' for none)")
    training.add_argument("--eos", metavar="TOKEN", help="word: for the end of a line (<eos>; '' for none)")
    training.add_argument("--num-words", type=int, metavar="N", help="keras: use indices below N only")
    training.add_argument("--oov", metavar="TOKEN", help="keras: for unknown words (none)")
    training.add_argument("--json", action="store_true", help="print what `minilm tokenizer info --json` prints")
    _add_errors(training)


def _add_errors(parser) -> None:
    parser.add_argument(
        "--errors", choices=("strict", "replace", "ignore"), default="strict", help="invalid UTF-8: refuse, replace, leave out"
    )


def run(args) -> int:
    """Do what `args.action` says; ValueError and OSError have one line for the user."""
    return {"train": _train, "encode": _encode, "decode": _decode, "info": _info}[args.action](args)


# --- train -----------------------------------------------------------------------------------------------------------


def _train(args) -> int:
    from minilm import data, tokenizers

    options = {name: getattr(args, name) for name in ONLY if getattr(args, name) is not None}
    for name in options:
        if args.kind not in ONLY[name]:
            raise ValueError(f"--{name.replace('_', '-')} is for --kind {' or '.join(ONLY[name])}, not for {args.kind}")
    texts = [data.text(name, args.errors) for name in args.corpus]
    if args.kind == "keras":
        tokenizer = tokenizers.Word(oov_token=options.pop("oov", None) or None, **options)
        tokenizer.fit_on_texts("".join(text) for text in texts)
    else:
        for name in ("unk", "eos"):
            if name in options:
                options[f"{name}_token"] = options.pop(name) or None
        if args.kind == "bpe":
            tokenizer = _train_bpe([text.path for text in texts], args.errors, options)
            return _written(tokenizer, args)
        kinds = {"character": tokenizers.Character, "word": tokenizers.WordLevel, "wordpiece": tokenizers.WordPiece}
        tokenizer = kinds[args.kind].train([text.path for text in texts], errors=args.errors, **options)
    return _written(tokenizer, args)


def _train_bpe(paths, errors: str, options: dict):
    from minilm import tokenizers

    names = {"vocab_size": "vocab_size", "min_count": "min_frequency", "special": "special_tokens", "pattern": "pattern"}
    chosen = {"vocab_size": tokenizers.ByteLevelBPE.USUAL_SIZE, **{names[name]: value for name, value in options.items()}}
    return tokenizers.ByteLevelBPE.train(paths, errors=errors, progress=None, **chosen)


def _written(tokenizer, args) -> int:
    folder = os.path.dirname(os.path.abspath(args.out))
    os.makedirs(folder, exist_ok=True)
    tokenizer.save(args.out)
    _print_info(tokenizer, args.json)
    return 0


# --- encode ----------------------------------------------------------------------------------------------------------


def _encode(args) -> int:
    from minilm import data, tokenizers

    if args.text is not None and args.file is not None:
        raise ValueError("give a TEXT or --file, not both")
    inline = None if args.text == "-" else args.text
    tokenizer = tokenizers.load(args.tokenizer)
    if isinstance(tokenizer, tokenizers.Word):
        text = inline if args.file is None else "".join(data.text(args.file, args.errors))
        parts = [np.array(tokenizer.texts_to_sequences([_stdin(args.errors) if text is None else text])[0], np.int64)]  # (T,)
    elif args.file is not None:
        text = data.text(args.file, args.errors)
        parts = tokenizer.encode_chunks(text, str(text))
    else:
        parts = [tokenizer.encode(_stdin(args.errors) if inline is None else inline)]  # (T,)
    if args.tokens:
        _print_tokens(tokenizer, parts, args.json)
        return 0
    first, last, between = ("[", "]\n", ", ") if args.json else ("", "\n", " ")
    sys.stdout.write(first)
    started = False
    for ids in parts:  # (T_i,), so that a file of any size needs no memory
        if ids.size:
            sys.stdout.write(between * started + between.join(map(str, ids.tolist())))
            started = True
    sys.stdout.write(last)
    return 0


def _print_tokens(tokenizer, parts, as_json: bool) -> None:
    names = tokenizer.index_word.get if hasattr(tokenizer, "index_word") else tokenizer.id_to_token
    pairs = ((id, names(id)) for ids in parts for id in ids.tolist())
    if as_json:
        print(json.dumps(list(pairs), ensure_ascii=False))
    else:
        for id, token in pairs:
            print(f"{id:>8}  {token!r}")


def _stdin(errors: str) -> str:
    """All of standard input, as UTF-8."""
    content = sys.stdin.buffer.read()
    try:
        return codecs.decode(content, "utf-8", errors)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"standard input: invalid UTF-8 at byte {error.start} (0x{content[error.start]:02x}: {error.reason}); "
            "--errors replace reads U+FFFD in its place"
        ) from None


# --- decode and info -------------------------------------------------------------------------------------------------


def _decode(args) -> int:
    from minilm import tokenizers

    tokenizer = tokenizers.load(args.tokenizer)
    ids = _parse_ids(" ".join(args.ids) if args.ids else sys.stdin.read())
    if isinstance(tokenizer, tokenizers.Word):
        text = tokenizer.sequences_to_texts([ids])[0]
    else:
        text = tokenizer.decode(ids)
    print(json.dumps(text, ensure_ascii=False) if args.json else text)
    return 0


def _parse_ids(text: str) -> list[int]:
    """Whole numbers between spaces, commas and brackets."""
    ids = []
    for word in text.replace("[", " ").replace("]", " ").replace(",", " ").split():
        try:
            ids.append(int(word))
        except ValueError:
            raise ValueError(f"ids must be whole numbers, got {word!r} at position {len(ids)}") from None
    return ids


def _info(args) -> int:
    from minilm import tokenizers

    _print_info(tokenizers.load(args.tokenizer), args.json)
    return 0


def _print_info(tokenizer, as_json: bool) -> None:
    facts: dict = {"kind": type(tokenizer).__name__}
    if hasattr(tokenizer, "word_index"):
        facts["words"] = len(tokenizer.word_index)
        facts |= {name: getattr(tokenizer, name) for name in ("num_words", "lower", "oov_token", "document_count")}
        facts["first"] = [tokenizer.index_word[id] for id in sorted(tokenizer.index_word)[:20]]
    else:
        facts["vocab_size"] = tokenizer.vocab_size
        facts |= {name: getattr(tokenizer, name) for name in ("split", "lower", "strip_accents") if hasattr(tokenizer, name)}
        facts["special_tokens"] = {token: tokenizer.token_to_id(token) for token in tokenizer.special_tokens}
        others = [token.content for token in getattr(tokenizer, "added_tokens", ()) if not token.special]
        if others:
            facts["added_tokens"] = {token: tokenizer.token_to_id(token) for token in others}
        apart = {*tokenizer.special_tokens, *others}
        plain = [token for token in tokenizer.vocabulary if token and token not in apart]
        facts["first"] = plain if type(tokenizer).__name__ == "Character" and len(plain) <= 256 else plain[:20]
    if as_json:
        print(json.dumps(facts, ensure_ascii=False, indent=2))
        return
    for name, value in facts.items():
        if name == "first":
            text = repr("".join(value)) if facts["kind"] == "Character" else " ".join(value)
        elif isinstance(value, dict):
            text = ", ".join(f"{token} = {id}" for token, id in value.items()) or "none"
        else:
            text = str(value)
        print(f"{name:<16} {text}")
