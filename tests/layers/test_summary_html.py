"""What a notebook shows for a model: the table that print gives, as HTML."""

import html.parser

from minilm import layers, models


class Cells(html.parser.HTMLParser):
    """The texts between tags, and the tags."""

    def __init__(self, content):
        super().__init__()
        self.texts, self.tags = [], []
        self.feed(content)

    def handle_data(self, data):
        self.texts.append(data)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def test_a_model_in_a_notebook():
    model = models.RNNLanguageModel(models.RNNLanguageModelConfig(7, hidden_size=4, embedding_size=4, tied=True), seed=0)
    cells = Cells(model._repr_html_())
    assert cells.tags.count("tr") == len(model.summary().splitlines()) and set(cells.tags) == {"table", "tr", "td", "th"}
    for line in model.summary().splitlines():
        assert all(part.strip("│ ") in "".join(cells.texts) for part in line.split("   ") if part.strip("│ "))
    assert cells.texts[-1] == model.summary().splitlines()[-1]


def test_names_are_escaped():
    class Odd(layers.Layer):
        def settings(self):
            return "<script>"

    assert "<script>" not in Odd(seed=0)._repr_html_() and "&lt;script&gt;" in Odd(seed=0)._repr_html_()
