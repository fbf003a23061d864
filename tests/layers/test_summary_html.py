"""What a notebook shows for a model: the table that print gives, as HTML."""

import html.parser

from minilm import layers, models


class Cells(html.parser.HTMLParser):
    """The texts between tags, and the tags."""

    def __init__(self, content):
        super().__init__()
        self.texts, self.tags, self.styles = [], [], []
        self.feed(content)

    def handle_data(self, data):
        self.texts.append(data)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.styles.append(dict(attrs).get("style", ""))


def test_a_model_in_a_notebook():
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(7, hidden_size=4, embedding_size=4, tied=True), seed=0)
    cells = Cells(model._repr_html_())
    assert cells.tags.count("tr") == len(model.summary().splitlines()) and set(cells.tags) == {"table", "tr", "td", "th"}
    for line in model.summary().splitlines():
        assert all(part.strip("│ ") in "".join(cells.texts) for part in line.split("   ") if part.strip("│ "))
    assert cells.texts[-1] == model.summary().splitlines()[-1]
    styled = [style for tag, style in zip(cells.tags, cells.styles, strict=True) if tag == "td" and style]
    assert len(styled) > 9 and all("white-space: pre" in style for style in styled), "else Jupyter's style collapses them"


def test_names_are_escaped():
    class Odd(layers.Layer):
        def settings(self):
            return "<script>"

    assert "<script>" not in Odd(seed=0)._repr_html_() and "&lt;script&gt;" in Odd(seed=0)._repr_html_()


def test_every_model_says_what_it_is_made_of():
    """Pages of explanations and summaries head with it."""
    silent = [name for name in models.__all__ if is_model(getattr(models, name)) and not says(getattr(models, name))]
    assert silent == []
    assert models.Tagger(7, 3, embedding_size=4, hidden_size=5, seed=0).settings() == "7, 3"
    assert models.MeanClassifier(7, 2, embedding_size=4, seed=0).settings() == "7, 2, ngrams=2"


def is_model(value):
    return isinstance(value, type) and issubclass(value, layers.Layer)


def says(kind):
    return kind.settings is not layers.Layer.settings
