"""Models of tasks, explained: why this label, this word, this tag, this span, this answer.

Each function takes a model and the arrays that it reads, and returns `Decisions`, which `minilm.interpret.write_page` shows and
`to_json` writes. The recipes call them for the texts that `minilm explain DIR` is given::

    explain_label         MeanClassifier, RecurrentClassifier, BERTClassifier, BERTForSequenceClassification
    explain_target        Seq2Seq, PointerGenerator, Transformer
    explain_tags          Tagger, IntentTagger
    explain_span          Reader, BERTForQuestionAnswering
    explain_story         MemoryNetwork
    explain_token_labels  BERTForTokenClassification
    explain_words         word vectors

`minilm.interpret.tasks.decisions` has what they share: a decision, its F, and integrated gradients of F.
"""

from minilm.interpret.tasks.classification import explain_label
from minilm.interpret.tasks.decisions import Decision, Decisions
from minilm.interpret.tasks.memory import explain_story
from minilm.interpret.tasks.reading import explain_span
from minilm.interpret.tasks.tagging import explain_tags
from minilm.interpret.tasks.token_labels import explain_token_labels
from minilm.interpret.tasks.translation import explain_target
from minilm.interpret.tasks.words import explain_words

__all__ = [
    "Decision",
    "Decisions",
    "explain_label",
    "explain_span",
    "explain_story",
    "explain_tags",
    "explain_target",
    "explain_token_labels",
    "explain_words",
]


def __dir__() -> list[str]:
    return sorted(__all__)
