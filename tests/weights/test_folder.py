import json

import numpy as np
import pytest
import safetensors.numpy

from minilm.weights import WeightFolder

ONES = {name: np.ones(2, np.float32) for name in "abc"}


def shards(folder, weight_map, **files):
    for name, keys in files.items():
        safetensors.numpy.save_file({key: ONES[key] for key in keys}, folder / f"{name}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_one_file(tmp_path):
    safetensors.numpy.save_file(ONES, tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        with WeightFolder(path) as weights:
            assert sorted(weights) == ["a", "b", "c"] and len(weights) == 3 and weights["a"].shape == (2,)
            with pytest.raises(KeyError, match="has no array 'd'"):
                weights["d"]


def test_shards(tmp_path):
    names = {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}
    shards(tmp_path, names, one="a", two="bc")
    with WeightFolder(tmp_path) as weights:
        assert sorted(weights) == ["a", "b", "c"]
        assert weights.file_of("b").path.endswith("two.safetensors")
        np.testing.assert_array_equal(weights.file_of("b").read("b"), ONES["b"])


@pytest.mark.parametrize(
    "weight_map, files, error, message",
    [
        ({"a": "x.safetensors", "b": "y.safetensors"}, {"x": "a"}, FileNotFoundError, "names y.safetensors, which is not in"),
        ({"a": "x.safetensors", "b": "x.safetensors"}, {"x": "a"}, ValueError, "b should be in x.safetensors, and is in none"),
        ({"a": "x.safetensors"}, {"x": "ab"}, ValueError, "b should be in no file, and is in x.safetensors"),
        ({"a": "x.safetensors", "b": "y.safetensors"}, {"x": "a", "y": "ab"}, ValueError, "a is in x.safetensors too"),
        ({"a": "../x.safetensors"}, {}, ValueError, "a: must be a plain file name, got '../x.safetensors'"),
        ({"a": "/x.safetensors"}, {}, ValueError, "must be a plain file name"),
        ({"a": 3}, {}, ValueError, "a: must be a plain file name, got 3"),
        ({"a": ".."}, {}, ValueError, "must be a plain file name"),
        ({}, {}, ValueError, "weight_map must be a JSON object"),
        ([], {}, ValueError, "weight_map must be a JSON object of file names, got list"),
    ],
)
def test_wrong_indices(tmp_path, weight_map, files, error, message):
    shards(tmp_path, weight_map, **files)
    with pytest.raises(error, match=message):
        WeightFolder(tmp_path)


def test_what_is_no_folder_of_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        WeightFolder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="neither model.safetensors nor model.safetensors.index.json"):
        WeightFolder(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(FileNotFoundError, match="pytorch_model.bin is another format"):
        WeightFolder(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ValueError, match="index.json: not valid JSON"):
        WeightFolder(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(ValueError, match="expected a JSON object, got list"):
        WeightFolder(tmp_path)
