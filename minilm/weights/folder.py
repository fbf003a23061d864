"""A folder of weights as Hugging Face lays it out: model.safetensors, or several files with an index of what is where."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from minilm.files import read_json
from minilm.mistaken import existing_folder
from minilm.typing import PathLike
from minilm.weights.tensor_file import TensorFile
from minilm.weights.tensor_header import Entry

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Ends of names of files that hold weights in another form.
FOREIGN = (".bin", ".bin.index.json", ".pt", ".pth", ".ckpt", ".ckpt.index", ".h5", ".msgpack", ".onnx", ".gguf", ".npz")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
MERGE = "and not a whole model: models.lora.load puts it into its model, and models.lora.merge_and_unload merges it"


class WeightFolder(Mapping):
    """The arrays of a folder: a mapping of names to `Entry`, over all of its files. They stay open until `close`.

    Parameters
    ----------
    path : str or os.PathLike
        The folder, or one safetensors file.

    Raises
    ------
    FileNotFoundError
        There is no such folder, no weights in it, or a file is missing that the index names.
    ValueError
        Naming the file, the key and what is wrong.
    """

    def __init__(self, path: PathLike):
        self.path = os.path.expanduser(os.fspath(path))
        self._files: dict[str, TensorFile] = {}
        self._places: dict[str, str] = {}  # array -> file
        try:
            if os.path.isfile(self.path):
                self._open(os.path.basename(self.path), os.path.dirname(self.path))
            else:
                self._open_folder(existing_folder(self.path))
        except BaseException:
            self.close()
            raise

    def _open_folder(self, folder: str) -> None:
        refuse_adapter(folder)
        if os.path.exists(os.path.join(folder, WEIGHTS)):
            self._open(WEIGHTS, folder)
        elif os.path.exists(os.path.join(folder, INDEX)):
            self._open_indexed()
        else:
            raise FileNotFoundError(f"there is neither {WEIGHTS} nor {INDEX} in {folder}{instead(folder)}")

    def _open(self, name: str, folder: str) -> None:
        file = self._files[name] = TensorFile(os.path.join(folder, name))
        for array in file:
            if array in self._places:
                raise ValueError(f"{file.path}: {array} is in {self._places[array]} too")
            self._places[array] = name

    def _open_indexed(self) -> None:
        index = os.path.join(self.path, INDEX)
        indexed = read_index(index)
        for name in sorted(set(indexed.values())):
            if not os.path.exists(os.path.join(self.path, name)):
                raise FileNotFoundError(f"{index} names {name}, which is not in {self.path}")
            self._open(name, self.path)
        for array in {**indexed, **self._places}:
            place, actual = indexed.get(array), self._places.get(array)
            if place != actual:
                raise ValueError(f"{index}: {array} should be in {place or 'no file'}, and is in {actual or 'none'}")

    def file_of(self, name: str) -> TensorFile:
        """The file that holds an array.

        Raises
        ------
        KeyError
            If no file has it.
        """
        try:
            return self._files[self._places[name]]
        except KeyError:
            raise KeyError(f"{self.path} has no array {name!r}") from None

    @property
    def alone(self) -> TensorFile | None:
        """The file that holds all arrays; None where several do."""
        return next(iter(self._files.values())) if len(self._files) == 1 else None

    def __getitem__(self, name: str) -> Entry:
        return self.file_of(name)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()

    def __enter__(self) -> WeightFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def refuse_adapter(folder: str) -> None:
    """ValueError if the folder is one of LoRA's: what is in it must not be taken for the model, nor the model without it."""
    adapter = next((name for name in ADAPTER if os.path.exists(os.path.join(folder, name))), None)
    if adapter is not None:
        raise ValueError(f"{os.path.join(folder, adapter)} is of an adapter (LoRA), {MERGE}")


def instead(folder: str) -> str:
    """What else lies in a folder without a model, and what helps; "" where nothing says."""
    names = sorted(os.listdir(folder))
    other = next((name for name in names if name.endswith(".safetensors") and name != WEIGHTS), None)
    if other is not None:
        return f"; if {other} is the model's, name it {WEIGHTS}"
    foreign = next((name for name in names if name.endswith(FOREIGN)), None)
    if foreign is not None:
        return f"; {foreign} is another format: `minilm convert` reads some"
    if "snapshots" in names:
        return f"; it is of the Hub's cache: give the folder in {os.path.join(folder, 'snapshots')} that holds config.json"
    return ""


def read_index(path) -> dict[str, str]:
    """The map from arrays to files that an index holds; the files must lie in its own folder."""
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{path}: weight_map must be a JSON object of file names, got {type(weight_map).__name__}")
    for array, name in weight_map.items():
        # Neither "../somewhere" nor "/etc/passwd": an index is not to be trusted with paths.
        if not isinstance(name, str) or not name or name in (".", "..") or any(each in name for each in "/\\:\0"):
            raise ValueError(f"{path}: {array}: must be a plain file name, got {name!r}")
    return weight_map


def weight_files(folder) -> set[str]:
    """The names of the files in a folder that hold weights, or say which do."""
    names = {WEIGHTS, INDEX}
    with contextlib.suppress(OSError, ValueError):
        names |= {name for name in read_index(os.path.join(folder, INDEX)).values() if name.endswith(".safetensors")}
    return {name for name in names if os.path.exists(os.path.join(folder, name))}
