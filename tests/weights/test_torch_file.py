"""Files of torch.save's read without torch: what torch reads, and nothing that runs; and files for torch to read."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from minilm.weights.pickles import Bounded, read_pickle
from minilm.weights.torch_file import StoredTensor, arrays_of, is_torch_file, read_torch_file
from minilm.weights.torch_writer import write_torch_file
from tests.data.test_damaged_files import mutated

torch = pytest.importorskip("torch")
FORMS = {"zip": {}, "zip, protocol 4": {"pickle_protocol": 4}, "older": {"_use_new_zipfile_serialization": False}}


def tensors():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(5, 4, generator=generator)
    kinds = {
        "double": rows.double(),
        "half": rows.half(),
        "bfloat16": rows.bfloat16(),
        "whole": torch.arange(6),
        "bool": rows > 0,
    }
    views = {"transposed": rows.T, "part": rows[1:3, ::2], "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
    return {"plain": rows, "parameter": torch.nn.Parameter(rows[:2]), **kinds, **views}


def numbers(tensor):
    return tensor.detach().float().numpy() if tensor.dtype == torch.bfloat16 else tensor.detach().numpy()


@pytest.mark.parametrize("form", FORMS)
def test_tensors_and_values_are_those_of_torch(form, tmp_path):
    lstm = torch.nn.LSTM(3, 4)
    beside = {"values": [1, 2.5, "é", None, True, (1, 2, 3, 4)], "big": 2**70, "type": torch.float16, "size": torch.Size([2, 3])}
    beside |= {"device": torch.device("cpu"), "optimizer": torch.optim.Adam(lstm.parameters()).state_dict()}
    torch.save({"model": tensors(), "lstm": lstm.state_dict(), **beside}, tmp_path / "x.pt", **FORMS[form])
    value = read_torch_file(tmp_path / "x.pt")
    assert is_torch_file(tmp_path / "x.pt") and arrays_of(value) is not None
    for name, wanted in {**tensors(), **{f"lstm.{k}": v for k, v in lstm.state_dict().items()}}.items():
        stored = value["lstm"][name[5:]] if name.startswith("lstm.") else value["model"][name]
        array = stored.numpy()
        assert array.dtype == stored.dtype and array.shape == stored.shape == tuple(wanted.shape)
        assert np.array_equal(array, numbers(wanted)), name
    assert value["values"] == beside["values"] and value["big"] == 2**70 and value["size"] == (2, 3)
    assert value["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)


def test_torch_reads_what_is_written(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(3, 4)).astype(np.float32),
        "é": rng.normal(size=5),
        "whole": np.arange(3),
        "none": np.zeros((0, 2)),
    }
    arrays["transposed"] = rng.normal(size=(3, 4)).astype(np.float32).T
    for name in ("a.pt", "b.pt"):
        write_torch_file(tmp_path / name, arrays)
    again = torch.load(tmp_path / "a.pt", weights_only=True)
    ours = arrays_of(read_torch_file(tmp_path / "a.pt"))
    assert list(again) == list(ours) == list(arrays) and (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert all(
        np.array_equal(again[name].numpy(), array) and np.array_equal(ours[name].numpy(), array) for name, array in arrays.items()
    )


# --- files that want more than to be read ---------------------------------------------------------------------------------


class Calls:
    def __reduce__(self):
        return os.system, ("touch ran",)


def archive(content, **members):
    """A zip file of a data.pkl and others."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", members.pop("packed", zipfile.ZIP_STORED)) as parts:
        parts.writestr("x/data.pkl", content)
        for name, each in members.items():
            parts.writestr(f"x/{name.replace('__', '/')}", each)
    return memory.getvalue()


def tensor(storage="FloatStorage", count=4, first=0, size=b"K\x02K\x02\x86", stride=b"K\x02K\x01\x86"):
    id = b"(X\x07\0\0\0storagectorch\n" + storage.encode() + b"\nX\x01\0\0\0" + b"0X\x03\0\0\0cpu" + whole(count) + b"tQ"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + id + whole(first) + size + stride + b"\x89N" + b"tR."


def whole(number):
    return b"\x8a\x08" + number.to_bytes(8, "little", signed=True)


