"""What README.md and the pages beside the code say to run: the Python runs, the commands parse, the links lead somewhere."""

import pathlib
import re
import shlex

import pytest

import minilm
from minilm import cli

ROOT = pathlib.Path(minilm.__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "minilm" / "ops" / "cuda" / "emulated" / "README.md"]
PAGES = [page for page in PAGES if page.is_file()]
pytestmark = pytest.mark.skipif(PAGES[:1] != [ROOT / "README.md"], reason="README.md is not installed")


def blocks(page):
    """(number of the line, text) of every block of code of a page: fenced ones, and those that are indented."""
    lines = page.read_text(encoding="utf-8").splitlines()
    block, start, fence = [], 0, False
    for number, line in enumerate([*lines, ""], 1):
        if line.startswith("```"):
            if fence and block:
                yield start, "\n".join(block) + "\n"
            block, fence = [], not fence
        elif fence or line.startswith("    ") or (block and not line):
            start = start if block else number
            block.append(line if fence else line[4:])
        elif block:
            yield start, "\n".join(block).rstrip("\n") + "\n"
            block = []


def is_python(text) -> bool:
    return bool(re.search(r"^(from|import) \w+", text, re.M))


PYTHON = [(f"{page.parent.name}:{line}", text) for page in PAGES for line, text in blocks(page) if is_python(text)]


def quickly(text: str) -> str:
    """The snippet with fewer steps."""
    return text.replace("range(100)", "range(2)").replace("epochs=50", "epochs=2")


@pytest.mark.parametrize("text", [pytest.param(text, id=where) for where, text in PYTHON])
def test_python_runs_as_it_stands(text, tmp_path, monkeypatch):
    if "path/to/gpt2" in text:
        text = text.replace("path/to/gpt2", str(published(tmp_path)))
    if "emulated" in text:
        from minilm.ops.cuda import emulated

        if emulated.missing():
            pytest.skip(emulated.missing())
    monkeypatch.chdir(tmp_path)
    exec(compile(quickly(text), "README.md", "exec"), {"__name__": "__main__"})


def published(folder):
    """A GPT and its tokenizer as Hugging Face lays them out."""
    from minilm import models, tokenizers

    tokenizer = tokenizers.ByteLevelBPE.train_from_chunks(["some text, some more text"], vocab_size=260)
    sizes = {"vocab_size": tokenizer.vocab_size, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 1}
    models.GPT(models.GPTConfig(**sizes)).save_pretrained(folder)
    tokenizer.save(folder / "tokenizer.json")
    return folder


def commands():
    """(where, words) of every `minilm` command line that is written out, without the part that stands for something."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = [line for _, block in blocks(page) if not is_python(block) for line in block.splitlines()]
        found += re.findall(r"`(minilm [^`]+)`", text)
        for line in found:
            for part in re.split(r" && |;", line):
                if part.startswith("minilm "):
                    yield f"{page.parent.name}: {part}", part


COMMANDS = list(commands())
SYNOPSIS = re.compile(r"[|\[]|\.\.\.|  ")


@pytest.mark.parametrize("line", [pytest.param(line, id=where) for where, line in COMMANDS if not SYNOPSIS.search(line)])
def test_commands_parse(line):
    """As far as the options go: files need not be there."""
    cli._parse(shlex.split(line)[1:])


@pytest.mark.parametrize("line", [pytest.param(line, id=where) for where, line in COMMANDS if SYNOPSIS.search(line)])
def test_commands_in_short_name_what_there_is(line, capsys):
    """A line such as ``minilm generate DIR | --weights FOLDER --prompt TEXT [--tokens N]``: command and options exist."""
    name = line.split()[1]
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    usage = capsys.readouterr().out
    for option in re.findall(r"--[a-z-]+", line.partition("   ")[0]):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", usage), f"minilm {name} has no {option}"


def test_every_command_is_listed():
    named = {line.split()[1] for _, line in COMMANDS}
    assert set(cli.COMMANDS) <= named


LINKED = sorted({*PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / "benchmarks").rglob("*.md"), *(ROOT / "corpora").rglob("*.md")})


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_extra_is_named():
    extras = (ROOT / "setup.cfg").read_text(encoding="utf-8").partition("[options.extras_require]\n")[2]
    named = (ROOT / "README.md").read_text(encoding="utf-8").rpartition("\nExtras: ")[2]
    assert set(re.findall(r"^(\w+) =", extras, re.M)) == set(re.findall(r"`(\w+)`", named))
