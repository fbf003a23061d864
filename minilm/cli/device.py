"""The option --device of commands that compute with a trained model."""

from __future__ import annotations


def add_device(parser) -> None:
    """Add the option."""
    parser.add_argument(
        "--device", default="cpu", metavar="cpu|cuda", help="where the model computes: cuda is an NVIDIA GPU, by CuPy (cpu)"
    )


def require(device: str, option: str | None = None) -> None:
    """ValueError in one line that says what is missing, unless a model can compute there: before it is loaded."""
    from minilm import devices

    try:
        devices.require(device)
    except RuntimeError as error:
        raise ValueError(f"{option or f'--device {device}'}: {error}") from None