NESTED = b"\x80\x02)" + b"q\x00h\x00\x86" * 60  # a tuple of a tuple twice, and so on: 2**60 leaves
HOSTILE = {
    "a function": (pickle.dumps({"w": Calls()}), "system', which may be code"),
    "eval": (b"cbuiltins\neval\n(X\x04\0\0\0open" + b"tR.", "'builtins.eval', which may be code"),
    "a module": (b"ctorch.nn.modules.linear\nLinear\n)\x81.", "which may be code"),
    "a place of the memo": (b"\x80\x02]r\xff\xff\xff\xff.", "no state dict"),
    "a text of 4 GiB": (b"\x80\x02X\xff\xff\xff\xffabc.", "expected 4294967295 bytes"),
    "bytes of 2**60": (b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"abc.", "expected"),
    "a frame": (b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"]", "exhausted|truncated|expected"),
    "a key that takes for ever to hash": (NESTED + b"}" + b"h\x00K\x01s.", "neither a text nor a number|does not leave"),
    "a tensor larger than its storage": (tensor(size=whole(2**40) + whole(2**40) + b"\x86"), "does not fit its storage"),
    "a tensor of strides of 0": (
        tensor(size=whole(2**31) + whole(2) + b"\x86", stride=b"K\x00K\x00\x86"),
        "does not fit its storage",
    ),
    "a tensor before its storage": (tensor(first=-1), "whole numbers of at least 0"),
    "a tensor behind its storage": (tensor(first=3), "does not fit its storage"),
    "a storage larger than the file": (tensor(count=2**50), "is not in the archive"),
    "a storage of another kind": (tensor("DoubleStorage"), "is not in the archive"),
    "no tensor": (b"\x80\x02}.", "no state dict"),
    "nothing": (b"", "exhausted|no more|not enough"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, message = HOSTILE[name]
    (tmp_path / "x.pt").write_bytes(archive(content, data__0=bytes(16)))
    with pytest.raises(ValueError, match=message) as caught:
        arrays_of(read_torch_file("x.pt"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 and not (tmp_path / "ran").exists()


def test_the_tensor_of_these_files_is_read_where_it_fits(tmp_path):
    (tmp_path / "x.pt").write_bytes(archive(tensor(), data__0=np.arange(4, dtype="<f4").tobytes()))
    assert np.array_equal(read_torch_file(tmp_path / "x.pt").numpy(), [[0, 1], [2, 3]])


def test_archives_that_are_no_files_of_torch(tmp_path):
    path = tmp_path / "x.pt"
    for content, message in [
        (archive(tensor(), data__0=bytes(16), packed=zipfile.ZIP_DEFLATED), "is compressed"),
        (archive(tensor(), data__0=bytes(16), byteorder=b"big"), "big-endian"),
        (archive(tensor(), **{"data__0": bytes(16), "constants.pkl": b""}), "TorchScript"),
        (archive(tensor())[:-30], "no whole file"),
        (b"PK\x03\x04" + bytes(100), "no whole file"),
        (pickle.dumps({"w": [1.0]}), "no file of torch.save's|exhausted"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            read_torch_file(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_changed_files_give_a_result_or_one_line(form, tmp_path):
    torch.save({"model": torch.nn.GRU(3, 4).state_dict(), "x": [1, (2.5, "t")]}, tmp_path / "x.pt", **FORMS[form])
    whole, rng, refused = (tmp_path / "x.pt").read_bytes(), np.random.default_rng(len(form)), 0
    for _ in range(150):
        (tmp_path / "y.pt").write_bytes(mutated(rng, whole) if rng.random() < 0.3 or form == "older" else inside(rng, whole))
        try:
            for each in arrays_of(read_torch_file(tmp_path / "y.pt")).values():
                each.numpy()
        except (ValueError, OSError) as error:
            refused += 1
            assert str(error) and "\n" not in str(error)
    assert refused > 75


def inside(rng, content):
    """The archive with its pickle changed, and right checksums."""
    memory = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as parts, zipfile.ZipFile(memory, "w") as changed:
        for info in parts.infolist():
            each = parts.read(info)
            changed.writestr(info.filename, mutated(rng, each) if info.filename.endswith(".pkl") else each)
    return memory.getvalue()


def test_plain_pickles_of_every_protocol():
    value = {"stoi": {"a": 0, "é": 1}, "list": [1, -2, 2.5, None, True, b"x", (), (1,), (1, 2), 2**40]}
    for protocol in range(6):
        content = pickle.dumps({key: each for key, each in value.items()}, protocol)
        if protocol < 3:  # which write bytes by a function
            content = pickle.dumps({**value, "list": [each for each in value["list"] if each != b"x"]}, protocol)
        again = read_pickle(Bounded(io.BytesIO(content), len(content)), {}, StoredTensor)
        assert again == pickle.loads(content)
