"""Downloads, from a server of our own on this machine, which can misbehave."""

import dataclasses
import hashlib
import http.server
import multiprocessing
import os
import threading
import time

import pytest

from minilm import data
from minilm.data import manifest as module

CONTENT = bytes(range(256)) * 1000  # 256,000 bytes: several reads of a download


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT in the way that the server's `mode` says."""

    def do_GET(self):
        server, content = self.server, self.server.content
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.mode == "missing":
            return self.send_error(404)
        start = 0
        if asked and server.mode != "no range":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = min(len(content), start + server.piece) if server.mode == "breaks off" else len(content)
        if server.mode == "slow":  # so that whoever else asks is at it at the same time
            for place in range(start, len(content), 64_000):
                self.wfile.write(content[place : place + 64_000])
                self.wfile.flush()
                time.sleep(0.02)
            return
        self.wfile.write(content[start:stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("minilm.data.download.TIMEOUT", 10)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.mode, server.content, server.asked, server.piece = "good", CONTENT, [], 100_000
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def entry(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MINILM_CACHE", str(tmp_path / "cache"))
    url = f"http://127.0.0.1:{server.server_address[1]}/text"
    return data.Corpus("sample", "sample.txt", url, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "none", "text", "bytes")


def content(entry):
    with open(entry.path, "rb") as file:
        return file.read()


def names(entry):
    return sorted(os.listdir(os.path.dirname(entry.path)))


def put(entry, name, text):
    os.makedirs(os.path.dirname(entry.path), exist_ok=True)
    with open(os.path.join(os.path.dirname(entry.path), name), "wb") as file:
        file.write(text)


def test_fetch_once(server, entry):
    assert data.fetch(entry) == entry.path
    assert content(entry) == CONTENT and names(entry) == ["sample.txt"] and server.asked == [None]
    data.fetch(entry)
    assert server.asked == [None]  # what is here and right is used as it is


@pytest.mark.parametrize("have", [1, 1000, len(CONTENT) - 1])
def test_resume(server, entry, have):
    put(entry, "sample.txt.part", CONTENT[:have])
    data.fetch(entry)
    assert content(entry) == CONTENT and server.asked == [f"bytes={have}-"] and names(entry) == ["sample.txt"]


def test_a_part_that_is_whole_needs_no_network(server, entry):
    put(entry, "sample.txt.part", CONTENT)
    data.fetch(entry)
    assert content(entry) == CONTENT and server.asked == []


def test_server_without_ranges(server, entry):
    server.mode = "no range"
    put(entry, "sample.txt.part", CONTENT[:1000])
    data.fetch(entry)
    assert content(entry) == CONTENT and names(entry) == ["sample.txt"] and server.asked == ["bytes=1000-"]


@pytest.mark.parametrize("stale", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)])
def test_a_part_of_something_else_is_given_up(server, entry, stale):
    put(entry, "sample.txt.part", stale)
    data.fetch(entry)
    assert content(entry) == CONTENT and names(entry) == ["sample.txt"] and server.asked[-1] is None


def test_connection_that_breaks_off_goes_on(server, entry):
    server.mode = "breaks off"
    data.fetch(entry)
    assert content(entry) == CONTENT and server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_what_came_is_kept(server, entry):
    server.mode, server.piece = "breaks off", 20_000
    with pytest.raises(OSError, match=r"ended after 80,000 of 256,000 bytes.*80,000 bytes are kept.*put it at .*sample.txt$"):
        data.fetch(entry)
    assert names(entry) == ["sample.txt.part"]
    server.mode = "good"
    data.fetch(entry)
    assert content(entry) == CONTENT and server.asked[-1] == "bytes=80000-"


@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"x", CONTENT + b"x" * 10, b"<html>moved</html>"])
def test_wrong_content(server, entry, wrong):
    server.content = wrong
    entry = dataclasses.replace(entry, sha256="0" * 64) if wrong.startswith(CONTENT) else entry
    with pytest.raises((ValueError, OSError), match="is not sample any more|ended after 18 of 256,000 bytes"):
        data.fetch(entry)
    assert not os.path.exists(entry.path)


def test_a_resource_that_ends_early_is_asked_for_anew(server, entry):
    """The server has less than the part that is here: 416, and then from the beginning."""
    put(entry, "sample.txt.part", CONTENT[:5000])
    server.content = CONTENT[:100]
    with pytest.raises(OSError, match="ended after 100 of"):
        data.fetch(entry)
    assert server.asked[:2] == ["bytes=5000-", None]


