"""How far training has come, and when it ends; of a run, what training.json holds beside the configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from minilm.files import json_bytes, shallow
from minilm.ops import checks
from minilm.random import DROPOUT_KEYS
from minilm.training.config import RunConfig

__all__ = ["FORMAT", "Budget", "LoopState", "Stopwatch", "TrainingState", "check_budget", "sealed", "unsealed"]

FORMAT = "minilm.training"
VERSION = 1
LATER = ("skipped", "log_sha256", "trace_bytes", "trace_sha256", "machine")  # fields that runs of an earlier minilm lack


class Stopwatch:
    """The seconds of training, which stand still while something else is done; those of an earlier process count."""

    def __init__(self, seconds: float = 0.0):
        self._begin, self.elsewhere = time.perf_counter() - seconds, 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return time.perf_counter() - self._begin - self.elsewhere

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """What is done inside does not count."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.elsewhere += time.perf_counter() - begin


class Budget(NamedTuple):
    """When training ends: after so many steps or minutes; never, where neither is given."""

    steps: int | None = None
    minutes: float | None = None  # of training

    def done(self, step: int, seconds: float) -> float:
        """The part that is used up, 1 or more at the end."""
        if self.steps is not None:
            return step / self.steps
        return 0.0 if self.minutes is None else seconds / (60 * self.minutes)


def check_budget(steps: int | None, minutes: float | None, schedule: Any) -> None:
    """TypeError or ValueError unless steps and minutes are positive, and one is given where there is a schedule."""
    if steps is not None:
        checks.whole("steps", steps, 1, 2**63)
    if minutes is not None:
        checks.number("minutes", minutes, 0, math.inf, low_open=True)
    if schedule is not None and steps is None and minutes is None:
        raise ValueError("a schedule needs to know when training will end: give steps or minutes")


@dataclasses.dataclass
class LoopState:
    """How far training has come."""

    step: int = 0  # steps taken
    seconds: float = 0.0  # of training


@dataclasses.dataclass
class TrainingState:
    """How far a run has come. Everything that is not an array.

    Attributes
    ----------
    config : RunConfig
    corpus_sha256 : str
        Of the text's file: a resumed run must read the same one.
    step : int
        Steps taken.
    epoch : float
        Passes over the part of the text for training.
    tokens : int
        Targets trained on.
    seconds : float
        Of training alone; what a budget in minutes counts.
    schedule : dict
        State of the schedule.
    loss_sum, loss_count
        Sum of the losses since the last row of log.csv, and how many.
    log_bytes : int
        How much of log.csv belongs to this checkpoint.
    log_sha256 : str
        Of that part; "" in runs of an earlier minilm.
    trace_bytes, trace_sha256
        The same of trace.f64.
    skipped : int
        Steps that changed nothing, since their loss or gradient was not finite.
    validation : dict or None
        The last validation: ``step``, ``loss`` (nats a token), ``perplexity``, ``bits_per_character``, ``tokens``,
        and of models of masked tokens ``accuracy`` and ``next_sentence_accuracy``.
    best : dict or None
        The step and loss of the lowest one.
    finished : bool
        Whether the budget is used up.
    machine : dict or None
        What the bits depend on: see `minilm.training.provenance`.
    dropout_keys : int
        How `minilm.random.Key.at` numbered the places of dropout when the run was begun.
    """

    config: RunConfig
    corpus_sha256: str
    step: int = 0
    epoch: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    schedule: dict[str, Any] = dataclasses.field(default_factory=dict)
    loss_sum: float = 0.0
    loss_count: int = 0
    log_bytes: int = 0
    log_sha256: str = ""
    skipped: int = 0
    trace_bytes: int = 0
    trace_sha256: str = ""
    validation: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    finished: bool = False
    machine: dict[str, Any] | None = None
    dropout_keys: int = DROPOUT_KEYS

    def to_json(self, files: dict[str, dict[str, Any]], version: str) -> bytes:
        """The content of training.json: this, what the checkpoint's files are, and a checksum of all that."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["config"] = self.config.to_dict()
        return sealed({"format": FORMAT, "version": VERSION, "minilm_version": version, **fields, "files": files})

    @classmethod
    def from_json(cls, content: bytes) -> tuple[TrainingState, dict[str, dict[str, Any]]]:
        """The state, and what the checkpoint's files are.

        Raises
        ------
        ValueError
            Saying what is wrong, without the file's name.
        """
        body = unsealed(content, FORMAT, VERSION)
        files = body["files"]
        names = [field.name for field in dataclasses.fields(cls)]
        fields = {name: body[name] for name in names if name in body or name not in LATER}
        if isinstance(fields["loss_sum"], str):
            fields["loss_sum"] = float(fields["loss_sum"])
        _check_types({**fields, "files": files})
        for name in ("validation", "best"):
            if fields[name] is not None:
                fields[name] = {key: float(value) if isinstance(value, str) else value for key, value in fields[name].items()}
        return cls(**{**fields, "config": RunConfig.from_dict(body["config"])}), files


def _check_types(fields: dict[str, Any]) -> None:
    """ValueError for the first field that is not what it should be."""
    for name in ("step", "tokens", "loss_count", "log_bytes", "trace_bytes", "skipped", "dropout_keys"):
        checks.whole(name, fields.get(name, 0), 0, 2**63)
    for name in ("log_sha256", "trace_sha256"):
        if not isinstance(fields.get(name, ""), str):
            raise TypeError(f"{name} must be a text, got {checks.describe(fields[name])}")
    for name in ("epoch", "seconds"):
        checks.number(name, fields[name], 0, math.inf)
    checks.number("loss_sum", fields["loss_sum"], -math.inf, math.inf)
    checks.flag("finished", fields["finished"])
    for name in ("config", "schedule", "files", "validation", "best", "machine"):
        value = fields.get(name)
        if not isinstance(value, dict) and not (value is None and name in ("validation", "best", "machine")):
            raise TypeError(f"{name} must be a JSON object, got {checks.describe(value)}")


def sealed(body: dict[str, Any]) -> bytes:
    """A JSON object as a file's content, with a checksum of it."""
    body = _plain(body)
    text = json.dumps({**body, "sha256": checksum(body)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return json_bytes(text)


def unsealed(content: bytes, form: str, version: int) -> dict[str, Any]:
    """The JSON object that `sealed` wrote; ValueError if it is damaged, or not of this form and version."""
    try:
        body = shallow(json.loads(content.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(body, dict) or body.get("format") != form:
        raise ValueError(f"it has no field 'format' of {form!r}")
    if body.get("version") != version:
        raise ValueError(f"format version {body.get('version')!r} is unknown; this minilm reads version {version}")
    recorded = body.pop("sha256", None)
    if recorded != checksum(body):
        raise ValueError("its content does not fit its own checksum")
    body.setdefault("dropout_keys", 1)  # of runs that were begun before it was written
    return body


def checksum(body: dict[str, Any]) -> str:
    """The sha256 of a JSON object, whatever the order and spacing it was written with."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _plain(value):
    """JSON has no infinity, so that is written as a string; ``float`` reads it back."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
