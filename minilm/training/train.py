"""A whole run: from the configuration to the folder, the validation loss and a sample."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from minilm import data, devices, distributed
from minilm.checksums import file_hash
from minilm.files import new_folder, written_whole
from minilm.hub import model_folder
from minilm.layers.summary import in_a_line
from minilm.ops import checks, precision
from minilm.training.build import corpus_parts, make_batches, make_model
from minilm.training.checkpoint import SAMPLE, STATE, Checkpoint, holds_run
from minilm.training.config import RunConfig
from minilm.training.corpora import with_text
from minilm.training.evaluation import Evaluation
from minilm.training.events import Callback
from minilm.training.initial import start_of
from minilm.training.log import NO_PLOTS, Progress, plot
from minilm.training.parallel import settled
from minilm.training.run import model_of, tokenizer_of
from minilm.training.run_folder import Folder, ReadFolder
from minilm.training.settings import check_resumed, configuration
from minilm.training.state import TrainingState
from minilm.training.trainer import Trainer
from minilm.typing import PathLike

__all__ = ["Result", "stored_config", "train"]

RUNS = "runs"  # where runs without a folder of their own go


class Result(NamedTuple):
    """What `train` gives."""

    folder: str
    model: Any  # on the host, with the averaged weights where there are some
    tokenizer: Any
    state: TrainingState
    evaluation: Evaluation  # on the whole validation text
    sample: str | None  # of a job with several ranks: on rank 0

    def __repr__(self) -> str:
        model = in_a_line(self.model)
        return f"Result({self.folder!r}: {model}, {self.state.step:,} steps, validation loss {self.evaluation.loss:.4f})"


def train(
    config: RunConfig | None = None,
    *,
    out: PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | None = False,
    callbacks: Iterable[Callback] = (),
) -> Result:
    """Train a model, from the text's name to a folder with everything in it.

    Parameters
    ----------
    config : RunConfig, optional
        Of a new run: ``configuration()`` without it. Of one that is resumed: its own without it, and otherwise one that differs
        in no more than `minilm.training.settings.RESUMABLE`.
    out : path, optional
        The run's folder; without it ``runs/CORPUS-MODEL-N`` with the first N that is free.
    resume : bool
        Go on with the run in `out`, bit for bit as if it had never stopped (but for what a budget in minutes makes of time).
    overwrite : bool
        Put a new run in the place of the one in `out`, which stays until the new one's first checkpoint stands.
    progress : bool, optional
        Show how far it is: None as the command line does, a bar on a terminal or in a notebook and lines on stderr elsewhere;
        False nothing.
    callbacks : iterable of Callback
        What is to be done between the steps, beside what the configuration says; see `minilm.training.Callback`.

    Returns
    -------
    Result

    Raises
    ------
    ValueError, TypeError
        The configuration, the text or the checkpoint is not what it should be; nothing was changed.
    FileExistsError
        `out` holds a run, and neither `resume` nor `overwrite` was said; or a model that no `train` wrote there.
    OSError
        A file cannot be read or written. The last good checkpoint is kept, as it is in the two cases below.
    NonFiniteError
        A loss, gradient or weight was not finite.
    Stopped
        Ctrl-C, SIGTERM or SIGHUP, after a checkpoint was written; a KeyboardInterrupt.
    """
    if not isinstance(config, (RunConfig, type(None))):
        raise TypeError(f"config must be a RunConfig, as minilm.training.configuration() makes it, got {checks.describe(config)}")
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other")
    trainer = _resumed(config, out, callbacks) if resume else _new(config or configuration(), out, overwrite, callbacks)
    with contextlib.closing(trainer):
        return _run(trainer, progress)


def _for_this_machine(config: RunConfig) -> RunConfig:
    """The configuration, "auto" resolved; ValueError where its device or precision is not to be had here."""
    try:
        devices.require(config.device)
        distributed.current().on(config.device)  # before anything is put there: each rank has a GPU of its own
    except RuntimeError as error:
        raise ValueError(f"device {config.device!r}: {error}") from None
    if config.precision == "auto":
        config = config.replace(precision=precision.fastest(config.device))
    precision.require(config.device, config.precision)
    return config


def stored_config(out: PathLike | None) -> RunConfig:
    """The configuration of the run in a folder."""
    return Checkpoint.read(out, ()).state.config


def _check_free(out, held: str | None, overwrite: bool) -> None:
    """FileExistsError where a folder holds a file of a model; only what `train` wrote may be replaced."""
    if held is None or (held == STATE and overwrite):
        return
    hint = "--resume goes on with a run, --overwrite replaces it"
    if held != STATE:
        hint = f"it has no {STATE}, so it is no run of `minilm train`, and nothing in it is replaced"
    raise FileExistsError(f"{os.fspath(out)} holds {held} already: {hint}")


def _new(config: RunConfig, out, overwrite: bool, callbacks: Iterable[Callback] = ()) -> Trainer:
    """The trainer of a new run, whose first checkpoint is written; nothing is left behind where something is wrong."""
    config = settled(with_text(_for_this_machine(config)))
    folder = _run_folder(lambda: _make_folder(config) if out is None else _open_folder(out))
    try:
        if isinstance(folder, Folder):
            _check_free(out, holds_run(folder.path), overwrite)  # under the lock: nobody puts a run there meanwhile
        if config.init_from is not None:
            config = config.replace(init_from=distributed.first_alone(lambda: os.path.abspath(model_folder(config.init_from))))
        start = start_of(config)
        tokenizer, parts = corpus_parts(config, None if start is None else start.tokenizer)
        make_batches(config, parts, tokenizer)  # a text that is too short is refused before anything is made
        model = make_model(config, tokenizer.vocab_size) if start is None else start.model
        state = TrainingState(config, file_hash(parts.whole.path))
        return Trainer(folder, state, model, tokenizer, parts, callbacks=callbacks)
    except BaseException:
        folder.discard()
        if out is None:
            with contextlib.suppress(OSError):
                os.rmdir(RUNS)  # only if it is empty
        raise


def _run_folder(opening: Callable[[], Folder]) -> Folder | ReadFolder:
    """The run's folder: one of the job's ranks opens it to write, the others read it when that is done."""
    if distributed.current().rank:
        return ReadFolder(distributed.first_alone(str))  # str is not called: rank 0 says where the folder is
    folder = opening()
    distributed.first_alone(lambda: folder.path)
    return folder


def _open_folder(out) -> Folder:
    """The folder that the user named."""
    if os.path.lexists(out) and not os.path.isdir(out):
        raise NotADirectoryError(f"{os.fspath(out)} is a file, wanted a folder for the run")
    return Folder(out)


def _make_folder(config: RunConfig) -> Folder:
    """runs/CORPUS-MODEL-N: of two processes each gets its own."""
    name = os.path.splitext(os.path.basename(config.corpus))[0]
    return Folder(new_folder(os.path.join(RUNS, f"{name}-{config.kind}")), created=True)


def _resumed(config: RunConfig | None, out, callbacks: Iterable[Callback] = ()) -> Trainer:
    """The trainer of a run that goes on from its last checkpoint; `config` is its own, or differs where it may."""
    if out is None:
        raise ValueError("resume needs out, the run's folder")
    stored_config(out)  # a folder without a run is refused, not made
    folder = _run_folder(lambda: Folder(out))
    try:
        checkpoint = folder.read()
        state = checkpoint.state
        if config is not None:
            config = with_text(config)
            check_resumed(state.config, config)
        now = _for_this_machine(settled(config or state.config))
        text = data.text(now.corpus, now.errors)
        digest = file_hash(text.path)
        if digest != state.corpus_sha256:
            raise ValueError(
                f"{text.path} is not the text that {folder.path} was trained on: sha256 {digest[:16]}..., "
                f"wanted {state.corpus_sha256[:16]}..."
            )
        tokenizer = tokenizer_of(folder.path, checkpoint.contents["tokenizer.json"])
        tokenizer, parts = corpus_parts(now, tokenizer)
        model = model_of(folder.path, checkpoint.contents["config.json"], checkpoint.contents["model.safetensors"])
        changed, state.config = now != state.config, now
        trainer = Trainer(folder, state, model, tokenizer, parts, checkpoint, callbacks)
        if changed:
            trainer.save(weights=False)
        return trainer
    except BaseException:
        folder.close()
        raise


def _run(trainer: Trainer, progress: bool | None) -> Result:
    state, config = trainer.state, trainer.config
    unit = {"character": "characters", "word": "words"}.get(config.tokenizer.kind, "tokens")
    shown = Progress(progress if trainer.leads else False, unit, trainer.progress())
    try:
        for line in describe(trainer):
            shown.say(line)
        if not trainer.finished():
            shown.say("getting the kernels ready (compiled once, then kept) ...")
            trainer.warm_up()
        try:
            trainer.run(shown)
            evaluation = trainer.conclude()
        finally:
            trainer.close_callbacks()
            if trainer.leads:
                _draw(trainer, shown)
    finally:
        shown.close()
    trainer.use_average()
    model = trainer.model.to("cpu")
    try:
        sample = _sample(trainer, model)
    except ValueError as error:  # logits that are not finite; the run is whole without it
        shown.say(f"no sample: {error}")
        sample = None
    return Result(trainer.folder.path, model, trainer.tokenizer, state, evaluation, sample)


def _draw(trainer: Trainer, shown: Progress) -> None:
    """loss.png; what keeps it from being drawn is said, and is no reason to fail."""
    try:
        if plot(trainer.folder.path) is None:
            shown.say(NO_PLOTS)
    except (OSError, ValueError) as error:
        shown.say(f"no loss.png: {error}")


def describe(trainer: Trainer) -> list[str]:
    """What is trained on what, in a few lines."""
    parts, config, model = trainer.parts, trainer.config, trainer.model
    names = {"rnn_lm": ("num_layers", "hidden_size"), "gpt": ("n_layer", "n_embd")}
    count, size = (config.model[name] for name in names.get(config.model["model_type"], ("num_hidden_layers", "hidden_size")))
    kind = f"{config.kind.upper()}, {count} layer{'s' * (count > 1)} of {size}"
    lines = [
        f"text       {config.corpus}: {parts.whole.length:,} characters, the last {parts.validation.length:,} for validation",
        f"tokenizer  {config.tokenizer.kind}, {trainer.tokenizer.vocab_size:,} tokens",
        f"model      {kind}, {model.parameters.count:,} parameters",
        f"products   in {config.precision}",
        f"run        {trainer.folder.path}",
    ]
    if config.init_from is not None:
        lines.insert(4, f"from       {config.init_from}")
    ranks, shards = trainer.agreement.communicator.size, config.shards
    if ranks > 1 or shards > 1:
        lines.append(f"ranks      {ranks}, which share {shards} micro-shards of {config.batch // shards} rows")
    return lines + [f"resumed    at step {trainer.state.step:,}"] * (trainer.state.step > 0)


def _sample(trainer: Trainer, model) -> str | None:
    """Let the model write, and keep that in sample.txt."""
    settings, tokenizer = trainer.config.sample, trainer.tokenizer
    if not trainer.leads or settings.tokens == 0 or trainer.model.objective == "masked":
        return None
    from minilm import generation

    text = settings.prompt + generation.generate(
        model,
        tokenizer,
        settings.prompt,
        tokens=settings.tokens,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        seed=trainer.config.seed,
    )
    with written_whole(os.path.join(trainer.folder.path, SAMPLE)) as file:
        file.write((text + "\n").encode("utf-8"))
    return text
