"""`minilm export`: a model's folder once more, with weights in fewer bits."""

from __future__ import annotations

import argparse
import glob
import json
import os

DESCRIPTION = """\
Write the model in DIR into the new folder OUT, weights rounded to 4, 8 or 16 bits (`minilm.quantized.spec` has the formulas and
how far off they are). `minilm generate`, `evaluate`, `chat`, `fill-mask` and `try` read OUT as they read DIR, and give what
--quantize gives with DIR; but OUT does not say what the model was trained on, so that `evaluate` wants --corpus or --data. It has
no gradients, and can be neither trained further nor explained. Weights that a product and an embedding share are stored once,
other embeddings in 32 bits.
"""
# What a folder holds beside its weights: settings, tokenizers, the form of a chat.
CARRIED = (
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "vocab.*",
    "source.json",
    "target.json",
    "merges.txt",
    "encoder.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
)


def add_parser(subparsers) -> None:
    """Add the command to the parser's sub-commands."""
    parser = subparsers.add_parser(
        "export",
        help="write a model's folder again, with weights in fewer bits",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        metavar="DIR",
        help="a run of `minilm train` or `minilm recipe`, a model in Hugging Face's layout or minilm convert's, or a GGUF file",
    )
    parser.add_argument("out", metavar="OUT", help="the new folder")
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--int8", dest="kind", action="store_const", const="int8", help="8 bits, and a scale for every 64 weights")
    kinds.add_argument("--int4", dest="kind", action="store_const", const="int4", help="4 bits, and two numbers for every 32")
    kinds.add_argument("--bf16", dest="kind", action="store_const", const="bf16", help="bfloat16: 16 bits")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Export, and print how large the weights were and are."""
    from minilm import quantized
    from minilm.models.storing import description
    from minilm.training import load_run
    from minilm.weights.gguf import is_gguf

    if os.path.lexists(args.out) and (not os.path.isdir(args.out) or os.listdir(args.out)):
        raise FileExistsError(f"{args.out} is there already: OUT must be a new folder")
    if is_gguf(os.path.expanduser(args.folder)):
        model, files = _of_gguf(load_run(args.folder, quantize=args.kind))  # blocks of this format stay as they are
        before = 4 * model.config.parameter_count
    else:
        model, files = _opened(args.folder)
        before = 4 * model.parameters.count
        quantized.quantize(model, args.kind)
    files["config.json"] = _marked(files["config.json"], args.kind)
    quantized.save(model, args.out, files, description(model))
    after = os.path.getsize(os.path.join(args.out, "model.safetensors"))
    print(f"{args.out}  {args.kind}, {after:,} bytes of weights ({after / before:.0%} of their {before:,} in float32)")
    return 0


def _opened(path: str):
    """The model, and name and content of the files that belong to it."""
    from minilm import recipes
    from minilm.hub import model_folder
    from minilm.recipes.converted import is_converted
    from minilm.training import load_run
    from minilm.training.checkpoint import STATE
    from minilm.training.run import is_published

    folder = model_folder(path)
    files = {os.path.basename(name): _content(name) for pattern in CARRIED for name in _matching(folder, pattern)}
    if os.path.exists(os.path.join(folder, STATE)) or "config.json" not in files:
        return load_run(folder).model, files
    if is_published(folder) or is_converted(folder) or "recipe" in json.loads(files["config.json"]):
        return recipes.open_run(folder).model, files
    return load_run(folder).model, files


def _marked(content: bytes, kind: str) -> bytes:
    """A published model's config.json that tells transformers to leave the weights alone; of others as it is."""
    config = json.loads(content)
    if "architectures" not in config:
        return content
    return json.dumps({**config, "quantization_config": {"quant_method": f"minilm-{kind}"}}, indent=2).encode() + b"\n"


def _of_gguf(loaded):
    """The same of a GGUF file, whose settings become a config.json."""
    from minilm.generation.chat import chat_template
    from minilm.models.pretrained import settings_from
    from minilm.weights import config_of

    model = loaded.model
    settings = settings_from(model.config)
    config = {**config_of(settings, model.hugging_face[settings["family"]])}
    if model.end_ids:
        config["eos_token_id"] = list(model.end_ids)
    files = {"config.json": json.dumps(config, indent=2).encode(), "tokenizer.json": loaded.tokenizer.to_json().encode()}
    try:
        files["chat_template.jinja"] = chat_template(loaded.folder).encode()
    except ValueError:  # it is no model for chats
        pass
    return model, files


def _matching(folder: str, pattern: str) -> list[str]:
    return sorted(filter(os.path.isfile, glob.glob(os.path.join(glob.escape(folder), pattern))))


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
