"""Damaged files, full disks, unwritable folders: one line each, and nothing lost."""

import builtins
import copy
import errno
import json
import os
import re
import shutil

import numpy as np
import pytest
import safetensors.numpy

from minilm import training
from minilm.training.callbacks import Checkpoints
from minilm.training.checkpoint import Checkpoint
from minilm.training.state import checksum
from minilm.training.train import _new, _run
from minilm.weights import TensorFile, tensor_writer
from tests.training.helpers import contents, one_line

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def run(tiny, tmp_path):
    return training.train(tiny(average=0.9, model={"tied": True}), out=tmp_path / "run")


FILES = ("model.safetensors", "optimizer.safetensors", "training.json", "config.json", "tokenizer.json")


@pytest.mark.parametrize("name", FILES)
def test_truncated_anywhere(name, run):
    path = os.path.join(run.folder, name)
    whole = open(path, "rb").read()
    for size in (0, 1, 7, 8, 9, len(whole) // 3, len(whole) // 2, len(whole) - 2):
        with open(path, "wb") as file:
            file.write(whole[:size])
        with pytest.raises(ValueError) as error:
            training.train(out=run.folder, resume=True)
        assert path in one_line(error) and "damaged" in str(error.value)
        if name != "optimizer.safetensors":
            with pytest.raises(ValueError):
                training.load_run(run.folder)
    with open(path, "wb") as file:
        file.write(whole)
    training.train(out=run.folder, resume=True)


@pytest.mark.parametrize("name", FILES)
def test_one_bit_anywhere(name, run):
    path = os.path.join(run.folder, name)
    whole = open(path, "rb").read()
    for position in {0, 3, 8, 20, *range(30, len(whole), len(whole) // 12), len(whole) - 2}:
        flipped = bytearray(whole)
        flipped[position] ^= 4
        with open(path, "wb") as file:
            file.write(flipped)
        if name == "training.json" and not differs(whole, flipped):
            continue  # white space, of which JSON takes no notice
        with pytest.raises(ValueError) as error:
            training.train(out=run.folder, resume=True)
        assert path in one_line(error)


def differs(whole, flipped):
    try:
        return json.loads(whole) != json.loads(flipped)
    except ValueError:
        return True


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(name, run):
    os.remove(os.path.join(run.folder, name))
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        training.train(out=run.folder, resume=True)
    assert name in one_line(error)


def test_a_checkpoint_of_another_model(run, tiny, tmp_path):
    other = training.train(tiny(model={"hidden_size": 12, "num_layers": 2}), out=tmp_path / "other")
    path = shutil.copy(os.path.join(other.folder, "model.safetensors"), run.folder)
    for call in (lambda: training.load_run(run.folder), lambda: training.train(out=run.folder, resume=True)):
        with pytest.raises(ValueError) as error:
            call()
        assert path in one_line(error)
    with pytest.raises(ValueError, match="a checkpoint of another model: .*recurrent.weight_hh_l1.*has shape"):
        training.load_run(run.folder)


def test_a_folder_with_a_model_alone(run, tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(os.path.join(run.folder, name), tmp_path)
    found = training.load_run(tmp_path)
    assert found.config is None and found.state is None
    assert (found.model.parameters.flat == training.load_run(run.folder).model.parameters.flat).all()
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "hidden_sizes": 3}))
    with pytest.raises(ValueError, match="config.json: unknown key 'hidden_sizes' .* did you mean 'hidden_size'"):
        training.load_run(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**settings, "hidden_size": 3}))
    with pytest.raises(ValueError, match="model.safetensors is a checkpoint of another model: .*has shape"):
        training.load_run(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:-4])
    with pytest.raises(ValueError, match="model.safetensors is not a whole safetensors file"):
        training.load_run(tmp_path)


WRONG = [None, "x", -1, 1.5, True, [], {}, [1], {"a": 1}, 10**400, {"loss": []}, {"lr": {}}]


