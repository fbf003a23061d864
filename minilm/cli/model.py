"""Which model a command computes with: DIR, or --weights FOLDER."""

from __future__ import annotations

FOLDER = "a run's folder, as `minilm train --out DIR` made it, or a model in Hugging Face's layout with its tokenizer"


def add_model(parser, folder: str = FOLDER) -> None:
    """Add the argument and the option."""
    parser.add_argument("folder", metavar="DIR", nargs="?", help=folder)
    parser.add_argument("--weights", metavar="FOLDER", help="another way to give DIR")


def folder_of(args) -> str:
    """The folder that the user named; ValueError unless there is one."""
    if (args.folder is None) == (args.weights is None):
        raise ValueError("wanted either DIR or --weights FOLDER: a run's folder, or a pretrained model's")
    return args.folder if args.weights is None else args.weights


def load_model(args):
    """What the folder holds, as `minilm.training.load_run` gives it, with the model on the device of --device."""
    from minilm.training import load_run

    loaded = load_run(folder_of(args))
    loaded.model.to(getattr(args, "device", "cpu"))
    return loaded
