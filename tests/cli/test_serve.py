"""The local page: what its buttons do, that texts are text, and that no page from elsewhere can use it."""

import argparse
import contextlib
import http.client
import socket
import threading
import urllib.parse

import pytest

from minilm import cli, recipes, training
from minilm.cli import serve
from minilm.cli.page_server import LIMIT, PageServer


@contextlib.contextmanager
def running(server):
    """Serve in a thread; a function that asks it: (status, headers, body)."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def ask(method="GET", path="/", body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        content = None if body is None else urllib.parse.urlencode(body)
        connection.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode("utf-8")

    ask.port = server.server_port
    try:
        yield ask
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def ask():
    def fail(text):
        raise ValueError(f"no {text}")

    with running(
        PageServer(0, "<title>", {"upper": str.upper, "fail": fail}, {"page": lambda text: f"<b>{len(text)}</b>"})
    ) as ask:
        yield ask


def test_a_form_and_its_buttons(ask):
    status, headers, body = ask()
    assert status == 200 and "&lt;title&gt;" in body and all(f'value="{name}"' in body for name in ("upper", "fail", "page"))
    assert "default-src 'none'" in headers["Content-Security-Policy"] and "script-src" not in headers["Content-Security-Policy"]
    status, _, body = ask("POST", body={"action": "upper", "text": "<i>\r\n\u00fc"})
    assert status == 200 and "<pre>&lt;I&gt;\n\u00dc</pre>" in body and "<i>" not in body and "&lt;i&gt;" in body
    assert ask("POST", body={"action": "page", "text": "abc"})[2] == "<b>3</b>"
    for action, says in (("fail", "minilm: no x"), ("other", "there is no action")):
        status, _, body = ask("POST", body={"action": action, "text": "x"})
        assert status == 400 and says in body
    assert ask(path="/etc/passwd")[0] == 404 and ask("PUT")[0] == 501


def test_a_connection_that_says_nothing_keeps_nobody_waiting(ask):
    with socket.create_connection(("127.0.0.1", ask.port)):  # as browsers open them, to be quick later
        assert ask()[0] == 200


def test_pages_from_elsewhere_are_refused(ask):
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        for method in ("GET", "POST"):
            status, _, body = ask(method, body={"action": "upper", "text": "x"} if method == "POST" else None, **headers)
            assert status == 403 and "X" not in body
    for size in (LIMIT + 1, -1, "x"):
        assert ask("POST", Content_Length=str(size))[0] == 413


def test_a_language_model_writes_and_explains(tmp_path, monkeypatch, capsys):
    settings = {"model.hidden_size": 8, "model.embedding_size": 8, "steps": 1, "batch": 2, "time": 8, "sample.tokens": 0}
    training.train(training.configuration(options={**settings, "evaluate_tokens": 64}), out=tmp_path)
    servers = []

    class Once(PageServer):
        def serve_forever(self, *_):
            servers.append((self.actions, self.pages, self.hosts))
            raise KeyboardInterrupt

    monkeypatch.setattr(serve, "PageServer", Once)
    assert cli.main(["serve", str(tmp_path), "--port", "0", "--tokens", "5"]) == 0
    actions, pages, hosts = servers[0]
    assert hosts[0] in capsys.readouterr().out
    assert actions["write"]("The fox").startswith("The fox") and len(actions["write"]("The fox")) == 12
    assert "<html" in pages["explain"]("The fox ran.") and "Content-Security-Policy" in pages["explain"]("The fox ran.")
    with PageServer(0, "x", {}) as other:
        assert cli.main(["serve", str(tmp_path), "--port", str(other.server_port)]) == 2
        assert f"port {other.server_port} of 127.0.0.1 is not free" in capsys.readouterr().err


def test_an_exported_recipe_answers(tmp_path):
    recipes.load("translate")(steps=1).run(None, out=tmp_path / "run", progress=False)
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "small"), "--int8"]) == 0
    usual = {"device": "cpu", "tokens": 200, "temperature": 0.8}
    assert list(serve._actions(str(tmp_path / "small"), argparse.Namespace(**usual, defaults=usual))[0]) == ["answer"]


def test_every_port_may_be_asked_for(tmp_path, monkeypatch, capsys):
    def taken(port, *_):
        raise OSError(98, "in use")

    monkeypatch.setattr(serve, "PageServer", taken)
    monkeypatch.setattr(serve, "_actions", lambda *_: ({}, {}))
    for port, says in ((65535, "port 65535 of 127.0.0.1 is not free"), (65536, "port must lie in [0, 65536)")):
        assert cli.main(["serve", str(tmp_path), "--port", str(port)]) == 2
        assert says in capsys.readouterr().err
