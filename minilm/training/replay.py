"""A run replayed: the same steps from the same checkpoint, compared with what the run computed, bit for bit.

What is needed is in the folder. The start is a checkpoint that was kept (``keep_every``), or the first weights, which are a
function of the seed. Rates, losses and norms of every step are in trace.f64; the weights of the end in the last checkpoint.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minilm import data, devices
from minilm.checksums import file_hash
from minilm.mistaken import existing_folder
from minilm.ops import checks
from minilm.training import kept, log, snapshot
from minilm.training.build import corpus_parts, make_model
from minilm.training.checkpoint import Checkpoint
from minilm.training.divergence import quiet
from minilm.training.growing_file import Mark
from minilm.training.initial import start_of
from minilm.training.run import model_of, tokenizer_of
from minilm.training.state import TrainingState
from minilm.training.trace import read_trace
from minilm.training.trainer import Trainer
from minilm.typing import PathLike

__all__ = ["Record", "Replayed", "planned", "read_record", "replay"]

ARRAYS = (snapshot.WEIGHTS, snapshot.REST)


class Record(NamedTuple):
    """What a run's folder says of it."""

    folder: str
    checkpoint: Checkpoint  # the last
    rows: dict[int, tuple[float, float, float]]  # step -> rate, loss and norm; empty in runs of an earlier minilm
    kept: list[int]  # steps whose checkpoints stay

    @property
    def state(self) -> TrainingState:
        """The state of the last checkpoint."""
        return self.checkpoint.state

    def weights(self) -> dict[int, dict[str, str]]:
        """For each checkpoint the sha256 of its arrays' files, by step."""
        files = {step: Checkpoint.read(kept.folder_of(self.folder, step), ()).files for step in self.kept}
        files[self.state.step] = self.checkpoint.files
        return {step: {name: entries[name]["sha256"] for name in ARRAYS} for step, entries in files.items()}


class Replayed(NamedTuple):
    """What a replay showed."""

    first: int  # the step that it started from
    last: int  # the last step that was compared
    compared: list[int]  # steps whose weights were compared
    rows: int  # steps whose losses were
    fault: str | None  # the first difference, None where there is none


def read_record(folder: PathLike) -> Record:
    """Read a run's record; every file is held against its checksum.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no run, or a file is damaged: in one line that names it.
    """
    folder = existing_folder(folder)
    checkpoint = Checkpoint.read(folder)
    state = checkpoint.state
    rows = read_trace(folder, Mark(state.trace_bytes, state.trace_sha256))  # (N, 4)
    if state.log_sha256:
        _check_log(os.path.join(folder, log.NAME), state)
    steps = kept.kept_steps(folder)
    for step in steps:
        Checkpoint.read(kept.folder_of(folder, step))
    return Record(folder, checkpoint, {int(step): (lr, loss, norm) for step, lr, loss, norm in rows.tolist()}, steps)


def _check_log(path: str, state: TrainingState) -> None:
    with open(path, "rb") as file:
        content = file.read(state.log_bytes)
    if hashlib.sha256(content).hexdigest() != state.log_sha256:
        raise ValueError(f"{path} is damaged: its first {state.log_bytes:,} bytes have not the sha256 {state.log_sha256[:16]}...")


def replay(
    record: Record, start: int | None = None, steps: int | None = None, progress: Callable[[str], None] = lambda line: None
) -> Replayed:
    """Take steps of a run again, and compare.

    Parameters
    ----------
    record : Record
    start : int, optional
        0, or a step that was kept; without it the last of them that lies before the end.
    steps : int, optional
        How many at the most; without it all up to the last checkpoint.
    progress : callable
        Called with a line that says what is done.

    Raises
    ------
    ValueError
        The run cannot be replayed: what is missing, in one line.
    """
    start, last = planned(record, start, steps)
    state = record.state
    progress(f"replaying steps {start + 1:,} ... {last:,} of {state.step:,}, which took {state.seconds:,.0f} s in all")
    with tempfile.TemporaryDirectory() as scratch:
        trainer = _trainer(record, start, scratch)
        try:
            return _compared(record, trainer, start, last)
        finally:
            trainer.close()