def test_not_found_and_not_reached(server, entry):
    server.mode = "missing"
    with pytest.raises(OSError, match=r"^cannot download sample from http\S* \(HTTP 404 Not Found\); without a network") as told:
        data.fetch(entry)
    assert "\n" not in str(told.value) and entry.path in str(told.value) and entry.sha256 in str(told.value)
    nowhere = dataclasses.replace(entry, url="http://127.0.0.1:9/none")
    with pytest.raises(OSError, match="(?i)refused.*put it at"):
        data.fetch(nowhere)


def test_a_wrong_file_is_set_aside(server, entry):
    put(entry, "sample.txt", b"somebody's own")
    server.mode = "missing"
    with pytest.raises(OSError):
        data.fetch(entry)
    assert content(entry) == b"somebody's own"  # not touched as long as the right one is not here
    server.mode = "good"
    data.fetch(entry)
    assert content(entry) == CONTENT
    (aside,) = [name for name in names(entry) if "wrong" in name]
    with open(os.path.join(os.path.dirname(entry.path), aside), "rb") as file:
        assert file.read() == b"somebody's own"
    put(entry, "sample.txt", b"somebody's own")  # a second time: the first one is not overwritten
    data.fetch(entry)
    assert len(names(entry)) == 3


def test_progress_bar(server, entry, capsys):
    data.fetch(entry, progress=True)
    assert "sample" in capsys.readouterr().err
    os.remove(entry.path)
    data.fetch(entry)  # no terminal here
    assert capsys.readouterr().err == ""


def test_built_in_is_never_downloaded(entry, monkeypatch):
    assert os.path.isfile(data.fetch("stories"))
    broken = dataclasses.replace(module.named("stories"), sha256="0" * 64)
    with pytest.raises(ValueError, match="built in, but"):
        data.fetch(broken)


def test_unwritable_folder(server, entry, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OSError):
        data.fetch(entry)


def test_a_full_disk_is_named(server, entry, monkeypatch):
    def full(entry, file, bar):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minilm.data.download._receive", full)
    with pytest.raises(OSError) as caught:
        data.fetch(entry)
    assert caught.value.filename == entry.path + ".part"


# --- several at a time -----------------------------------------------------------------------------------------------


def fetched(entry, barrier, results):
    """Fetch, and look whether what was returned as right stays as it is."""
    try:
        barrier.wait(30)
        path = data.fetch(entry)
        before = os.stat(path)
        right = [module.file_hash(path) == entry.sha256]
        time.sleep(0.1)
        right.append(module.file_hash(path) == entry.sha256 and os.stat(path).st_mtime_ns == before.st_mtime_ns)
        results.append(right)
    except BaseException as error:
        results.append(repr(error))


@pytest.mark.parametrize("there", ["nothing", "a part", "a part of something else", "a wrong file"])
def test_threads_get_one_right_file(server, entry, there):
    server.mode = "slow"
    if there != "nothing":
        name = "sample.txt" if there == "a wrong file" else "sample.txt.part"
        put(entry, name, CONTENT[:5000] if there == "a part" else b"x" * 5000)
    results, barrier = [], threading.Barrier(8)
    threads = [threading.Thread(target=fetched, args=(entry, barrier, results)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[True, True]] * 8
    assert content(entry) == CONTENT and [name for name in names(entry) if "wrong" not in name] == ["sample.txt"]
    assert len(server.asked) == (2 if there == "a part of something else" else 1)


def test_processes_get_one_right_file(server, entry):
    server.mode = "slow"
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        results, barrier = manager.list(), context.Barrier(3)
        processes = [context.Process(target=fetched, args=(entry, barrier, results)) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert list(results) == [[True, True]] * 3
    assert names(entry) == ["sample.txt"] and server.asked == [None]


def test_without_locks_each_has_a_part_of_its_own(server, entry, monkeypatch):
    server.mode = "slow"
    monkeypatch.setattr("minilm.data.download._locked", lambda descriptor, waiting: False)
    results, barrier = [], threading.Barrier(4)
    threads = [threading.Thread(target=fetched, args=(entry, barrier, results)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each[0] for each in results] == [True] * 4 and content(entry) == CONTENT


def test_who_waits_is_told_and_takes_over_where_the_first_gives_up(server, entry, capsys):
    """The one that downloads cannot go on: the next one goes on with what it left."""
    from minilm.data.download import _part

    put(entry, "sample.txt.part", CONTENT[:1000])
    results = []
    with _part(entry, False):
        thread = threading.Thread(target=lambda: results.append(data.fetch(entry, progress=True)))
        thread.start()
        while "waiting for it" not in (said := capsys.readouterr().err):
            time.sleep(0.01)
    thread.join()
    assert results == [entry.path] and content(entry) == CONTENT and server.asked == ["bytes=1000-"]
    assert said.startswith("sample is being fetched by another process")
