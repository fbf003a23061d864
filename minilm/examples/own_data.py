"""Texts of one's own: rows of a table, as pandas or a Hugging Face dataset has them, and a mixture of two sources.

`data.text` takes whatever gives texts; the tokenizer learns from it, and the ids are one array. Of a mixture each row of a batch
is drawn from one of the sources, by weights: a batch is a function of the seed and the step, so training can be resumed.
"""

from __future__ import annotations

from minilm import data, models, optimizers, tokenizers

REVIEWS = [
    {"stars": 5, "review": "A quiet book about a lighthouse. I read it twice."},
    {"stars": 2, "review": "The fox was good, the rest of it was not."},
    {"stars": 4, "review": "A lighthouse, a fox, and a winter that does not end."},
] * 30


def main(steps: int = 200) -> list[int]:
    """Train on three rows of stories for each row of reviews; how many rows of each were drawn."""
    reviews = data.text(REVIEWS, column="review", separator="\n")  # a DataFrame or a dataset goes in as it is
    stories = data.text("stories")
    print(f"reviews: {reviews.length:,} characters, stories: {stories.length:,}")

    tokenizer = tokenizers.Character.train_from_chunks([*reviews, *stories])
    streams = [data.tokens(text, tokenizer) for text in (stories, reviews)]
    batches = data.mixture(streams, [3, 1], batch=16, time=32, seed=0)

    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(tokenizer.vocab_size, cell="gru", hidden_size=64), seed=0)
    adam = optimizers.Adam(model.parameters, lr=4e-3, clip_norm=1.0)
    counts = [0, 0]
    for step in range(steps):
        loss, saved = model.forward(*batches.batch(step))
        model.backward(saved)
        adam.step()
        for stream in batches.streams(step).tolist():
            counts[stream] += 1
    print(f"after {steps} steps: loss {float(loss):.3f}, {counts[0]:,} rows of stories and {counts[1]:,} of reviews")
    return counts


if __name__ == "__main__":
    main()
