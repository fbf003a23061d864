"""Training: from a configuration to a folder with a trained model.

::

    from minilm import training

    config = training.configuration("default", options={"corpus": "tinyshakespeare.txt", "minutes": 3})
    result = training.train(config, out="runs/shakespeare")       # config.json, model.safetensors, tokenizer.json, log.csv, ...
    result.evaluation.loss                                         # nats a token on the validation text
    run = training.load_run("runs/shakespeare")                    # run.model, run.tokenizer, run.config, run.state
    training.evaluate_text(run.model, run.tokenizer, minilm.data.text("other.txt"))

`minilm.training.loop` has the loop and its events; `minilm.training.loggers` writes its numbers to CSV, TensorBoard or W&B;
`minilm.training.rate_finder` tries learning rates; `minilm.training.callbacks` what is done between the steps of a run;
`minilm.training.protocol` says what a model of one's own must be, to be trained by it; `minilm.training.checkpoint` how a run
survives being killed at any moment.
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
