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
from minilm.recipes.result import Result
from minilm.recipes.settings import Settings
from minilm.training.events import Callback
from minilm.typing import PathLike

if TYPE_CHECKING:
    from minilm.interpret.tasks import Decisions
    from minilm.recipes.kept import Kept

__all__ = ["Recipe", "Result"]


class Recipe(Settings):
    """Base of all recipes.

    Parameters
    ----------
    **options
        Settings that differ from their defaults, which ``Recipe.defaults()`` lists.

    Attributes
    ----------
    options, chosen
        See `minilm.recipes.settings.Settings`.
    vocabularies : dict of str to Tokenizer
        Saved beside the model.
    facts : dict
        What else the model and the batches depend on, as JSON: labels, longest lengths.
    model : Layer
    """

    summary = ""  # a line for --help
    metric = ""  # the main one: higher is better
    prompt = "text"  # what `minilm try` asks for
    shared, why_alone = True, ""  # whether the processes of a job can share a batch, or why not

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.vocabularies: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.bad_rows = BadRows(skip=self.options["bad_rows"] == "skip")  # for `read`
        self.model: Any = None

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

    def measurable(self, train: Sequence) -> list:
        """Of the examples to train on, those that `evaluate` can measure."""
        return list(train)

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