def test_a_state_whose_checksum_fits_but_whose_fields_do_not(run):
    """As a program of somebody's might write it: one line, or what it says is taken."""
    path = os.path.join(run.folder, "training.json")
    with open(path) as file:
        whole = json.load(file)
    del whole["sha256"]
    refused = 0
    for name in [*whole, *(("files", each) for each in whole["files"]), *(("config", each) for each in whole["config"])]:
        for wrong in [*WRONG, ...]:
            body = copy.deepcopy(whole)
            table, key = (body, name) if isinstance(name, str) else (body[name[0]], name[1])
            if wrong is ...:
                del table[key]
            else:
                table[key] = wrong
            with open(path, "w") as file:
                json.dump({**body, "sha256": checksum(body)}, file)
            try:
                Checkpoint.read(run.folder)
            except ValueError as error:
                refused += 1
                assert path in str(error) and "\n" not in str(error)
    assert refused > 300


DAMAGED = {
    "another header": (lambda text: text.replace("loss", "gain", 1), "its first line is not 'step,epoch"),
    "a word": (lambda text: text.replace("\n3,", "\nx,", 1), ":2 is damaged: wanted 9 numbers"),
    "a column too few": (lambda text: text.replace("\n3,", "\n3", 1), ":2 is damaged: wanted 9 numbers"),
    "zeros": (lambda text: "\0" * len(text), "is damaged"),
    "no UTF-8": (lambda text: "\udcff" * len(text), "is damaged"),
    "nothing": (lambda text: "", "its first line is not"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_log_is_one_line_and_stops_no_run(run, capsys, name):
    change, says = DAMAGED[name]
    path = os.path.join(run.folder, "log.csv")
    with open(path) as file:
        text = file.read()
    with open(path, "w", errors="surrogateescape") as file:
        file.write(change(text))
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        training.read_log(run.folder)
    assert path in one_line(error)
    longer = run.state.config.replace(steps=run.state.config.steps + 3)
    result = training.train(longer, out=run.folder, resume=True, progress=True)
    assert result.state.step == longer.steps
    said = capsys.readouterr().err
    assert f"no loss.png: {path}" in said or len(change(text)) < len(text)  # a log that is too short is begun anew


def test_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        training.load_run(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="there is no run in"):
        training.load_run(tmp_path)


def test_the_files_are_what_others_read(run):
    arrays = safetensors.numpy.load_file(os.path.join(run.folder, "model.safetensors"))
    assert set(arrays) == set(run.model.parameters) and "output.weight" not in arrays  # tied
    for name, array in arrays.items():
        assert np.array_equal(array, run.model.parameters[name])
    with safetensors.safe_open(os.path.join(run.folder, "model.safetensors"), "np") as file:
        assert file.metadata() == {"format": "pt", "step": "24"}
    assert json.load(open(os.path.join(run.folder, "config.json")))["model_type"] == "rnn_lm"


def test_written_as_the_library_writes(tmp_path):
    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.array(3, np.int64),
        "c": np.arange(12.0).reshape(3, 4).T,
        "empty": np.zeros((0, 2), np.float32),
    }
    path = tmp_path / "x.safetensors"
    with open(path, "wb") as file:
        tensor_writer.write(file, arrays, {"format": "np"})
    with TensorFile(path) as file:
        ours = {name: np.asarray(array) for name, array in file.arrays().items()}
    for found in (safetensors.numpy.load_file(path), ours):
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            assert np.array_equal(found[name], array) and found[name].dtype == array.dtype and found[name].shape == array.shape


def test_infinity_and_nan_survive_json(tiny):
    losses = {"validation": {"loss": float("nan"), "step": 3}, "best": {"loss": float("inf"), "step": 2}}
    state = training.TrainingState(tiny(), "0" * 64, schedule={"best": float("inf")}, **losses)
    written = {"a": {"bytes": 1, "sha256": "0" * 64}}
    again, files = training.TrainingState.from_json(state.to_json(written, "0"))
    assert again.best == losses["best"] and np.isnan(again.validation["loss"]) and again.validation["step"] == 3
    assert float(again.schedule["best"]) == float("inf") and files == written


# --- writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".model.safetensors.next", ".optimizer.safetensors.next", "training.json", "log.csv"])
@pytest.mark.parametrize("call", ["fsync", "write"])
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="finds a file by its descriptor in /proc")
def test_a_full_disk(name, call, tiny, tmp_path, monkeypatch):
    """The disk is full from the second checkpoint on: the first is kept, and the run goes on when there is room."""
    config = tiny(checkpoint_every=10)
    whole = training.train(config, out=tmp_path / "whole")
    trainer = _new(config, tmp_path / "run", False)
    monkeypatch.setattr(Checkpoints, "due", lambda self, trainer: full_from(trainer, 10, name, call, monkeypatch))
    with pytest.raises(OSError) as error:
        _run(trainer, False)
    trainer.close()
    monkeypatch.undo()
    assert error.value.errno == errno.ENOSPC and os.path.basename(error.value.filename) in name.replace(".next", "")
    assert training.load_run(tmp_path / "run").state.step == 0
    assert not [name for name in os.listdir(tmp_path / "run") if name.endswith((".next", ".tmp"))]
    training.train(out=tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(whole.folder)


def full_from(trainer, step, name, call, monkeypatch):
    """Whether a checkpoint is due; from that one on, writing to the file of this name fails as on a full disk."""
    if trainer.state.step != step:
        return False
    monkeypatch.undo()
    stem = name.strip(".").removesuffix(".next")
    real_open, real_fsync = builtins.open, os.fsync

    def concerned(path):
        return stem in os.path.basename(str(path))

    def failing(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path, *arguments, **options):
        file = real_open(path, *arguments, **options)
        return Full(file, failing) if concerned(path) and arguments[0] in ("wb", "xb") else file

    def fsync(descriptor):
        try:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            path = ""
        return failing() if concerned(path) else real_fsync(descriptor)

    if call == "fsync" or name == "log.csv":  # the log was opened long ago
        monkeypatch.setattr(os, "fsync", fsync)
    else:
        monkeypatch.setattr(builtins, "open", opened)
    return True


class Full:
    """A file on a full disk."""

    def __init__(self, file, write):
        self._file, self.write = file, write

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_full_disk_at_the_start(tiny, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device.*model.safetensors"):
        training.train(tiny(), out=tmp_path / "run")
    assert not os.path.exists(tmp_path / "run")  # nothing half made is left


def test_places_that_cannot_be(tiny, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match="is a file, wanted a folder"):
        training.train(tiny(), out=tmp_path / "file")
    with pytest.raises(OSError, match="Not a directory.*file"):
        training.train(tiny(), out=tmp_path / "file" / "run")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder(tiny, tmp_path):
    os.chmod(tmp_path, 0o500)
    try:
        with pytest.raises(PermissionError):
            training.train(tiny(), out=tmp_path / "run")
    finally:
        os.chmod(tmp_path, 0o700)


def test_a_run_is_not_overwritten(run, tiny, tmp_path):
    before = contents(run.folder)
    with pytest.raises(FileExistsError, match="--resume goes on with a run, --overwrite replaces it"):
        training.train(tiny(seed=4), out=run.folder)
    with pytest.raises(ValueError, match="exclude each other"):
        training.train(tiny(seed=4), out=run.folder, resume=True, overwrite=True)
    with pytest.raises(ValueError, match="needs at least"):
        training.train(tiny(time=100_000), out=run.folder, overwrite=True)
    assert contents(run.folder) == before
    training.train(tiny(seed=4), out=run.folder, overwrite=True)
    training.train(tiny(seed=4), out=tmp_path / "new")
    assert contents(run.folder) == contents(tmp_path / "new")
    assert len(training.read_log(run.folder)["step"]) == len(training.read_log(tmp_path / "new")["step"])


def test_only_what_train_wrote_is_replaced(tiny, tmp_path):
    for name in ("config.json", "tokenizer.json", "model.safetensors"):  # of a published model, or of a recipe's run
        (tmp_path / name).write_text("of another")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="no run of `minilm train`, and nothing in it is replaced"):
            training.train(tiny(), out=tmp_path, overwrite=overwrite)
    assert {path.read_text() for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"of another"}
