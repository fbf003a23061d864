"""The page: nothing in it breaks it or leads out of it, and in a browser it works."""

import html.parser
import json
import os
import re

import numpy as np
import pytest

from minilm import interpret, tokenizers
from tests.interpret import browser
from tests.interpret.fakes import ALL, made

NASTY = 'The <b>cat</b> sat </script><script>alert(1)</script> & @@data@@ @@style@@ "x" <!-- \u2028 $x_1$\n'


def nasty(kind="lstm"):
    """An explanation of a text that would break a careless page."""
    from minilm import models

    tokenizer = tokenizers.Character(NASTY)
    V = tokenizer.vocab_size
    if kind == "gpt":
        model = models.GPT(models.GPTConfig(vocab_size=V, n_positions=128, n_embd=8, n_layer=2, n_head=2))
    else:
        model = models.RNNLanguageModel(models.RNNLanguageModelConfig(vocab_size=V, embedding_size=5, hidden_size=6))
    return interpret.explain(model, tokenizer, NASTY, steps=4)


def explained(kind):
    model, tokenizer = made(kind, np.float32)
    return interpret.explain(model, tokenizer, "abc dead bad" if kind == "bert" else "The cat sat, too: ", steps=8)


class Reader(html.parser.HTMLParser):
    """Which elements there are, with what, and what the scripts hold."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self._inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")
            self._inside = True

    def handle_endtag(self, tag):
        if tag == "script":
            self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


def test_no_token_is_markup():
    found = nasty()
    text = interpret.page(found)
    page = Reader(text)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 2
    assert "alert(1)" not in page.scripts[0] and "<b>cat" not in text and "</script><script>alert" not in text
    data = json.loads(page.scripts[1])
    assert data["text"] == NASTY and "".join(data["tokens"]) == NASTY
    assert text.count("<!--") == 0 and "@@" not in page.scripts[0]


def test_the_page_makes_no_request():
    text = interpret.page(nasty("gpt"))
    page = Reader(text)
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:")) or not value, (tag, value)
    without_data = text.replace(page.scripts[1], "")
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(", without_data)
    assert set(re.findall(r"https?://[^\s\"'<]+", without_data)) <= {"http://www.w3.org/2000/svg"}  # a name, not a place
    policy = next(a["content"] for t, a in page.elements if t == "meta" and a.get("http-equiv"))
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("kind", ALL)
def test_the_data_are_the_explanation(kind):
    found = explained(kind)
    data = json.loads(Reader(interpret.page(found)).scripts[1])
    assert data["ids"] == found.ids.tolist() and data["causal"] == (kind != "bert")
    bits = [b for b in data["surprisal"]["bits"] if b is not None]
    np.testing.assert_allclose(sum(bits), found.surprisal.total, rtol=1e-4)
    assert (data["attention"] is None) == (data["rollout"] is None) == (data["lens"] is None) == (data["traces"] is not None)
    assert set(data["lacks"]) == ({"traces"} if data["attention"] else {"attention", "rollout", "lens"})
    for near in data["neighbours"].values():
        assert all(str(id) in data["spellings"] for id, _ in near)


def test_to_dict_is_json_and_whole():
    found = explained("gpt")
    data = json.loads(found.to_json())
    np.testing.assert_allclose(data["attention"], found.attention, rtol=1e-5)
    np.testing.assert_allclose(data["integrated_gradients"]["values"], found.integrated_gradients.values, rtol=1e-5)
    assert data["surprisal"]["bits"][0] is None and data["tokens"] == found.tokens


def test_at_a_prompt_it_is_a_line():
    found = explained("gpt")
    assert repr(found).startswith("Explanation of 'The cat sat, too: ' by GPT") and len(repr(found)) < 300
    assert "18 tokens" in repr(found) and "\n" not in repr(found)


def test_in_a_notebook_it_is_the_page_in_a_frame():
    """As one attribute of one element: nothing of the text is markup of the notebook."""
    found = nasty()
    ((tag, attributes),) = Reader(found._repr_html_()).elements
    assert tag == "iframe" and attributes["sandbox"] == "allow-scripts" and attributes["srcdoc"] == interpret.page(found)


# --- in a browser ----------------------------------------------------------------------------------------------------

COLOURS = """[...document.querySelectorAll('.map canvas')].map(canvas => {
  const d = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data, seen = new Set();
  for (let i = 0; i < d.length; i += 4) seen.add(d[i] + 256 * d[i + 1] + 65536 * d[i + 2]);
  return seen.size;
})"""
needs_browser = pytest.mark.skipif(browser.find() is None, reason="no Chromium or Chrome is installed")


@pytest.fixture(scope="module")
def tab():
    with browser.Page() as page:
        yield page


@needs_browser
@pytest.mark.parametrize("kind", ["lstm", "gpt", "bert"])
def test_it_draws_itself_without_a_complaint(tab, tmp_path, kind):
    interpret.write_page(explained(kind), tmp_path / "page.html")
    tab.open(tmp_path / "page.html")
    assert tab.complaints == []
    heights = tab.run("[...document.querySelectorAll('section')].map(s => [s.id, s.offsetHeight])")
    without = {"attention", "rollout", "lens"} if kind == "lstm" else {"traces"}
    every = ["surprisal", "attribution", "attention", "rollout", "traces", "lens", "causes", "neighbours"]
    assert [name for name, _ in heights] == [name for name in every if name not in without], "no section without content"
    assert all(height > 80 for _, height in heights)
    linked = tab.run("[...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    assert linked == [name for name, _ in heights]
    missing = dict(tab.run("[...document.querySelectorAll('#lacks li')].map(m => [m.dataset.part, m.textContent])"))
    assert set(missing) == without
    assert all("this model has no" in says.lower() or "Transformer" in says for says in missing.values())
    drawn = tab.run(COLOURS)
    assert len(drawn) == {"lstm": 3, "gpt": 5, "bert": 4}[kind] and min(drawn) > 20, "the maps hold more than one colour"
    assert tab.run("document.documentElement.scrollWidth <= innerWidth"), "nothing runs out of the page"


WATCHED = """<script>setInterval(() => {
  const ready = document.querySelector('iframe').contentDocument?.documentElement.dataset.ready;
  if (ready) document.documentElement.dataset.ready = ready;
}, 20)</script>"""


@needs_browser
def test_it_draws_itself_in_the_frame_of_a_notebook(tab, tmp_path):
    frame = explained("lstm")._repr_html_().replace(' sandbox="allow-scripts"', "")  # which would not be looked into
    (tmp_path / "cell.html").write_text(f"<!doctype html><body>{frame}{WATCHED}</body>", encoding="utf-8")
    tab.open(tmp_path / "cell.html")
    assert tab.complaints == []
    assert tab.run("document.querySelector('iframe').offsetHeight") > 600
    assert tab.run("document.querySelector('iframe').contentDocument.querySelectorAll('section').length") == 5
    within = "document.querySelector('iframe').contentDocument"
    tab.run(f"{within}.documentElement.style.scrollBehavior = 'auto'")
    tab.run(f"{within}.querySelector('nav a[href$=traces]').click()")
    place = tab.run(f"{within}.getElementById('traces').getBoundingClientRect().top")
    assert abs(place) < 640 and tab.complaints == [], "the link leads to the section within the frame"


MARGIN = """[...document.querySelectorAll('.map canvas')].map(canvas => {
  const scale = canvas.width / parseFloat(canvas.style.width);
  const strip = canvas.getContext('2d').getImageData(0, 0, 18 * scale, canvas.height);
  let inked = 0;
  for (let i = 3; i < strip.data.length; i += 4) inked += strip.data[i] > 0;
  return inked / (strip.data.length / 4);
})"""


@needs_browser
def test_maps_have_their_names_on_a_telephone(tmp_path):
    """Letters with ground around them stand at the left edge, not cells; and the page itself does not run out."""
    model, tokenizer = made("lstm", np.float32)
    interpret.write_page(interpret.explain(model, tokenizer, "The cat sat, too: " * 2, steps=4), tmp_path / "page.html")
    with browser.Page(width=400) as page:
        page.open(tmp_path / "page.html")
        attribution, *_ = page.run(MARGIN)
        assert 0.005 < attribution < 0.6
        assert page.run("document.documentElement.scrollWidth <= innerWidth") and page.complaints == []


@needs_browser
def test_selecting_and_hovering(tab, tmp_path):
    interpret.write_page(explained("gpt"), tmp_path / "page.html")
    tab.open(tmp_path / "page.html")
    selected = "[...document.querySelectorAll('.tok.selected')].map(t => +t.dataset.t)"
    tab.click("#strip-surprisal [data-t='5']")
    assert tab.run(selected) == [5] * 5, "in every line of tokens"
    assert "token 5 of 18" in tab.run("document.getElementById('bar').textContent")
    before = tab.run("document.getElementById('expected').textContent")
    tab.key("ArrowRight")
    assert tab.run(selected) == [6] * 5 and tab.run("document.getElementById('expected').textContent") != before
    assert "error of" in tab.run("document.getElementById('completeness').textContent")
    tab.click("#method button:nth-child(2)")
    assert "promises nothing" in tab.run("document.getElementById('completeness').textContent")
    tab.hover("#strip-attention [data-t='2']")
    assert tab.run("!document.getElementById('tip').hidden && document.getElementById('tip').textContent").count("%") == 1
    tab.click("#heads > div:nth-child(3) button:nth-of-type(2)")
    assert tab.run("document.getElementById('head-title').textContent") == "Layer 3, head 2"
    tab.click("#strip-surprisal [data-t='18']")
    assert "after the end" in tab.run("document.getElementById('expected-title').textContent")
    assert tab.complaints == []


@needs_browser
def test_a_nasty_text_in_light_and_dark(tab, tmp_path):
    interpret.write_page(nasty(), tmp_path / "page.html")
    tab.open(tmp_path / "page.html")
    assert tab.run("document.getElementById('quote').textContent") == NASTY
    assert tab.run("document.querySelectorAll('#quote *').length") == 0
    ground = "getComputedStyle(document.body).backgroundColor"
    light = tab.run(ground)
    tab.click("#theme")
    assert tab.run(ground) != light
    assert tab.complaints == []


# --- plots -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "gpt"])
def test_plots(tmp_path, kind):
    pytest.importorskip("matplotlib")
    from PIL import Image

    from tests import pictures

    with pictures.drawn() as figures:
        written = interpret.write_plots(nasty(kind), tmp_path / "plots")
    for figure, texts in figures:
        assert [] == pictures.clipped(figure, texts)
    maps = {"attribution": 3, "attention": 5, "rollout": 2, "lens": 2}
    drawn = {os.path.basename(path)[:-4]: len(figure.axes) for path, (figure, _) in zip(written, figures, strict=True)}
    assert all(count == maps.get(name, count) for name, count in drawn.items()), "a bar of colours beside each map"
    names = [os.path.basename(path) for path in written]
    more = ["traces.png"] if kind == "lstm" else ["attention.png", "rollout.png", "lens.png"]
    assert names == ["surprisal.png", "attribution.png", *more]
    for path in written:
        with Image.open(path) as picture:
            assert picture.size[0] > 300 and len(set(picture.convert("L").resize((60, 60)).tobytes())) > 5


def test_characters_of_direction_are_seen():
    """As in a text that reads otherwise than it is: "abc" and U+202E, after which "dcba" looks like "abcd"."""
    from minilm import models

    text = "ab\u202e\u2067dc\u200f\u061c ba\u2069\u202c"
    tokenizer = tokenizers.Character(text)
    config = models.RNNLanguageModelConfig(vocab_size=tokenizer.vocab_size, embedding_size=5, hidden_size=6)
    page = interpret.page(interpret.explain(models.RNNLanguageModel(config), tokenizer, text, steps=2))
    data = json.loads(Reader(page).scripts[1])
    for place in (page, json.dumps(data, ensure_ascii=False)):
        assert not re.search("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", place)
    assert data["tokens"][:4] == ["a", "b", "[U+202E]", "[U+2067]"] and "[U+202E]" in data["text"]
    assert "<title>minilm explain: ab[U+202E][U+2067]dc[U+200F][U+061C] ba" in page
