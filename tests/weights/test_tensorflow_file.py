"""TensorFlow's checkpoints: files that this page writes in their format, read; and damaged ones, refused."""

import struct

import numpy as np
import pytest

from minilm import models
from minilm.weights.converters import recognised
from minilm.weights.converters.checkpoint import arrays_in
from minilm.weights.tensorflow_file import TensorFlowFile, crc32c, masked

KINDS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bool": 10}


def varint(number):
    content = b""
    while number > 127:
        content, number = content + bytes([number & 127 | 128]), number >> 7
    return content + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries, restart=3):
    """Entries of sorted keys, each without what it shares with the one before; every third one whole."""
    content, restarts, before = b"", [], b""
    for place, (key, value) in enumerate(entries):
        shared = 0
        if place % restart == 0:
            restarts.append(len(content))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    content += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    return content + b"\0" + struct.pack("<I", masked(crc32c(content + b"\0")))


def write_checkpoint(prefix, arrays, shards=1, most=4):
    """NAME.index and its data; `most` entries a block."""
    files, entries = [b""] * shards, {b"": field(1, shards) + field(2, 0)}
    for place, (name, array) in enumerate(arrays.items()):
        array, file = np.asarray(array), place % shards
        sizes = b"".join(field(2, field(1, size)) for size in array.shape)
        message = field(1, KINDS[array.dtype.name]) + field(2, sizes) + field(3, file) + field(4, len(files[file]))
        content = array.tobytes()
        message += field(5, len(content)) + varint(6 << 3 | 5) + struct.pack("<I", masked(crc32c(content)))
        entries[name.encode()] = message
        files[file] += content
    entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = field(1, 7) + field(5, 3)  # a text, which is left out
    items, content, handles = sorted(entries.items()), b"", []
    for start in range(0, len(items), most):
        part = block(items[start : start + most])
        handles.append((items[start : start + most][-1][0], varint(len(content)) + varint(len(part) - 5)))
        content += part
    ends = []
    for part in (block([]), block(handles)):
        ends.append(varint(len(content)) + varint(len(part) - 5))
        content += part
    content += b"".join(ends).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    for number, each in enumerate(files):
        (prefix.parent / f"{prefix.name}.data-{number:05d}-of-{shards:05d}").write_bytes(each)
    (prefix.parent / f"{prefix.name}.index").write_bytes(content)


def drawn(V=7, E=5, H=6):
    rng = np.random.default_rng(0)
    cell = "rnnlm/multi_rnn_cell/cell_{}/basic_lstm_cell/"
    shapes = {f"{cell.format(layer)}kernel": ((H if layer else E) + H, 4 * H) for layer in range(2)}
    shapes |= {f"{cell.format(layer)}bias": (4 * H,) for layer in range(2)}
    shapes |= {"rnnlm/embedding": (V, E), "rnnlm/softmax_w": (H, V), "rnnlm/softmax_b": (V,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {**arrays, "global_step": np.int64(1200), "rnnlm/embedding/Adam": arrays["rnnlm/embedding"] * 0}


def test_checksums_are_those_of_the_standard():
    """RFC 3720, appendix B.4; and the compiled loop gives what the plain one does."""
    assert crc32c(b"") == 0 and crc32c(b"123456789") == 0xE3069283 and crc32c(bytes(32)) == 0x8A9136AA
    content = np.random.default_rng(0).bytes(5000)
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    assert crc32c(content) == value ^ 0xFFFFFFFF


@pytest.mark.parametrize("shards", [1, 3])
def test_variables_are_read(shards, tmp_path):
    arrays = drawn() | {"flags": np.array([True, False]), "wide": np.arange(3000, dtype=np.float64).reshape(3, 1000)}
    write_checkpoint(tmp_path / "model.ckpt", arrays, shards)
    names = ["model.ckpt.index", "model.ckpt", f"model.ckpt.data-00000-of-{shards:05d}", ""]
    for name in names:
        stored = arrays_in(str(tmp_path / name) if name else str(tmp_path))
        assert set(stored) == set(arrays)
        for key, array in arrays.items():
            assert np.array_equal(stored[key], array) and stored[key].dtype == np.asarray(array).dtype


def test_a_language_model_is_converted(tmp_path):
    arrays = drawn()
    write_checkpoint(tmp_path / "model.ckpt-1200", arrays)
    np.savez(tmp_path / "model.npz", **arrays)
    assert recognised(tmp_path / "model.ckpt-1200.index") == "tensorflow"
    model, wanted = models.convert_from(tmp_path / "model.ckpt-1200")[0], models.convert_from(tmp_path / "model.npz")[0]
    assert np.array_equal(model.parameters.flat, wanted.parameters.flat)


def test_what_is_damaged_is_refused_in_one_line(tmp_path):
    write_checkpoint(tmp_path / "m", drawn())
    index, data = tmp_path / "m.index", tmp_path / "m.data-00000-of-00001"
    whole, numbers = index.read_bytes(), data.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        index.write_bytes(bytes(changed))
        try:
            stored = {name: array.tobytes() for name, array in arrays_in(str(index)).items()}
        except ValueError as error:
            assert "\n" not in str(error) and str(tmp_path) in str(error)
        except OSError:
            pass
        else:  # a bit that nothing depends on: zeros in the footer
            assert stored == {name: np.asarray(array).tobytes() for name, array in drawn().items()}
    for size in range(0, len(whole), 37):
        index.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="cut short"):
            TensorFlowFile(str(index))
    index.write_bytes(whole)
    data.write_bytes(bytes([numbers[0] ^ 1]) + numbers[1:])
    with pytest.raises(ValueError, match="has not its checksum"):
        arrays_in(str(index))
    data.write_bytes(numbers[:-1])
    with pytest.raises(ValueError, match="is cut short"):
        arrays_in(str(index))
