"""What every recipe has: settings, data, a model, a metric, and a way to try it.

A recipe fills in eight methods, in the order in which `minilm.recipes.running` calls them::

    train, validation = self.generate(seed)  or  self.read(path)
    self.adapt(train)                        other defaults, where the data want them
    self.prepare(train)                      vocabularies and facts
    self.model = self.make_model(seed)       from these alone, so that a saved run can make it again
    loss, saved = self.model.forward(*self.batch(examples), key=key)
    self.evaluate(validation)                {metric: value}
    self.samples(validation)                 [(input, wanted, given)]
    self.answer(text)                        for `minilm try`
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minilm import devices
from minilm.data.lines import BadRows
from minilm.data.pipes import on_disk
from minilm.layers.base import Layer
from minilm.mistaken import did_you_mean
from minilm.ops import checks
from minilm.recipes.result import Result
from minilm.training.events import Callback
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions
    from minilm.recipes.kept import Kept

__all__ = ["Recipe", "Result"]

COMMON: dict[str, Any] = {  # what `minilm.recipes.fit` reads
    "batch": 32,
    "lr": 1e-3,
    "steps": 1000,
    "minutes": None,  # the budget instead of `steps`, where it is given
    "warmup": 0.05,  # part of the budget
    "final": 0.0,  # learning rate at the end, as a part of `lr`
    "optimizer": "adam",
    "beta2": 0.999,  # Adam's, of the mean of squares
    "clip_norm": 1.0,
    "weight_decay": 0.0,
    "restarts": 1,  # trainings from other first weights, which share the budget: see `minilm.recipes.restarts`
    "average": None,  # decay of the running mean of the weights, which are the result's where it is given
    "micro_shards": None,  # parts of a batch that processes share: see `minilm.training.parallel`
    "evaluate_every": None,  # steps; ten times in a run without it, or less often where that takes long
    "evaluate_examples": 500,  # of the validation part, during training; the end's evaluation has all
    "precision": "float32",  # of matrix products
    "bad_rows": "refuse",  # what becomes of real data's rows that cannot be read
}
CHOICES: dict[str, tuple] = {
    "optimizer": ("adam", "sgd"),
    "precision": ("float32", "tf32", "bf16"),  # of minilm.ops.precision
    "bad_rows": ("refuse", "skip"),
}
LEAST = {
    "batch": 1,
    "micro_shards": 1,
    "steps": 1,
    "restarts": 1,
    "evaluate_every": 1,
    "evaluate_examples": 1,
}  # of whole numbers; of others 0
POSITIVE = ("lr", "minutes")
SHARES = {"warmup": "[)", "final": "[]", "beta2": "[)", "average": "[)"}  # in [0, 1] or [0, 1)


class Recipe:
    """Base of all recipes.

    Parameters
    ----------
    **options
        Settings that differ from their defaults, which ``Recipe.defaults()`` lists.

    Attributes
    ----------
    options : dict
        All settings.
    chosen : set of str
        The names of those that the user has set.
    vocabularies : dict of str to Tokenizer
        Saved beside the model.
    facts : dict
        What else the model and the batches depend on, as JSON: labels, longest lengths.
    model : Layer
    """

    name = ""
    summary = ""  # a line for --help
    metric = ""  # the main one: higher is better
    prompt = "text"  # what `minilm try` asks for
    options: dict[str, Any] = {}  # defaults; in an instance, the settings
    choices: dict[str, tuple] = {}  # see `among`
    shared, why_alone = True, ""  # whether the processes of a job can share a batch, or why not
    least: dict[str, int] = {}  # smallest values of whole numbers that may not be 0
    needs: dict[str, tuple[str, tuple | None]] = {}  # a setting -> another, and its values without which the first does nothing
    idle: tuple[str, ...] = ()  # settings of `COMMON` that the recipe's own way of training does not use

    def __init__(self, **options: Any) -> None:
        defaults = self.defaults()
        for key, value in options.items():
            self._check(key, value, defaults)
        self.chosen = set(options)
        self.options = {**defaults, **options}
        self.vocabularies: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.bad_rows = BadRows(skip=self.options["bad_rows"] == "skip")  # for `read`
        self.model: Any = None

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """All settings with their defaults."""
        return {**COMMON, **cls.options}

    @classmethod
    def among(cls) -> dict[str, tuple]:
        """The values that a setting may have, where they are few."""
        return {**CHOICES, **cls.choices}

    def _check(self, key: str, value, defaults: Mapping[str, Any]) -> None:
        if key not in defaults:
            raise ValueError(f"the recipe {self.name} has no setting {key!r}; {did_you_mean(key, defaults)}")
        choices = self.among().get(key)
        if choices is not None:
            if value not in choices:
                names = ", ".join("none" if choice is None else repr(choice) for choice in choices)
                raise ValueError(f"{key} must be one of {names}, got {value!r}")
            return
        default, least = defaults[key], {**LEAST, **self.least}
        if value is None and default is None:
            return
        if key in POSITIVE:
            checks.number(key, value, 0, float("inf"), low_open=True, high_open=True)
        elif key in SHARES:
            checks.number(key, value, 0, 1, high_open=SHARES[key] == "[)")
        elif isinstance(default, (bool, str)):
            if not isinstance(value, type(default)):
                raise TypeError(f"{key} must be {'true or false' if isinstance(default, bool) else 'a text'}, got {value!r}")
        elif isinstance(default, int) or key in least:
            checks.whole(key, value, least.get(key, 0), 2**62)
        elif isinstance(default, float):
            checks.number(key, value, 0, float("inf"), high_open=True)
        elif isinstance(value, bool) or not isinstance(value, (int, float, str)):  # the default is None: a number or a path
            raise TypeError(f"{key} must be a number or a text, got {value!r}")
        elif isinstance(value, (int, float)):
            checks.number(key, value, 0, float("inf"), high_open=True)

    def refuse_idle(self, device: str = "cpu") -> None:
        """ValueError for a setting that the user has set, and that changes nothing with the others; for a new run."""
        for key in sorted(key for key in self.chosen if self.options[key] != self.defaults()[key]):
            if key in self.idle:
                raise ValueError(f"the recipe {self.name} makes no use of {key}, got {key}={self.options[key]!r}")
            other, values = self.needs.get(key, (key, (self.options[key],)))
            if values is None and self.options[other] is None:
                raise ValueError(f"{key} is for what {other} names, got {key}={self.options[key]!r} alone")
            if values is not None and self.options[other] not in values:
                raise ValueError(f"{key} is for {other}={' or '.join(map(repr, values))}, got {other}={self.options[other]!r}")

    def limit(self, *, minutes: float | None = None, steps: int | None = None) -> None:
        """Set the budget, if one is given, in the place of the other."""
        if minutes is not None and steps is not None:
            raise ValueError("minutes and steps both say when to stop: give one of them")
        for key, value in (("minutes", minutes), ("steps", steps)):
            if value is not None:
                self._check(key, value, self.defaults())
                self.chosen.add(key)
                self.options[key] = value
        if steps is not None:
            self.options["minutes"] = None

    def suggest(self, **options: Any) -> None:
        """Other defaults: what the user has set stays. For `adapt`."""
        self.options.update({key: value for key, value in options.items() if key not in self.chosen})

    def on_device(self, tree: Any) -> Any:
        """Arrays of a tree where the model is; for evaluation. What the model gives, `minilm.devices.to_host` brings back."""
        return devices.to(self.model.device, tree)

    # --- what a recipe fills in ---------------------------------------------------------------------------------------

    def generate(self, seed: int) -> tuple[list, list]:
        """Built-in data: examples to train on and to validate on, the same for the same seed."""
        raise NotImplementedError(f"{type(self).__name__} has no generate")

    def read(self, path: PathLike) -> tuple[list, list]:
        """Real data. ValueError says in which file and line something is wrong, what came and what was wanted.

        What is wrong with one row alone is a `minilm.data.lines.BadRow`, which ``self.bad_rows`` lets through or leaves out.
        """
        raise NotImplementedError(f"{type(self).__name__} has no read")

    def read_real(self, data: PathLike | None) -> tuple[list, list]:
        """`read`, also from a pipe; warns of rows that were left out."""
        train, validation = self.read(on_disk(data))
        if self.bad_rows.count:
            self.bad_rows.require([*train[:1], *validation[:1]], f"{os.fspath(data)}: there are no examples")
            warnings.warn(str(self.bad_rows), stacklevel=3)
        return train, validation

    def adapt(self, train: Sequence) -> None:
        """Call `suggest` where the data want other settings than the built-in ones."""

    def remarks(self, train: Sequence, validation: Sequence) -> list[str]:
        """What must be said of the data before training begins, a line each."""
        return []

    def prepare(self, train: Sequence) -> None:
        """Fill ``vocabularies`` and ``facts`` from the training part."""
        raise NotImplementedError(f"{type(self).__name__} has no prepare")

    def recall(self, facts: Mapping[str, Any], vocabularies: Mapping[str, Any]) -> None:
        """Take what `prepare` made in the run that goes on, as far as the data alone do not say it."""

    def make_model(self, seed: int) -> Layer:
        """The model, from ``options``, ``vocabularies`` and ``facts`` alone."""
        raise NotImplementedError(f"{type(self).__name__} has no make_model")

    def batch(self, examples: Sequence) -> tuple:
        """The arguments of ``model.forward`` for some examples."""
        raise NotImplementedError(f"{type(self).__name__} has no batch")

    def weight(self, batch: tuple) -> int:
        """What the loss of a batch is a mean over: its examples."""
        return len(batch[0])

    def length(self, example: Any) -> int:
        """Examples of near length share a batch."""
        return 0

    def evaluate(self, examples: Sequence) -> dict[str, float]:
        """The metrics of the model on some examples."""
        raise NotImplementedError(f"{type(self).__name__} has no evaluate")

    def glance(self, examples: Sequence) -> float:
        """The main metric during training, in a cheaper way where there is one."""
        return self.evaluate(examples)[self.metric]

    def chance(self, examples: Sequence) -> float:
        """What a guess reaches in the main metric: the commonest class, for instance."""
        raise NotImplementedError(f"{type(self).__name__} has no chance")

    def samples(self, examples: Sequence) -> list[tuple[str, str, str]]:
        """A few of (input, wanted, given), for people to look at."""
        raise NotImplementedError(f"{type(self).__name__} has no samples")

    def answer(self, text: str) -> str:
        """What `minilm try` prints for a text that somebody typed."""
        raise NotImplementedError(f"{type(self).__name__} has no answer")

    def explain(self, text: str, *, answer: str | None = None, foil: str | None = None) -> Decisions:
        """Why the model answers a text as it does: what `minilm explain` shows.

        Parameters
        ----------
        text : str
            What `answer` takes.
        answer, foil : str, optional
            What is explained in the place of the model's own answer; and why not this.

        Raises
        ------
        ValueError
            For a recipe, text, answer or foil that cannot be explained.
        """
        raise ValueError(f"the recipe {self.name} has no explanation of its answers")

    def ask(self, read: Callable[[str], str]) -> str:
        """One input of `minilm try`; ``read(prompt)`` reads a line and raises EOFError at the end."""
        return read(f"{self.prompt}: ")

    def pictures(self, folder: str, examples: Sequence) -> list[str]:
        """Plots or HTML to write into the run's folder; the paths. ImportError where a plotting library is missing is seen to."""
        return []

    def fit(
        self,
        train: Sequence,
        validation: Sequence,
        *,
        seed: int,
        progress: Any,
        kept: Kept | None = None,
        callbacks: Iterable[Callback] = (),
    ) -> Any:
        """Train the model: by batches, with Adam, unless a recipe has its own way. Returns `minilm.recipes.fit.Fitted`.

        It saves what `kept`, a `minilm.recipes.kept.Kept`, is to keep of the run, at its end at least.
        """
        from minilm.recipes.fit import fit
        from minilm.recipes.restarts import best_of

        if self.options["restarts"] > 1:
            if callbacks:
                raise ValueError(f"callbacks watch one training, got restarts={self.options['restarts']}")
            return best_of(self, train, validation, seed=seed, progress=progress, kept=kept)
        return fit(self, train, validation, seed=seed, progress=progress, kept=kept, callbacks=callbacks)

    # --- running it ---------------------------------------------------------------------------------------------------

    def run(
        self,
        data: PathLike | None = None,
        *,
        minutes: float | None = None,
        steps: int | None = None,
        out: PathLike | None = None,
        seed: int | None = None,
        device: str = "cpu",
        progress: bool | None = None,
        overwrite: bool = False,
        resume: bool = False,
        callbacks: Iterable[Callback] = (),
    ) -> Result:
        """Train on built-in data, or on those at `data`; measure, and keep the result in a folder.

        Parameters
        ----------
        data : str or os.PathLike, optional
            Real data, in the form that the recipe's `read` tells.
        minutes, steps : optional
            The budget: of training alone, without the time to compile and to evaluate at the end.
        out : str or os.PathLike, optional
            The run's folder. Without it nothing is written.
        seed : int, optional
            Of the built-in data, the first weights, dropout and the order of the examples: 0, or that of the run that goes on.
        device : {"cpu", "cuda"}
            Where the model is trained and measured, and where it stays. The run's folder is the same, and opens on both.
        progress : bool, optional
            None: a bar where stderr is a terminal, else lines now and then; False: nothing.
        overwrite : bool
            Replace a recipe's run that `out` already holds. It stays until the new one's first checkpoint stands.
        resume : bool
            Go on with the run in `out`, whose settings and data are taken, bit for bit as if it had never stopped (but for what a
            budget in minutes makes of time). Another budget may be given. A run that has used up its budget is measured again.
        callbacks : iterable of minilm.training.Callback
            What is to be done between the steps.

        Returns
        -------
        Result

        Raises
        ------
        ValueError, TypeError
            For a wrong setting or wrong data, where another process trains in `out`, or the run there is not one to go on with.
        FileNotFoundError
            There is no run to go on with.
        FileExistsError
            `out` holds something already.
        ArithmeticError
            The loss is not finite.
        RuntimeError
            For "cuda" where no GPU can be used; the message says what is missing.

        Whatever is raised once training has ended, Ctrl-C among others: the model is in `out`.
        """
        from minilm.recipes.running import run

        self.limit(minutes=minutes, steps=steps)
        place = {"out": out, "overwrite": overwrite, "resume": resume}
        return run(self, data, seed=seed, device=device, progress=progress, callbacks=callbacks, **place)
