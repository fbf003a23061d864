"""The manifest: whole, and of things that can be had."""

import json
import os
import re

from minilm import data
from minilm.data.manifest import builtin_folder


def test_entries():
    with open(os.path.join(builtin_folder(), "manifest.json"), encoding="utf-8") as file:
        entries = json.load(file)["corpora"]
    assert len({entry["name"] for entry in entries}) == len({entry["file"] for entry in entries}) == len(entries)
    assert list(data.corpora()) == [entry["name"] for entry in entries]
    for entry in entries:
        assert re.fullmatch("[0-9a-f]{64}", entry["sha256"]) and entry["bytes"] > 0 and entry["licence"] and entry["description"]
        assert entry["kind"] in ("text", "pairs", "gzip")
        assert entry["url"] is None or re.fullmatch(
            r"https://[a-z.]+/[\w-]+/[\w-]+/[0-9a-f]{40}/\S+", entry["url"]
        )  # a fixed commit
        assert re.fullmatch(r"[\w.-]+", entry["file"]) and re.fullmatch(r"[a-z0-9-]+", entry["name"])
