"""The entry point: what is imported, what an error looks like, exit statuses."""

import os
import re
import signal
import subprocess
import sys
import time
import types

import pytest

import minilm
from minilm import cli
from tests import clocks


def run(*words, **options):
    """`python -m minilm` in a process of its own."""
    options = {"capture_output": True, "text": True, "timeout": clocks.PATIENCE, **options}
    return subprocess.run([sys.executable, "-m", "minilm", *words], **options)


@pytest.fixture
def command(monkeypatch):
    """Puts a function in the place of `minilm info`."""

    def put(function):
        module = types.ModuleType("minilm.cli.info")

        def add_parser(subparsers):
            parser = subparsers.add_parser("info")
            parser.add_argument("words", nargs="*")
            parser.add_argument("--flag", action="store_true")
            parser.set_defaults(run=function)

        module.add_parser = add_parser
        monkeypatch.setitem(sys.modules, "minilm.cli.info", module)

    return put


def fails_with(error):
    def function(args):
        raise error

    return function


# --- help and usage --------------------------------------------------------------------------------------------------


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["--help"])
    assert exit.value.code == 0
    out = capsys.readouterr().out
    for name, says in cli.COMMANDS.items():
        assert re.search(rf"^ +{name} +{re.escape(says)}$", out, re.M), out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([name, "--help"])
    assert exit.value.code == 0 and f"usage: minilm {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["train"], ["corpus", "fetch"]])
def test_help_is_a_command_too(words, capsys):
    shown = []
    for argv in ([*words, "--help"], ["help", *words], ["help", "help", *words]):
        with pytest.raises(SystemExit) as exit:
            cli.main(argv)
        shown.append((exit.value.code, capsys.readouterr().out))
    assert shown[0] == shown[1] == shown[2] and shown[0][0] == 0 and "usage: minilm" in shown[0][1]
    with pytest.raises(SystemExit):
        cli.main(["help", "trian"])
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_help_is_quick_and_light():
    code = (
        "import sys, time; start = time.process_time(); from minilm import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print(time.process_time() - start, 'numpy' in sys.modules, *(m for m in sys.modules if m.startswith('minilm.cli.')))"
    )
    ends = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()[-1].split()
        for _ in range(3)
    ]
    assert min(float(end[0]) for end in ends) < 0.3
    assert ends[0][1:] == ["False"], "the help needs no command's module"


def test_version(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["--version"])
    assert exit.value.code == 0 and capsys.readouterr().out == f"minilm {minilm.__version__}\n"


@pytest.mark.parametrize(
    "words, says",
    [
        (["trian"], "there is no command 'trian'; did you mean 'train'?"),
        (["xyzzy"], "there is no command 'xyzzy'; there are train, generate, chat, evaluate,"),
        (["corpus", "fecth"], "'fecth'.*did you mean 'fetch'"),
        (["corpus", "list", "--jsn"], "unrecognized arguments: --jsn; did you mean '--json'"),
        (["corpus", "list", "more"], "minilm corpus list: unrecognized arguments: more; see `minilm corpus list --help`$"),
        (["corpus"], "^minilm corpus: the following arguments are required: "),
        (["generate", "run", "--tokens", "x"], "argument --tokens: invalid int value: 'x'; see `minilm generate --help`$"),
        (["train", "--steps"], "argument --steps: expected one argument"),
        (["gradcheck", "--implementation", "cqu"], "'cqu'.*did you mean 'cpu'"),
        (["--verison"], "a command is missing"),
    ],
)
def test_wrong_usage(words, says, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(words)
    err = capsys.readouterr().err
    assert exit.value.code == 2 and re.search(says, err, re.M), err
    assert err.count("\n") == 1 and err.startswith("minilm"), "one line, without the usage"


def test_no_command_at_all(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([])
    captured = capsys.readouterr()
    assert exit.value.code == 2 and "usage: minilm" in captured.err and not captured.out


@pytest.mark.parametrize("words", [["a", "--flag", "b"], ["--flag", "a", "b"], ["a", "b", "--flag"]])
def test_options_may_stand_anywhere(words, command):
    command(lambda args: 0 if args.words == ["a", "b"] and args.flag else 1)
    assert cli.main(["info", *words]) == 0


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, line",
    [
        (ValueError("steps must be at least 1, got 0"), "minilm: steps must be at least 1, got 0"),
        (ValueError("two\n   lines\n\nand more"), "minilm: two lines and more"),
        (ValueError(), "minilm: ValueError"),
        (TypeError("no"), "minilm: no"),
        (FileNotFoundError(2, "No such file or directory", "there/it.txt"), "minilm: there/it.txt: No such file or directory"),
        (PermissionError(13, "Permission denied", b"x"), "minilm: x: Permission denied"),
        (OSError("strange"), "minilm: strange"),
        (OSError(28, "No space left on device"), "minilm: the standard output: No space left on device"),
        (MemoryError("Unable to allocate 3 TiB"), "minilm: out of memory: Unable to allocate 3 TiB"),
        (MemoryError(), "minilm: out of memory"),
        (FloatingPointError("loss is nan at step 7"), "minilm: loss is nan at step 7"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "minilm: 'utf-8' codec can't decode byte 0xff in pos"),
    ],
)
def test_an_error_is_one_line(error, line, command, capsys):
    command(fails_with(error))
    assert cli.main(["info"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(line) and captured.err.count("\n") == 1 and not captured.out


def test_a_traceback_on_demand(command, monkeypatch, capsys):
    command(fails_with(ValueError("no")))
    monkeypatch.setenv("MINILM_DEBUG", "1")
    with pytest.raises(ValueError, match="no"):
        cli.main(["info"])
    monkeypatch.setenv("MINILM_DEBUG", "0")
    assert cli.main(["info"]) == 2


def test_a_bug_keeps_its_traceback(command):
    command(fails_with(KeyError("x")))
    with pytest.raises(KeyError):
        cli.main(["info"])


@pytest.mark.parametrize("status", [0, 1, None])
def test_the_status_is_the_commands(status, command):
    command(lambda args: status)
    assert cli.main(["info"]) == (status or 0)


def test_ctrl_c(command, capsys):
    command(fails_with(KeyboardInterrupt()))
    assert cli.main(["info"]) == 130
    assert capsys.readouterr().err == "\nminilm: interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_in_a_real_process():
    process = subprocess.Popen(
        [sys.executable, "-m", "minilm", "gradcheck", "--implementation", "oracle"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it, and so would this
    )  # fmt: skip
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=clocks.PATIENCE)
    assert process.returncode == 130 and "Traceback" not in err and err.endswith("minilm: interrupted\n")


@pytest.mark.parametrize("words", ["show lstm --cpu --helpers", "corpus list"])  # the pipe breaks on the way, and at the end
def test_a_closed_pipe_is_quiet(words):
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-m", "minilm", *words.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=buffered
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=clocks.PATIENCE) == 141


# --- processes -------------------------------------------------------------------------------------------------------


def test_python_m_minilm():
    done = run("corpus", "path", "stories")
    assert done.returncode == 0 and os.path.isfile(done.stdout.strip()) and not done.stderr
    done = run("corpus", "path", "storeis")
    assert done.returncode == 2 and done.stderr.startswith("minilm: ") and done.stderr.count("\n") == 1
    assert "did you mean 'stories'" in done.stderr


def test_a_terminal_without_unicode():
    done = run("show", "softmax", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "\\u2202y" in done.stdout  # ∂y
