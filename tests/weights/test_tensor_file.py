import json
import struct
import tracemalloc

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from minilm.weights import TensorFile
from minilm.weights import tensor_file as module


def content_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), begin=0, end=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.fixture
def written(tmp_path):
    def write(content):
        (tmp_path / "model.safetensors").write_bytes(content)
        return tmp_path / "model.safetensors"

    return write


ARRAYS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([1.5, -2, np.inf], np.float16),
    "scalar": np.array(3.0, np.float64),
    "none": np.empty((0, 4), np.float32),
    "ids": np.arange(3),
}


def test_reading_what_the_library_wrote(written):
    path = written(safetensors.numpy.save(ARRAYS, {"format": "pt"}))
    with TensorFile(path) as file:
        assert set(file) == set(ARRAYS) and len(file) == 5 and file.metadata == {"format": "pt"}
        assert file["b"].dtype == "F32" and file["b"].shape == (2, 3)
        for name in ("a", "b", "scalar", "none"):
            for dtype in (np.float32, np.float64):
                array = file.read(name, dtype)
                assert array.dtype == dtype
                np.testing.assert_array_equal(array, ARRAYS[name])
        turned = np.empty((3, 2), np.float32)
        file.copy("b", turned.T)
        np.testing.assert_array_equal(turned, ARRAYS["b"].T)
        with pytest.raises(ValueError, match=r"model\.safetensors: ids holds I64, wanted one of F64, F32, F16, BF16"):
            file.read("ids")
        with pytest.raises(ValueError, match=r"model\.safetensors: b has shape \(2, 3\), wanted \(3, 2\)"):
            file.copy("b", turned)
        with pytest.raises(KeyError, match="has no array 'c'"):
            file["c"]


@pytest.mark.parametrize("block", [1, 4, 12, 20, 10**6])
def test_blocks_do_not_show(written, monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK_BYTES", block)
    arrays = {"x": np.arange(35, dtype=np.float32).reshape(5, 7), "y": np.arange(9.0), "z": np.ones((3, 2, 2), np.float16)}
    with TensorFile(written(safetensors.numpy.save(arrays))) as file:
        for name, array in arrays.items():
            np.testing.assert_array_equal(file.read(name), array)


def test_bfloat16(written):
    """Every bfloat16 is a float32 with its lower half zero."""
    halves = np.arange(65536, dtype="<u2")
    path = written(content_of({"x": entry("BF16", (65536,), 0, 131072)}, halves.tobytes()))
    with TensorFile(path) as file:
        found = file.read("x")
    wanted = np.frombuffer(b"".join(b"\0\0" + struct.pack("<H", half) for half in halves), "<f4")
    np.testing.assert_array_equal(found.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "0 bytes, wanted at least 8"),
        (b"\x01" * 7, "7 bytes, wanted at least 8"),
        (b"\xff" * 20, "a header of 18,446,744,073,709,551,615 bytes, wanted at most"),
        ((3_000_000).to_bytes(8, "little") + b"{}", "truncated: a header of 3,000,000 bytes, but the file has 2"),
        (content_of(b"{" + 800_000 * b'"":{},' + b'"a":0}'), "a header of 4,800,007 bytes, wanted at most 4,000,000"),
        (content_of({"x": entry(shape=(0, 2**63), end=0)}), r"x: shape \[0, 9223372036854775808\] has too large axes"),
        (content_of(b""), "must begin with '{', got b''"),
        (content_of(b" {}"), "must begin with '{', got b' '"),
        (content_of(b"[]"), "must begin with '{'"),
        (content_of(b"{"), "not valid JSON"),
        (content_of(b'{"a\xff": 1}'), "not valid JSON"),
        (content_of(b'{"x": ' + b"[" * 100_000), "not valid JSON"),
        (content_of(b'{"x": NaN}'), "NaN is no JSON"),
        (content_of({"x": 3}), "x: must be a JSON object, got int"),
        (content_of({"x": {"dtype": "F32", "shape": []}}), "x: data_offsets is missing"),
        (content_of({"x": entry("F31")}, bytes(8)), "x: dtype must be one of .*, got 'F31'"),
        (content_of({"x": entry(["F32"])}, bytes(8)), r"x: dtype must be one of .*, got \['F32'\]"),
        (content_of({"x": entry(shape=(-2,))}, bytes(8)), "x: shape must be a list of whole numbers"),
        (content_of({"x": entry(shape=(2.0,))}, bytes(8)), "x: shape must be a list of whole numbers"),
        (content_of({"x": entry(shape=(True, 2))}, bytes(8)), "x: shape must be a list of whole numbers"),
        (content_of({"x": {**entry(), "shape": {"a": 1}}}, bytes(8)), "x: shape must be a list"),
        (content_of({"x": entry(shape=[1] * 33)}, bytes(8)), "x: shape must have at most 32 axes, got 33"),
        (content_of({"x": entry(shape=(3,))}, bytes(8)), r"x: F32 of shape \(3,\) takes 12 bytes, but data_offsets give 8"),
        (content_of({"x": entry(shape=(10**12, 10**12))}, bytes(8)), "x: F32 of shape .* takes 4000000000000000000000000 bytes"),
        (content_of({"x": entry(end=16)}, bytes(8)), r"x: data_offsets \[0, 16\] are not within the 8 bytes"),
        (content_of({"x": entry(begin=8, end=0)}, bytes(8)), "x: data_offsets .* are not within"),
        (content_of({"x": entry(end=8.0)}, bytes(8)), "x: data_offsets must be two whole numbers"),
        (content_of({"x": {**entry(), "data_offsets": [0, 4, 8]}}, bytes(8)), "x: data_offsets must be two"),
        (content_of({"x": entry(), "y": entry(begin=4, end=12)}, bytes(12)), "y: begins at byte 4, which overlaps x"),
        (content_of({"x": entry(), "y": entry(begin=12, end=20)}, bytes(20)), "y: begins at byte 12, which leaves a gap after x"),
        (content_of({"x": entry(begin=4, end=12)}, bytes(12)), "x: begins at byte 4, which leaves a gap after the header"),
        (content_of({"x": entry()}, bytes(9)), "the arrays take 8 bytes, but 9 follow the header"),
        (content_of(b'{"x": ' + json.dumps(entry()).encode() + b', "x": 1}', bytes(8)), "the header has the name 'x' twice"),
        (content_of(b'{"x": {"dtype": "F32", "dtype": "F32"}}'), "x has the name 'dtype' twice"),
        (content_of({"__metadata__": {"a": 1}}), "__metadata__ must be a JSON object of strings"),
        (content_of({"__metadata__": []}), "__metadata__ must be"),
    ],
)
def test_lies(written, content, message):
    path = written(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"model\.safetensors: .*{message}") as caught:
            TensorFile(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6  # of which the deep JSON takes its part; the lies are of gigabytes
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000


VALID = safetensors.numpy.save({name: ARRAYS[name] for name in ("a", "b", "scalar", "none")}, {"format": "pt"})
HEADER = 8 + int.from_bytes(VALID[:8], "little")


def judge(path, content):
    """Whatever we read, the format's own library reads too, and the same numbers; everything else is a ValueError."""
    path.write_bytes(content)
    try:
        with TensorFile(path) as file:
            found = {name: file.read(name, np.float64) for name in file if file[name].dtype in ("F16", "F32", "F64")}
    except ValueError as error:
        assert str(error).startswith(str(path))
        return
    wanted = safetensors.numpy.load(content)
    for name, array in found.items():
        np.testing.assert_array_equal(array, wanted[name].astype(np.float64))


@settings(max_examples=300)
@given(st.data())
def test_damaged_files(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    content = bytearray(VALID)
    kind = data.draw(st.sampled_from(["cut", "flip", "length", "replace", "insert"]))
    if kind == "cut":
        content = content[: data.draw(st.integers(0, len(content)))]
    elif kind == "length":
        content[:8] = data.draw(st.integers(0, 2**64 - 1) | st.integers(0, 2 * HEADER)).to_bytes(8, "little")
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, HEADER - 1))
            if kind == "flip":
                content[place] ^= 1 << data.draw(st.integers(0, 7))
            elif kind == "replace":
                content[place : place + 1] = data.draw(st.sampled_from(list(b'0123456789-.eE[]{}",: F'))).to_bytes(1, "little")
            else:
                content[place:place] = data.draw(st.binary(min_size=1, max_size=3))
    judge(path, bytes(content))


NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 8, 12, 24, -1, 2**31, 2**32, 2**63, 2**64, 10**30, 1.0, True, None, "8", []])


@settings(max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(["x", "y", "z", "__metadata__"]),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "F16", "F64", "BF16", "BOOL", "F8_E4M3", "X"]),
                "shape": st.lists(NUMBERS, max_size=3),
                "data_offsets": st.lists(NUMBERS, min_size=1, max_size=3),
            }
        ),
        max_size=3,
    ),
    st.integers(0, 30),
)
def test_lying_headers(tmp_path_factory, header, size):
    path = tmp_path_factory.getbasetemp() / "lying.safetensors"
    tracemalloc.start()
    try:
        path.write_bytes(content_of(header, bytes(size)))
        with TensorFile(path) as file:
            assert sum(each.end - each.begin for each in file.values()) == size
    except ValueError as error:
        assert str(error).startswith(str(path))
    finally:
        assert tracemalloc.get_traced_memory()[1] < 5e6
        tracemalloc.stop()


def test_an_array_that_is_still_in_the_file(written):
    with TensorFile(written(safetensors.numpy.save({**ARRAYS, "m.b": ARRAYS["b"]}))) as file:
        stored = file.arrays("m.")["b"]
        assert stored.shape == (2, 3) and stored.dtype == np.float32
        np.testing.assert_array_equal(np.asarray(stored), ARRAYS["b"])
        np.testing.assert_array_equal(np.asarray(file.arrays()["ids"]), ARRAYS["ids"])
        target = np.empty((2, 3))
        stored.copy_to(target)
        np.testing.assert_array_equal(target, ARRAYS["b"])


def test_a_file_that_is_cut_short_while_it_is_open(written):
    """A mapping of it into memory would end the process by a signal."""
    path = written(safetensors.numpy.save({"x": np.ones(100_000, np.float32)}))
    with TensorFile(path) as file:
        with open(path, "r+b") as again:
            again.truncate(1000)
        with pytest.raises(ValueError, match=r"model\.safetensors was cut short while it was read"):
            file.read("x")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        TensorFile(tmp_path / "none.safetensors")