def planned(record: Record, start: int | None = None, steps: int | None = None) -> tuple[int, int]:
    """The step that `replay` would start from, and the last one that it would take; ValueError where it cannot."""
    state = record.state
    starts = [0, *(step for step in record.kept if step < state.step)]
    start = starts[-1] if start is None else start
    if start not in starts:
        raise ValueError(f"{record.folder} has no checkpoint of step {start} to start from: it has {', '.join(map(str, starts))}")
    steps = state.step - start if steps is None else checks.whole("steps", steps, 1, 2**63)
    last = min(start + steps, state.step)
    if state.config.minutes is not None and any(step not in record.rows for step in range(start + 1, last + 1)):
        raise ValueError(f"{record.folder} cannot be replayed: its rates followed the clock, and are on no record")
    return start, last


class _Discarding:
    """A run's folder in which nothing is kept."""

    def __init__(self, path: str):
        self.path = path
        self.files: dict[str, dict] = {}

    def save(self, state: Any, writers: Any) -> None:
        pass

    def close(self) -> None:
        pass


def _trainer(record: Record, start: int, scratch: str) -> Trainer:
    """A trainer that stands where the run stood at a step."""
    config = record.state.config
    try:
        devices.require(config.device)
    except RuntimeError as error:
        raise ValueError(f"{record.folder} was trained on {config.device}: {error}") from None
    text = data.text(config.corpus, config.errors)
    if file_hash(text.path) != record.state.corpus_sha256:
        raise ValueError(f"{text.path} is not the text that {record.folder} was trained on")
    tokenizer, parts = corpus_parts(config, tokenizer_of(record.folder, record.checkpoint.contents["tokenizer.json"]))
    if start:
        checkpoint = Checkpoint.read(kept.folder_of(record.folder, start))
        state = checkpoint.state
        state.log_bytes = state.trace_bytes = 0
        folder = checkpoint.folder
        model = model_of(folder, checkpoint.contents["config.json"], checkpoint.contents["model.safetensors"])
    else:
        checkpoint, state = None, TrainingState(config, record.state.corpus_sha256)
        begun = start_of(config)
        model = make_model(config, tokenizer.vocab_size) if begun is None else begun.model
    return Trainer(_Discarding(scratch), state, model, tokenizer, parts, checkpoint)  # type: ignore[arg-type]


def _compared(record: Record, trainer: Trainer, start: int, last: int) -> Replayed:
    weights, compared, rows = record.weights(), [], 0
    with trainer.on_gpu(), quiet():
        for step in range(start + 1, last + 1):
            expected = record.rows.get(step)
            trainer.lr = trainer.rate() if expected is None else expected[0]
            loss, norm = trainer.step(trainer.batches.batch(step - 1))
            trainer.count(loss, norm)
            if expected is not None:
                rows += 1
                fault = _differing(step, (trainer.loss, trainer.gradient_norm), expected[1:])
                if fault is not None:
                    return Replayed(start, step, compared, rows, fault)
            if step in weights:
                compared.append(step)
                fault = _differing_weights(step, trainer, weights[step])
                if fault is not None:
                    return Replayed(start, step, compared, rows, fault)
    return Replayed(start, last, compared, rows, None)


def _differing(step: int, numbers: tuple[float, float | None], expected: tuple[float, float]) -> str | None:
    """The first of loss and norm whose bits differ."""
    for name, number, before in zip(("loss", "gradient norm"), numbers, expected, strict=True):
        number = np.nan if number is None else float(number)
        if np.float64(number).tobytes() != np.float64(before).tobytes():
            return f"step {step:,}: the {name} is {number!r}, in the run it was {before!r}"
    return None


class _Digest:
    """A file that keeps nothing but the sha256 of what is written."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, content: Any) -> None:
        self.digest.update(content)


def _differing_weights(step: int, trainer: Trainer, expected: dict[str, str]) -> str | None:
    """The first file of arrays that would not be the one of the run."""
    writers = snapshot.writers(trainer, first=False)
    for name in ARRAYS:
        file = _Digest()
        writers[name](file)
        digest = file.digest.hexdigest()
        if digest != expected[name]:
            return f"step {step:,}: {name} has the sha256 {digest[:16]}..., in the run it was {expected[name][:16]}..."
    return None
