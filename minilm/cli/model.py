"""Which model a command computes with: DIR, or --weights FOLDER."""

from __future__ import annotations

FOLDER = (
    "a run's folder, as `minilm train --out DIR` made it, or a model in Hugging Face's layout with its tokenizer, "
    "or its name on the Hugging Face Hub (pip: minilm[hub])"
)


def add_model(parser, folder: str = FOLDER) -> None:
    """Add the argument and the option."""
    parser.add_argument("folder", metavar="DIR", nargs="?", help=folder)
    parser.add_argument("--weights", metavar="FOLDER", help="another way to give DIR")


def add_quantize(parser) -> None:
    """Add the option that stores the model's weights in fewer bits."""
    parser.add_argument(
        "--quantize",
        choices=("int8", "bf16", "int4"),
        help="round the weights to so many bits, on the CPU: less to read for a token, and a little less accurate; a GGUF "
        "file's blocks of 4 bits (int4) and 8 (int8) are kept as they are",
    )


def folder_of(args) -> str:
    """The folder that the user named; ValueError unless there is one."""
    if (args.folder is None) == (args.weights is None):
        raise ValueError("wanted either DIR or --weights FOLDER: a run's folder, or a pretrained model's")
    return args.folder if args.weights is None else args.weights


def load_model(args):
    """What the folder holds, as `minilm.training.load_run` gives it, with the model on the device of --device and its weights as
    --quantize says."""
    from minilm.training import load_run

    loaded = load_run(folder_of(args), quantize=format_of_weights(args))
    loaded.model.to(getattr(args, "device", "cpu"))
    return loaded


def quantize(model, args) -> None:
    """Store the model's weights as --quantize says, in place; ValueError where it cannot be."""
    kind = format_of_weights(args)
    if kind is not None:
        from minilm import quantized

        quantized.quantize(model, kind)


def format_of_weights(args) -> str | None:
    """The format of the weights, as --quantize says; ValueError where --device has none such."""
    kind, device = getattr(args, "quantize", None), getattr(args, "device", "cpu")
    if kind is not None and device != "cpu":
        raise ValueError(f"--quantize {kind} is for --device cpu, got --device {device}")
    return kind
