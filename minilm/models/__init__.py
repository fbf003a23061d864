"""Models: a file a family. A model's forward gives the loss, and its backward fills the gradient buffer.

==============================  ==========================  ==================================================================
model                           its formulas on one page    what it predicts
==============================  ==========================  ==================================================================
`RNNLanguageModel`              `minilm.pages.rnn_lm`       the next token, by an RNN, LSTM or GRU
`GPT`                           `minilm.pages.gpt`          the next token, by attention
`Llama`                         `minilm.pages.llama`        the same, with rotary positions and gated networks
`WindowLanguageModel`                                       the next token, from a window of the last few
`BERTForPreTraining`            `minilm.pages.bert`         masked tokens, and whether sentences follow; `BERT` is its encoder
`BERTClassifier`, `BERTFor...`                              labels, tags and answers, by a BERT
`Seq2Seq`                       `minilm.pages.seq2seq`      translation, by recurrent layers with attention
`Transformer`                   `minilm.pages.transformer`  translation, by attention alone
`PointerGenerator`                                          summaries that copy words of their source
`Tagger`, `IntentTagger`        `minilm.pages.tagger`       a tag for each word; the second also one for the sentence
`RecurrentClassifier`                                       a label for a text whose words are read in order
`MeanClassifier`                                            a label for a text as a bag of words
`Reader`                                                    the part of a passage that answers a question
`MemoryNetwork`                                             an answer to a question about a story
`Word2Vec`, `WordVectors`       `minilm.pages.word2vec`     vectors of words
==============================  ==========================  ==================================================================

Each file begins with the model's formulas; ``minilm show NAME`` prints a page (gpt) or a file (GPT). What stands beside them:

=====================================  ====================================================================================
files                                  what they hold
=====================================  ====================================================================================
``*_config``, ``llama_sizes``          what a model is made of: its config.json, and the sizes of papers
``*_state``                            what generation keeps of the tokens so far, and how it reads one more
``*_token``, ``token_reader``          the same on a CPU, by one kernel a token: the same formulas as in the model's file
``causal_model``, ``classifier``       what several models share; so do ``encoder_decoder``, ``attending_decoder``,
                                       ``recurrent_decoder``, ``spans`` and ``word_embedding``
``bags``                               a sentence of a `MemoryNetwork` as the sum of its words' vectors
``bert_*``                             a BERT's pretraining, and its heads for tasks
``word2vec_training``, ``preference``  training that is no loop over batches; learning from pairs of answers (DPO)
``storing``                            any model in one file, and back
``interchange``, ``converting``        weights of PyTorch in memory; those of other programs, in their files
``pretrained``, ``lora``               folders in Hugging Face's layout; adapters as PEFT has them
``gguf``, ``onnx``, ``vector_files``   files of llama.cpp, of ONNX, and of word2vec, GloVe and fastText
=====================================  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minilm.models import lora
from minilm.models.bert import BERT
from minilm.models.bert_classifier import BERTClassifier
from minilm.models.bert_config import BERTConfig
from minilm.models.bert_pretraining import BERTForPreTraining
from minilm.models.bert_tasks import BERTForQuestionAnswering, BERTForSequenceClassification, BERTForTokenClassification
from minilm.models.config import Config, RNNLanguageModelConfig
from minilm.models.converting import Converted, convert_from
from minilm.models.gpt import GPT
from minilm.models.gpt_config import GPTConfig
from minilm.models.intent_tagger import IntentTagger
from minilm.models.interchange import from_torch, to_torch
from minilm.models.llama import Llama
from minilm.models.llama_config import LlamaConfig
from minilm.models.mean_classifier import MeanClassifier
from minilm.models.memory_network import MemoryNetwork
from minilm.models.pointer_generator import PointerGenerator
from minilm.models.reader import Reader
from minilm.models.recurrent_classifier import RecurrentClassifier
from minilm.models.rnn_lm import RNNLanguageModel
from minilm.models.seq2seq import Seq2Seq
from minilm.models.seq2seq_config import Seq2SeqConfig, TransformerConfig
from minilm.models.storing import load, save
from minilm.models.tagger import Tagger
from minilm.models.transformer import Transformer
from minilm.models.window_lm import WindowLanguageModel, WindowLanguageModelConfig
from minilm.models.word2vec import Word2Vec, Word2VecConfig
from minilm.models.word_vectors import WordVectors
from minilm.typing import DType, Seed

__all__ = [
    "BERT",
    "GPT",
    "BERTClassifier",
    "BERTConfig",
    "BERTForPreTraining",
    "BERTForQuestionAnswering",
    "BERTForSequenceClassification",
    "BERTForTokenClassification",
    "Config",
    "Converted",
    "GPTConfig",
    "IntentTagger",
    "Llama",
    "LlamaConfig",
    "MeanClassifier",
    "MemoryNetwork",
    "PointerGenerator",
    "RNNLanguageModel",
    "RNNLanguageModelConfig",
    "Reader",
    "RecurrentClassifier",
    "Tagger",
    "Seq2Seq",
    "Seq2SeqConfig",
    "Transformer",
    "TransformerConfig",
    "WindowLanguageModel",
    "WindowLanguageModelConfig",
    "Word2Vec",
    "Word2VecConfig",
    "WordVectors",
    "config_of",
    "convert_from",
    "from_config",
    "from_torch",
    "load",
    "lora",
    "save",
    "to_torch",
]

FAMILIES = {
    RNNLanguageModelConfig.model_type: (RNNLanguageModelConfig, RNNLanguageModel),
    WindowLanguageModelConfig.model_type: (WindowLanguageModelConfig, WindowLanguageModel),
    GPTConfig.model_type: (GPTConfig, GPT),
    LlamaConfig.model_type: (LlamaConfig, Llama),
    BERTConfig.model_type: (BERTConfig, BERTForPreTraining),
}


def config_of(settings: Mapping[str, Any]) -> Config:
    """The configuration that config.json holds; ``settings["model_type"]`` names the family.

    Raises
    ------
    ValueError
        If there is no such family, or a setting of it is unknown or wrong.
    """
    kind = settings.get("model_type")
    if kind not in FAMILIES:
        raise ValueError(f"model_type must be one of {', '.join(map(repr, FAMILIES))}, got {kind!r}")
    return FAMILIES[kind][0].from_dict(settings)


def from_config(
    config: Config | Mapping[str, Any], *, seed: Seed = 0, dtype: DType = np.float32
) -> RNNLanguageModel | WindowLanguageModel | GPT | Llama | BERTForPreTraining:
    """The model of a configuration, or of what config.json holds; see `config_of`."""
    if isinstance(config, Mapping):
        config = config_of(config)
    return FAMILIES[config.model_type][1](config, seed=seed, dtype=dtype)


def __dir__() -> list[str]:
    return sorted(__all__)
