"""A run replayed gives its own bits, and whatever else it gives is named; hashes of two runs are compared."""

import json
import os
import shutil

import numpy as np
import pytest

from minilm import cli, training
from minilm.training import kept
from minilm.training.checkpoint import Checkpoint
from minilm.training.growing_file import Mark
from minilm.training.publish import compare, published
from minilm.training.replay import read_record, replay
from minilm.training.state import checksum
from minilm.training.trace import Trace, read_trace

KINDS = {
    "lstm": {"model": {"dropout": 0.2}, "average": 0.9, "accumulate": 2},
    "gpt": {"model": {"model_type": "gpt", "n_layer": 1, "n_head": 2, "n_embd": 8, "resid_pdrop": 0.2}},
    "bert": {
        "model": {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 60},
        "validation": 0.3,
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory, corpus):
    """A run of 24 steps with checkpoints of the 8th and 16th kept."""
    folder = tmp_path_factory.mktemp("replay") / "run"
    options = {"corpus": corpus, "steps": 24, "batch": 4, "time": 16, "keep_every": 8, "sample": {"tokens": 0}}
    options |= {"model": {"embedding_size": 6, "hidden_size": 10}, "evaluate_every": 5}
    training.train(training.configuration(options=options), out=folder)
    return str(folder)


@pytest.fixture
def copied(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copied")


def test_every_step_is_traced(run):
    record = read_record(run)
    assert list(record.rows) == list(range(1, 25)) and record.kept == [8, 16, 24]
    log = training.read_log(run)
    ends = [int(step) for step in log["step"] if step <= 24]
    for begin, end, mean in zip([0, *ends], ends, log["loss"], strict=False):
        losses = [record.rows[step][1] for step in range(begin + 1, end + 1)]
        assert not losses or np.isclose(np.mean(losses), mean, rtol=1e-6)


@pytest.mark.parametrize(("start", "steps", "compared"), [(None, None, [24]), (0, None, [8, 16, 24]), (8, 9, [16]), (16, 3, [])])
def test_a_replay_is_equal_bit_for_bit(run, start, steps, compared):
    result = replay(read_record(run), start, steps)
    assert result.fault is None and result.compared == compared and result.rows == result.last - result.first


@pytest.mark.parametrize("kind", KINDS)
def test_models(kind, corpus, tmp_path):
    options = {"corpus": corpus, "steps": 6, "batch": 4, "time": 16, "sample": {"tokens": 0}, "keep_every": 3, **KINDS[kind]}
    training.train(training.configuration(options=options), out=tmp_path / "run")
    for start in (0, 3):
        assert replay(read_record(tmp_path / "run"), start).fault is None


def test_a_run_that_was_resumed(tiny, tmp_path):
    config = tiny(steps=9, keep_every=5, schedule={"name": "constant"})
    training.train(config, out=tmp_path / "run")
    training.train(config.replace(steps=14), out=tmp_path / "run", resume=True)
    result = replay(read_record(tmp_path / "run"), 0)
    assert result.fault is None and result.rows == 14 and result.compared == [5, 10, 14]


def test_minutes(tiny, tmp_path):
    training.train(tiny(minutes=0.005), out=tmp_path / "run")
    record = read_record(tmp_path / "run")
    assert replay(record).fault is None
    with pytest.raises(ValueError, match="followed the clock, and are on no record"):
        replay(record._replace(rows={}))


def test_a_kept_checkpoint_is_a_run(run, tmp_path):
    folder = shutil.copytree(kept.folder_of(run, 8), tmp_path / "eight")
    assert training.load_run(folder).state.step == 8
    training.train(out=folder, resume=True)
    assert [(tmp_path / "eight" / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")] == [
        open(os.path.join(run, name), "rb").read() for name in ("model.safetensors", "optimizer.safetensors")
    ]


def test_a_run_that_replaces_another_forgets_what_was_kept(copied, tiny):
    os.mkdir(copied / "step-7")  # of somebody's
    training.train(tiny(steps=2), out=copied, overwrite=True)
    assert kept.kept_steps(copied) == [] and os.path.isdir(copied / "step-7")


def resealed(path, change):
    """Change a state, with a checksum that fits again."""
    body = json.loads(path.read_text())
    change(body)
    del body["sha256"]
    path.write_text(json.dumps({**body, "sha256": checksum(body)}))


def test_another_loss_is_named(copied, capsys):
    content = bytearray((copied / "trace.f64").read_bytes())
    state = Checkpoint.read(copied, ()).state
    assert len(read_trace(copied, Mark(state.trace_bytes, state.trace_sha256))) == 24
    content[19 * 32 + 16] ^= 1  # the last bit of the 20th loss
    (copied / "trace.f64").write_bytes(content)
    import hashlib

    resealed(copied / "training.json", lambda body: body.update(trace_sha256=hashlib.sha256(content).hexdigest()))
    assert cli.main(["verify", str(copied)]) == 1
    assert "replay   differs. step 20: the loss is " in capsys.readouterr().out


def test_other_weights_are_named(copied, monkeypatch):
    record = read_record(copied)
    files = record.checkpoint.files
    monkeypatch.setitem(files, "optimizer.safetensors", {**files["optimizer.safetensors"], "sha256": "0" * 64})
    assert replay(record).fault.startswith("step 24: optimizer.safetensors has the sha256 ")


def test_steps_that_are_not_there(run):
    with pytest.raises(ValueError, match="no checkpoint of step 7 to start from: it has 0, 8, 16$"):
        replay(read_record(run), 7)


def test_every_flipped_byte_of_a_run_is_noticed(copied):
    names = [
        "training.json",
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "optimizer.safetensors",
        "log.csv",
        "trace.f64",
    ]
    names += ["step-8/model.safetensors", "step-16/training.json"]
    rng = np.random.default_rng(0)
    for name in names:
        content = (copied / name).read_bytes()
        for place in rng.integers(0, len(content), 12):
            wrong = bytearray(content)
            wrong[place] ^= 1 << int(rng.integers(8))
            (copied / name).unlink()  # a kept checkpoint has the same file
            (copied / name).write_bytes(wrong)
            with pytest.raises(ValueError, match=r"step-|damaged"):
                read_record(copied)
        (copied / name).write_bytes(content)
    read_record(copied)


def test_a_trace_that_was_cut_short_begins_anew(tmp_path):
    trace = Trace(tmp_path)
    trace.add(1, 0.1, 2.0, None)
    mark = trace.flush()
    trace.close()
    assert read_trace(tmp_path, mark)[0, :3].tolist() == [1, 0.1, 2.0]
    trace = Trace(tmp_path, keep=64)
    trace.add(3, 0.1, 1.0, 0.5)
    assert read_trace(tmp_path, trace.flush()).tolist() == [[3, 0.1, 1.0, 0.5]]
    trace.close()


def test_a_trace_loses_what_is_beyond_the_checkpoint(tmp_path):
    trace = Trace(tmp_path)
    trace.add(1, 0.1, 2.0, 0.5)
    mark = trace.flush()
    trace.add(2, 0.1, 1.0, 0.5)
    trace.close()
    trace = Trace(tmp_path, keep=mark.bytes)
    assert trace.flush() == mark and os.path.getsize(tmp_path / "trace.f64") == mark.bytes
    trace.close()


# --- hashes that are published -------------------------------------------------------------------------------------------


def test_hashes_of_equal_runs_are_equal(run, tmp_path, capsys):
    assert cli.main(["verify", run, "--publish", "--steps", "0"]) == 0
    (tmp_path / "hashes.json").write_text(capsys.readouterr().out)
    assert cli.main(["verify", run, "--against", str(tmp_path / "hashes.json")]) == 0
    lines = capsys.readouterr().out
    assert "equal    losses of steps 1 ... 24\n" in lines and "equal    model.safetensors of step 24\n" in lines
    assert "differs" not in lines


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--steps", "-1"], "steps must lie in [0"),
        (["--start", "-1"], "start must lie in [0"),
        (["--start", "5"], "has no checkpoint of step 5 to start from"),
        (["--steps", "0", "--start", "8"], "--start is for a replay, and --steps 0 replays nothing"),
        (["--against", "x", "--publish"], "--publish prints the hashes that --against compares"),
        (["--against", "x", "--steps", "2"], "--steps is for a replay"),
        (["--against", "x", "--start", "8"], "--start is for a replay"),
    ],
)
def test_what_verify_refuses_it_refuses_before_it_prints(run, words, says, capsys):
    assert cli.main(["verify", run, *words]) == 2
    printed = capsys.readouterr()
    assert not printed.out and says in printed.err and printed.err.count("\n") == 1


def test_hashes_tell_where_two_runs_part(run):
    record = read_record(run)
    own = published(record)
    rows = {step: (lr, np.nextafter(loss, 9) if step == 11 else loss, norm) for step, (lr, loss, norm) in record.rows.items()}
    equal, unequal = compare(own, published(record._replace(rows=rows)))
    assert equal[0] == "losses of steps 1 ... 8" and unequal == ["losses: the first difference lies in steps 9 ... 16"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"corpus_sha256": "0"}, "of different texts"),
        ({"settings": {"seed": 1}}, "different settings: .*seed: 0 and 1"),
        ({"losses": {}, "weights": {}}, "no step in common"),
    ],
)
def test_hashes_of_other_runs_are_refused(run, change, says):
    own = published(read_record(run))
    if "settings" in change:
        change = {"settings": {**own["settings"], **change["settings"]}}
    with pytest.raises(ValueError, match=says):
        compare(own, {**own, **change})


def test_what_is_no_hashes(run, tmp_path, capsys):
    (tmp_path / "a.json").write_text("{}")
    assert cli.main(["verify", run, "--against", str(tmp_path / "a.json")]) == 2
    assert "a.json is not what `minilm verify --publish` prints" in capsys.readouterr().err
