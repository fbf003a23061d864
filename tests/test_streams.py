"""Standard streams that are closed or break: training goes on, and what was trained is in its folder."""

import io
import os
import select
import struct
import subprocess
import sys

import pytest

from minilm import cli, recipes, streams, training
from minilm.training.log import Progress
from tests.clocks import PATIENCE
from tests.recipes.toy import Toy
from tests.training.conftest import corpus, tiny  # noqa: F401

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs shells and terminals of Unix")

COMMAND = "train --corpus {} --steps 3 --set model.hidden_size=4 --set model.embedding_size=3 --set batch=2 --set time=8"


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_command_whose_streams_are_closed_trains(corpus, tmp_path, closed):  # noqa: F811
    words = f"{sys.executable} -m minilm {COMMAND.format(corpus)} --set sample.tokens=4 --out run {closed}"
    ended = subprocess.run(["sh", "-c", words], capture_output=True, cwd=tmp_path, timeout=PATIENCE, env={**os.environ, **here()})
    assert ended.returncode == 0 and b"Traceback" not in ended.stderr + ended.stdout
    assert (b"validation " in ended.stdout) == (">&-" not in closed.split())
    assert ended.stderr == b"" or "2>" not in closed
    run = training.load_run(tmp_path / "run")
    assert run.state.finished and len(training.read_log(tmp_path / "run")["step"]) == 2
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.name != "loss.png") == [
        "config.json",
        "log.csv",
        "model.safetensors",
        "optimizer.safetensors",
        "sample.txt",
        "tokenizer.json",
        "trace.f64",
        "training.json",
    ]


def here() -> dict:
    """The environment in which a command in another folder finds this package."""
    return {"PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(params=["pipe", "terminal", "closed", "missing", "full"])
def broken(request, monkeypatch):
    """A stderr that breaks at once, in five ways."""
    reading, writing = os.openpty() if request.param == "terminal" else os.pipe()
    stream = None
    if request.param == "full":
        stream = open("/dev/full", "w")
    elif request.param != "missing":
        stream = os.fdopen(os.dup(writing), "w")
    if request.param == "closed":
        stream.close()
    os.close(reading)  # nobody reads any more
    monkeypatch.setattr(sys, "stderr", stream)
    yield request.param
    monkeypatch.undo()
    os.close(writing)
    if stream is not None and not stream.closed:
        stream.close()  # raises if something is left in its buffer that cannot be written


def test_training_goes_on_where_nobody_sees_its_progress(tiny, tmp_path, broken):  # noqa: F811
    result = training.train(tiny(evaluate_every=5), out=tmp_path / "run", progress=None)
    assert result.state.finished and result.state.step == 24
    assert training.load_run(tmp_path / "run").state.validation["loss"] == result.evaluation.loss


def test_a_recipe_goes_on_where_nobody_sees_its_progress(tmp_path, monkeypatch, broken, capsys):
    monkeypatch.setitem(recipes.RECIPES, "toy", ("tests.recipes.toy", "Toy"))
    assert cli.main(["recipe", "toy", "--out", str(tmp_path / "run"), "--steps", "30"]) == 0
    recipes.open_run(tmp_path / "run")
    result = Toy(steps=5).run(progress=None)
    assert result.steps == 5


def test_an_error_that_cannot_be_printed_has_its_status(broken):
    assert cli.main(["train", "--corpus", "no such file"]) == 2
    with pytest.raises(SystemExit) as error:
        cli.main(["train", "--no-such-option"])
    assert error.value.code == 2


def test_what_can_be_written_is():
    stream = io.StringIO()
    guarded = streams.Guarded(stream)
    assert print("loss 2.3", file=guarded, flush=True) is None and stream.getvalue() == "loss 2.3\n"
    assert not guarded.isatty() and not streams.Guarded(None).isatty()


def opened_terminal(columns):
    """Both ends of a terminal, of so many columns."""
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return master, os.fdopen(slave, "w")


def shown_on(master) -> bytes:
    """What stands on a terminal, in however many pieces it came; nothing is waited for without end."""
    shown = b""
    while select.select([master], [], [], 0.5 if shown else 10)[0]:
        shown += os.read(master, 1000)
    return shown


def test_a_terminal_without_a_size_gets_lines(monkeypatch):
    master, terminal = opened_terminal(columns=0)
    monkeypatch.setattr(sys, "stderr", terminal)
    Progress(None, "characters").update(1.0, 0.5, 3, 2.0, 10)
    assert shown_on(master).startswith(b"step 3 (50%): loss 2.000")


def test_a_terminal_that_goes_away(monkeypatch):
    master, terminal = opened_terminal(columns=80)
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress(None, "characters")
    progress.update(1.0, 0.5, 3, 2.0, 10)
    assert b"step 3" in shown_on(master)  # the bar
    os.close(master)
    for step in range(4, 7):
        progress.update(float(step), 0.6, step, 2.0, 10)
        progress.say("a line")
    progress.close()
    terminal.close()
