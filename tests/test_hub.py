"""Names on the Hugging Face Hub: fetched from a server of our own by the hub's library, and what is said where that fails."""

import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

from minilm import hub, models, tokenizers, weights
from minilm.tokenizers import ByteLevelBPE
from minilm.weights.torch_writer import write_torch_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
from minilm import hub, models, tokenizers
print(models.GPT.from_pretrained("somebody/tiny").parameters.count)
print(tokenizers.load("somebody/tiny").encode("a").tolist())
print(*sorted(__import__("os").listdir(hub.model_folder("somebody/tiny"))))
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A GPT with its tokenizer, and what is of no use here."""
    folder = tmp_path_factory.mktemp("repository")
    tokenizer = ByteLevelBPE.train_from_chunks("a b a b", vocab_size=258)
    tokenizer.save_pretrained(folder)
    config = models.GPTConfig(vocab_size=tokenizer.vocab_size, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    models.GPT(config, seed=0).save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(bytes(1000))
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.safetensors").write_bytes(bytes(1000))
    return folder


@pytest.fixture
def server(repository):
    """What of the Hub's web interface the library calls: the list of files, and each file with its size and hash."""

    class Handler(http.server.BaseHTTPRequestHandler):
        fetched: list[str] = []

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, body):
            path, kind = self.path.split("?")[0], "application/json"
            names = [each.relative_to(repository).as_posix() for each in sorted(repository.rglob("*")) if each.is_file()]
            if not path.startswith(("/api/models/somebody/tiny", "/somebody/tiny/resolve/")):
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if path.startswith("/api/models/somebody/tiny/tree"):
                content = json.dumps([{"type": "file", "path": name, "oid": name, "size": 1} for name in names]).encode()
            elif path.startswith("/api/"):
                siblings = [{"rfilename": name} for name in names]
                content = json.dumps({"id": "somebody/tiny", "sha": COMMIT, "siblings": siblings}).encode()
            else:
                name, kind = path.split("/", 5)[5], "application/octet-stream"
                content = (repository / name).read_bytes()
                if body:
                    self.fetched.append(name)
            self.send_response(200)
            for key, value in (("Content-Type", kind), ("Content-Length", len(content)), ("X-Repo-Commit", COMMIT)):
                self.send_header(key, str(value))
            self.send_header("ETag", f'"{hash(content) & 0xFFFFFFFF:08x}"')
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}", Handler.fetched
    serving.shutdown()


def environment_of(endpoint, cache):
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    return environment | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def test_a_model_is_fetched_once_and_only_what_is_read(server, tmp_path):
    pytest.importorskip("huggingface_hub")
    endpoint, fetched = server
    environment = environment_of(endpoint, tmp_path)

    def run(program=PROGRAM, **more):
        done = subprocess.run([sys.executable, "-c", program], env={**environment, **more}, capture_output=True, text=True)
        return done.stdout.splitlines(), done.stderr

    (count, ids, names), progress = run()
    assert int(count) > 258 * 8 and json.loads(ids) and "%" in progress
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(names.split()) == set(fetched) == {*fetched}
    assert not {"pytorch_model.bin", "onnx"} & set(names.split()) and len(fetched) == len(set(fetched))
    before = list(fetched)
    assert run(HF_HUB_OFFLINE="1")[0] == [count, ids, names] and fetched == before
    _, err = run("from minilm.cli import main; main(['generate', 'somebody/other'])")
    assert err.count("\n") == 1 and "no folder somebody/other, nor a model of that name on the Hugging Face Hub" in err
    _, err = run("from minilm.cli import main; main(['chat', 'somebody/other'])", HF_HUB_OFFLINE="1")
    assert err.count("\n") == 1 and "cannot be reached (HF_HUB_OFFLINE is set)" in err


def test_a_model_without_safetensors_is_converted(server, repository, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    endpoint, fetched = server
    with weights.WeightFolder(repository) as arrays:
        write_torch_file(repository / "pytorch_model.bin", {name: arrays.file_of(name).read(name) for name in arrays})
    hidden = (repository / "model.safetensors").rename(tmp_path / "hidden")
    environment = environment_of(endpoint, tmp_path)

    def run(*arguments):
        command = [sys.executable, "-m", "minilm", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)

    try:
        refused = run("generate", "somebody/tiny")
        assert refused.returncode == 2 and "Traceback" not in refused.stderr
        assert "no safetensors: `minilm convert somebody/tiny FOLDER` reads PyTorch's files" in refused.stderr
        converted = run("convert", "somebody/tiny", "converted")
    finally:
        hidden.rename(repository / "model.safetensors")
    assert converted.returncode == 0, converted.stderr
    assert fetched.count("pytorch_model.bin") == 1 and "onnx/model.safetensors" not in fetched
    before, after = (
        models.GPT.from_pretrained(folder).parameters.state_dict() for folder in (repository, tmp_path / "converted")
    )
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)


@pytest.fixture
def fake(monkeypatch):
    """A huggingface_hub whose `snapshot_download` raises, or gives the path, that `fake.result` is."""
    library = types.ModuleType("huggingface_hub")
    library.__spec__ = types.SimpleNamespace()
    library.errors = types.SimpleNamespace(
        **{
            name: type(name, (OSError,), {})
            for name in ("GatedRepoError", "RepositoryNotFoundError", "HFValidationError", "LocalEntryNotFoundError")
        }
    )

    def snapshot_download(name, allow_patterns):
        library.calls.append((name, allow_patterns))
        if isinstance(library.result, Exception):
            raise library.result
        return library.result

    library.calls, library.snapshot_download = [], snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", library.errors)
    return library


def test_what_looks_like_a_name(fake, repository, tmp_path, monkeypatch):
    fake.result = str(repository)
    assert models.GPT.from_pretrained("somebody/tiny").config.n_embd == 8
    assert tokenizers.load("somebody/tiny") == ByteLevelBPE.from_pretrained("somebody/tiny") == tokenizers.load(repository)
    names = [patterns for _, patterns in fake.calls]
    assert "model.safetensors" in names[0] and "model.safetensors" not in names[1]
    monkeypatch.chdir(tmp_path)
    pathlib.Path("somebody", "tiny").mkdir(parents=True)
    fake.calls.clear()
    assert hub.model_folder("somebody/tiny") == "somebody/tiny" and not fake.calls  # a folder goes before
    for path in ("/no/such", "./no", "no/such/folder", "no/such.gguf", "~/no", ""):
        with pytest.raises(FileNotFoundError, match="there is no "):
            hub.model_folder(path)
    assert not fake.calls


@pytest.mark.parametrize(
    "error, says",
    [
        ("GatedRepoError", "agree to its terms: then `hf auth login`"),
        ("RepositoryNotFoundError", "nor a model of that name on the Hugging Face Hub"),
        ("HFValidationError", "and it is no name on the Hugging Face Hub"),
        ("LocalEntryNotFoundError", "cannot be reached"),
        (RuntimeError("server on fire\nand more"), r"failed \(server on fire\)$"),
    ],
)
def test_failures_are_one_line(fake, error, says):
    fake.result = getattr(fake.errors, error)("a\nb") if isinstance(error, str) else error
    with pytest.raises(FileNotFoundError, match=f"^there is no folder a/b, [^\n]*{says}"):
        hub.model_folder("a/b")


def test_without_the_library(monkeypatch):
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'minilm\[hub\]' .*`hf download a/b --local-dir FOLDER`"):
        hub.model_folder("a/b")
    with pytest.raises(FileNotFoundError, match="pip install"):
        tokenizers.load("a/b")
