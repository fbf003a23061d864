"""The server behind `minilm serve`: forms of plain HTML, without a script, on 127.0.0.1.

A page from elsewhere, open in the same browser, must not be able to use it: what it sends carries another Host (where its name
was made to mean 127.0.0.1) or another Origin, and is refused. What a model or a user wrote is shown as text, never as markup, and
a Content-Security-Policy forbids the browser to fetch anything.
"""

from __future__ import annotations

import html
import http.server
import threading
import urllib.parse
from collections.abc import Callable, Mapping

__all__ = ["PageServer"]

Action = Callable[[str], str]
LIMIT = 1 << 20  # bytes of a request
FORMS = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
WHOLE = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'"
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }}
textarea {{ width: 100%; font: inherit }} pre {{ white-space: pre-wrap; background: #eee; padding: 1em }}
</style></head><body><h1>{title}</h1>
<form method="post"><label for="text">Text</label><textarea id="text" name="text" rows="6" autofocus>{text}</textarea>
<p>{buttons}</p></form>{result}</body></html>
"""


class PageServer(http.server.ThreadingHTTPServer):
    """One page with a button for each action, of which one works at a time.

    Each connection has a thread: browsers open some that they may never use, and such a one must not keep others waiting.

    Parameters
    ----------
    port : int
        0 takes any that is free.
    title : str
    actions : mapping of str to callable
        From a button's name to what makes text of the text that was typed.
    pages : mapping of str to callable
        The same for what makes a whole page of HTML.

    Raises
    ------
    OSError
        The port is in use.
    """

    def __init__(self, port: int, title: str, actions: Mapping[str, Action], pages: Mapping[str, Action] | None = None):
        super().__init__(("127.0.0.1", port), _Handler)
        self.title, self.actions, self.pages = title, dict(actions), dict(pages or {})
        self.working = threading.Lock()

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a browser of this machine calls the server."""
        return f"127.0.0.1:{self.server_port}", f"localhost:{self.server_port}"

    def form(self, text: str = "", result: str | None = None) -> str:
        """The page."""
        names = (*self.actions, *self.pages)
        buttons = " ".join(f'<button name="action" value="{html.escape(name)}">{html.escape(name)}</button>' for name in names)
        shown = "" if result is None else f"<pre>{html.escape(result)}</pre>"
        return PAGE.format(title=html.escape(self.title), text=html.escape(text), buttons=buttons, result=shown)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "minilm", ""
    timeout = 30  # seconds that a connection may say nothing

    def do_GET(self) -> None:
        if self._allowed():
            if self.path == "/":
                self._send(200, self.server.form(), FORMS)
            else:
                self._send(404, "there is no such page", FORMS, "text/plain")

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > LIMIT:
            return self._send(413, f"a request may have at most {LIMIT:,} bytes", FORMS, "text/plain")
        content = self.rfile.read(int(size))  # also what is refused: a connection closed before is broken for the browser
        if not self._allowed():
            return
        fields = urllib.parse.parse_qs(content.decode("utf-8", "replace"), keep_blank_values=True)
        action, text = (fields.get(name, [""])[0] for name in ("action", "text"))
        text = text.replace("\r\n", "\n")  # as forms send line ends
        try:
            act = self.server.pages.get(action) or self.server.actions.get(action)
            if act is None:
                raise ValueError(f"there is no action {action!r}")
            with self.server.working:
                result = act(text)
        except (ValueError, TypeError, OSError, MemoryError, ArithmeticError, RecursionError) as error:  # as of a command
            return self._send(400, self.server.form(text, f"minilm: {error}"), FORMS)
        if action in self.server.pages:
            return self._send(200, result, WHOLE)
        self._send(200, self.server.form(text, result), FORMS)

    def _allowed(self) -> bool:
        origin = self.headers.get("Origin")
        own = origin is None or origin in [f"http://{host}" for host in self.server.hosts]
        if self.headers.get("Host") in self.server.hosts and own:
            return True
        self._send(403, "this page is for the browser of this machine alone", FORMS, "text/plain")
        return False

    def _send(self, status: int, content: str, policy: str, kind: str = "text/html") -> None:
        body = content.encode("utf-8", "replace")
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: what was typed is nobody's business."""
