"""What the tests compare of two runs."""

import os

from minilm import training


def contents(folder, names=("model.safetensors", "optimizer.safetensors", "config.json", "tokenizer.json")):
    """The bytes of a run's files by name."""
    found = {}
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            found[name] = file.read()
    return found


def log_without_times(folder):
    """log.csv's rows, but for the columns that depend on the machine."""
    log = training.read_log(folder)
    kept = [name for name in log if name not in ("seconds", "tokens_per_second")]
    return [tuple(repr(log[name][row]) for name in kept) for row in range(len(log["step"]))]


def one_line(error) -> str:
    """The text of an error that `pytest.raises` caught, which is one line."""
    text = str(error.value)
    assert text and "\n" not in text
    return text
