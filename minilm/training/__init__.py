"""Training: from a configuration to a folder with a trained model.

::

    from minilm import training

    config = training.configuration("default", options={"corpus": "tinyshakespeare.txt", "minutes": 3})
    result = training.train(config, out="runs/shakespeare")       # config.json, model.safetensors, tokenizer.json, log.csv, ...
    result.evaluation.loss                                         # nats a token on the validation text
    run = training.load_run("runs/shakespeare")                    # run.model, run.tokenizer, run.config, run.state
    training.evaluate_text(run.model, run.tokenizer, minilm.data.text("other.txt"))

The modules, in the order in which they are best read:

================================  =========================================================================================
`minilm.training.loop`            the loop, for any model
`minilm.training.protocol`        what a model of one's own must be, to be trained by it
`minilm.training.events`          the events of the loop, and callbacks for them; `minilm.training.loggers` are such
`minilm.training.step`            a step of a language model, its batch in one part or in several
`minilm.training.language_model`  the loop of language models: batches, carried states, validation
`minilm.training.evaluation`      loss, perplexity and bits a character of a text
`minilm.training.trainer`         the same loop with a run's folder; `minilm.training.callbacks`: what happens between its steps
`minilm.training.train`           a whole run, from a configuration to a sample: what ``minilm train`` calls
`minilm.training.config`          the settings of a run; `minilm.training.settings`: where they come from
`minilm.training.checkpoint`      how a run survives being killed at any moment; `minilm.training.run_folder` writes its folder,
                                  `minilm.training.run` reads it
`minilm.training.replay`          the same steps again, compared bit for bit
`minilm.training.parallel`        one batch shared by several processes, with the same bits
`minilm.training.rate_finder`     which learning rates are worth a try
================================  =========================================================================================
"""

from minilm.training.callbacks import Stopped
from minilm.training.config import RunConfig
from minilm.training.divergence import NonFiniteError
from minilm.training.dynamic import evaluate_dynamic
from minilm.training.evaluation import Evaluation, evaluate, evaluate_text
from minilm.training.events import Callback
from minilm.training.line_evaluation import evaluate_lines
from minilm.training.log import plot, read_log
from minilm.training.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from minilm.training.loop import Loop
from minilm.training.protocol import LanguageModel, Trainable
from minilm.training.rate_finder import RateTest, find_lr
from minilm.training.run import Run, load_run
from minilm.training.sections import OptimizerConfig, SampleConfig, ScheduleConfig, TokenizerConfig
from minilm.training.settings import configuration
from minilm.training.starting_points import RECIPES
from minilm.training.state import LoopState, TrainingState
from minilm.training.train import Result, train
from minilm.training.trainer import Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "Evaluation",
    "LanguageModel",
    "Logger",
    "Loop",
    "LoopState",
    "NonFiniteError",
    "OptimizerConfig",
    "RECIPES",
    "RateTest",
    "Result",
    "Run",
    "RunConfig",
    "SampleConfig",
    "ScheduleConfig",
    "Stopped",
    "TensorBoardLogger",
    "TokenizerConfig",
    "Trainable",
    "Trainer",
    "TrainingState",
    "WandbLogger",
    "configuration",
    "evaluate",
    "evaluate_dynamic",
    "evaluate_lines",
    "evaluate_text",
    "find_lr",
    "load_run",
    "plot",
    "read_log",
    "train",
]


def __dir__() -> list[str]:
    return sorted(__all__)
