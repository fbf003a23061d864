"""The configuration of a run: everything that decides what a run computes, and nothing else does.

A `RunConfig` is frozen and whole: defaults are filled in, and every value was checked when it was made.
`minilm.training.settings` makes one from a recipe, a TOML file and the command line; training.json keeps it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from minilm.mistaken import nearest
from minilm.ops import checks
from minilm.training import config_checks
from minilm.training.config_checks import BUDGETS, CONTEXTS, model_settings
from minilm.training.sections import SECTIONS, OptimizerConfig, SampleConfig, ScheduleConfig, TokenizerConfig

__all__ = ["BUDGETS", "RunConfig"]


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Configuration of a training run.

    Parameters
    ----------
    recipe : str
        Where the settings started from; for the record.
    corpus : str, path or Text
        A text file, or the name of a corpus; or what `minilm.data.text` gave, whose path is kept. Several of them, in a list, are
        one text of which each gives its last part for validation: see `minilm.data.joined`.
    mixture : list of float, optional
        Of several texts, how often each is drawn, in any unit: see `minilm.data.mixture`. Rows are then windows from anywhere, so
        that no state is carried. Without it several texts are read as one.
    parts : list of int, optional
        Set by training: the characters that each of several texts has in the part for training.
    errors : {"strict", "replace", "ignore"}
        What invalid UTF-8 in it becomes.
    validation : float
        The last part of the text that is kept for validation, in (0, 1).
    init_from : str, optional
        Start from the weights and the tokenizer of this folder, a run's or a pretrained model's, or of a name on the Hugging Face
        Hub: fine-tuning. The optimizer, the schedule and the steps begin anew. `model` and `tokenizer` are then the folder's, as
        `configuration` fills them in; only dropout and `recompute` may differ.
    tokenizer : TokenizerConfig
    model : mapping
        Settings of the model as in its config.json, less ``vocab_size``, which the tokenizer decides.
        A GPT's ``n_positions``, and a Llama's or BERT's ``max_position_embeddings``, are `time` if they are not given.
    batch, time : int
        B rows of T tokens a step.
    accumulate : int
        Let the rows of a batch go through the model in so many parts, whose gradients add up: the same step, within rounding, for
        less memory. A divisor of `batch`.
    micro_shards : int, optional
        Let the rows go through the model in so many parts that the processes of a job share, and sum their gradients in an order
        that depends on this number alone: see `minilm.training.parallel`. `batch` must be a multiple of ``micro_shards *
        accumulate``. Without it 1; where training begins under mpiexec or srun, the largest such number up to 8.
    shard_optimizer : bool
        Each process keeps the optimizer's state of its part of the weights alone (ZeRO-1): the same bits, less memory.
    wire : {"float32", "bf16"}
        What of a gradient's bits goes from process to process. With "bf16" half as much, and the bits depend on their number.
    carried : bool, optional
        True: every row of a batch goes on where it ended in the step before, and so does the model's state: what recurrent models
        do if nothing is said, and only they. False: windows from anywhere, each from a state of zeros.
    optimizer : OptimizerConfig
    schedule : ScheduleConfig
    non_finite : {"stop", "skip"}
        What a step does whose loss or gradient is not finite: end training with the place where that began, or leave weights and
        carried state as they were, count it (``skipped`` in training.json) and go on; `minilm.training.divergence.MANY` of them
        in a row end training too. "skip" is for the CPU: on a GPU nobody looks before the weights have moved.
    average : float, optional
        Keep a running mean of the weights with this decay, in [0, 1), and evaluate and save that; see
        `minilm.optimizers.WeightAverage`.
    seed : int
        Of the first weights, of dropout and of the batches.
    steps, minutes, epochs : int or float
        When to stop: exactly one of them. Minutes are of training alone: time to read the text, to compile, and for the last
        evaluation do not count; a resumed run goes on with the time it has left.
    evaluate_every : int or "epoch", optional
        Steps between validations. Without it: every epoch for the schedule "plateau", else only when training ends.
    evaluate_seconds : float, optional
        Validate also when so much time has gone by. What "plateau" does then depends on the machine.
    evaluate_tokens : int, optional
        Look only at so many first tokens of the validation text, except when training ends.
    checkpoint_every : int, optional
    checkpoint_seconds : float, optional
        Steps, or seconds, between checkpoints. There is always one at the start and one when training ends or is stopped.
    keep_every : int, optional
        Steps between checkpoints that stay, each in a folder step-N of its own, from which the run can be replayed
        (`minilm verify`) or gone on with.
    log_every : int
        Steps a row of log.csv.
    sample : SampleConfig
    device : {"cpu", "cuda"}
    precision : {"float32", "tf32", "bf16", "auto"}
        How matrix products are computed, on a GPU attention's among them: see `minilm.ops.precision`. Weights and sums are
        float32 always. "tf32" is for a GPU; "bf16" on a CPU wants AMX or AVX512-BF16. What cannot be computed so is refused.
        "auto" is "bf16" on a CPU that has one of them and else "float32": `train` puts what it chose in its place, and says so.
    cuda_graphs : bool
        Launch steps on a GPU as CUDA graphs: see `minilm.training.graphed_step`. The same numbers, for less work of the
        host. Without effect on a CPU.
    """

    recipe: str = "default"
    corpus: str | Sequence[str] = "stories"
    mixture: Sequence[float] | None = None
    parts: Sequence[int] | None = None
    errors: str = "strict"
    validation: float = 0.1
    init_from: str | None = None
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    batch: int = 32
    time: int = 64
    accumulate: int = 1
    micro_shards: int | None = None
    shard_optimizer: bool = False
    wire: str = "float32"
    carried: bool | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    non_finite: str = "stop"
    average: float | None = None
    seed: int = 0
    steps: int | None = None
    minutes: float | None = None
    epochs: float | None = None
    evaluate_every: int | str | None = None
    evaluate_seconds: float | None = None
    evaluate_tokens: int | None = None
    checkpoint_every: int | None = None
    checkpoint_seconds: float | None = 30.0
    keep_every: int | None = None
    log_every: int = 10
    sample: SampleConfig = SampleConfig()
    device: str = "cpu"
    precision: str = "float32"
    cuda_graphs: bool = False

    def __post_init__(self):
        config_checks.check(self)

    @property
    def corpora(self) -> tuple[str, ...]:
        """The texts' paths or names: one, or several that are not joined yet."""
        return self.corpus if isinstance(self.corpus, tuple) else (self.corpus,)  # type: ignore[return-value]

    @property
    def shards(self) -> int:
        """The micro-shards of a batch."""
        return self.micro_shards or 1

    @property
    def kind(self) -> str:
        """What `minilm train --model` calls the model."""
        return self.model.get("cell", self.model["model_type"])

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values: what training.json keeps and `from_dict` reads."""
        settings = dataclasses.asdict(self)
        settings["optimizer"]["betas"] = list(self.optimizer.betas)
        for name in ("corpus", "mixture", "parts"):
            settings[name] = list(settings[name]) if isinstance(settings[name], tuple) else settings[name]
        return settings

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> RunConfig:
        """The configuration of nested settings; what is missing has its default.

        Raises
        ------
        ValueError
            A key is unknown (the nearest one is suggested) or a value out of range.
        TypeError
            A value is of another type than wanted.
        """
        _check_keys(settings)
        fields = dict(settings)
        for name, kind in SECTIONS.items():
            if name in fields:
                fields[name] = kind(**fields[name])
        return cls(**fields)

    def replace(self, **changes: Any) -> RunConfig:
        """A copy with some settings changed."""
        return dataclasses.replace(self, **changes)


def _check_keys(settings: Mapping[str, Any]) -> None:
    """ValueError for the first unknown key, TypeError for a section that is no table."""
    known = {name: () for name in (field.name for field in dataclasses.fields(RunConfig))}
    known |= {name: [field.name for field in dataclasses.fields(kind)] for name, kind in SECTIONS.items()}
    for name, value in settings.items():
        if name not in known:
            inside = "." + next(iter(value)) if isinstance(value, Mapping) and value else ""
            raise ValueError(f"unknown key {name + inside!r} in the configuration: {_hint(name + inside, settings)}")
        if name in SECTIONS:
            if not isinstance(value, Mapping):
                raise TypeError(f"{name} must be a table of keys such as {name}.{known[name][0]}, got {checks.describe(value)}")
            for key in value:
                if key not in known[name]:
                    raise ValueError(f"unknown key {f'{name}.{key}'!r} in the configuration: {_hint(f'{name}.{key}', settings)}")


def known_keys(model_type: str | None = None) -> list[str]:
    """All keys that a configuration of this kind of model may have, sections dotted."""
    names = [field.name for field in dataclasses.fields(RunConfig) if field.name not in (*SECTIONS, "model")]
    names += [f"{name}.{field.name}" for name, kind in SECTIONS.items() for field in dataclasses.fields(kind)]
    model = {} if model_type is None else {"model_type": model_type}
    return names + [f"model.{key}" for key in model_settings(model)]


def _hint(wrong: str, settings: Mapping[str, Any]) -> str:
    """The nearest key: of all that are spelled like it, or whose last part is."""
    model = settings.get("model")
    kind = model.get("model_type") if isinstance(model, Mapping) else None
    names = known_keys(kind if kind in CONTEXTS else None)
    last = {name.rpartition(".")[2]: name for name in reversed(names)}
    near = nearest(wrong, names, cutoff=0.7)
    near = near or [last[part] for part in nearest(wrong.rpartition(".")[2], last)]
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
