"""Why no converter recognises a file or folder, as far as its first bytes say it."""

from __future__ import annotations

import os
import zipfile

from minilm.weights.converters.checkpoint import ENDINGS

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
NUMPY = b"\x93NUMPY"


UNKNOWN = "is of no kind that is recognised"


def why(path: str, hint: str) -> str:
    """What a path is, in words that follow its name, such as "is empty"; of what is whole but unknown, with a hint."""
    reason = _folder(path) if os.path.isdir(path) else _file(path)
    return f"{reason}: {hint}" if reason == UNKNOWN else reason


def _folder(path: str) -> str:
    names = sorted(os.listdir(path))
    inner = [name for name in names if os.path.isfile(os.path.join(path, name, "config.json"))]
    if "config.json" in names or (not inner and any(name.endswith(ENDINGS) for name in names)):
        return UNKNOWN
    hint = f"; {os.path.join(path, inner[0])} has one" if inner else " or a file of weights"
    return f"is a folder without a config.json{hint}"


def _file(path: str) -> str:
    with open(path, "rb") as file:
        head = file.read(len(HDF5))
    if not head:
        return "is empty"
    if head.startswith(ZIP) and not zipfile.is_zipfile(path):
        return "begins as a zip archive, such as PyTorch's files and .npz, and is cut short"
    if head == HDF5:
        return _hdf5(path)
    if head.startswith(NUMPY):
        return "is one array of NumPy's: wanted all arrays of a model, np.savez(path, **arrays)"
    return UNKNOWN


def _hdf5(path: str) -> str:
    from minilm.weights.hdf5 import library

    try:
        library().File(path, "r").close()
    except OSError as error:
        return f"begins as HDF5, and is damaged or cut short: {' '.join(str(error).split())}"
    except ValueError as error:  # h5py is missing
        return f"is HDF5: {error}"
    return UNKNOWN
