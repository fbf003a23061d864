"""What an evaluation gives."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Evaluation"]


class Evaluation(NamedTuple):
    """How well a model predicts a text."""

    loss: float  # mean negative log likelihood, nats a token
    tokens: int  # targets: every token but the first
    characters: int | None  # that these stand for
    accuracy: float | None = None  # of masked tokens, for models that predict those
    next_sentence_accuracy: float | None = None  # likewise

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    @property
    def bits_per_character(self) -> float | None:
        """Bits a character of the text, which compares models of different tokens. Unknown words count as the token <unk>."""
        return self.loss * self.tokens / math.log(2) / self.characters if self.characters else None

    def to_dict(self) -> dict:
        """Plain values by name."""
        found = {
            "loss": self.loss,
            "perplexity": self.perplexity,
            "bits_per_character": self.bits_per_character,
            "tokens": self.tokens,
            "characters": self.characters,
        }
        if self.accuracy is not None:
            found |= {"accuracy": self.accuracy, "next_sentence_accuracy": self.next_sentence_accuracy}
        return found

    def summary(self, unit: str) -> str:
        """In one line; `unit` is what a token is called."""
        if self.accuracy is not None:
            pairs = self.next_sentence_accuracy
            line = f"loss {self.loss:.4f} nats a masked token, {self.accuracy:.1%} of them guessed"
            return line if pairs is None else f"{line}, {pairs:.1%} of next sentences"
        line = f"loss {self.loss:.4f} nats a {unit}, perplexity {self.perplexity:.2f}"
        return line if self.bits_per_character is None else f"{line}, {self.bits_per_character:.4f} bits a character"
