"""Two hosts that this machine plays: network namespaces, joined by a line that may be slow and lossy. As root, on Linux."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from minilm import training
from minilm.files import locked_folder
from tests import clocks
from tests.distributed import cable, launch
from tests.distributed.cable import ip
from tests.distributed.test_ends import TRAIN, step_of, wait_for
from tests.training.helpers import contents
from tests.training.test_killed import as_sets

ADDRESSES = ("10.77.0.1", "10.77.0.2")
SHELL = """#!/bin/bash
# In the place of ssh: options, the host, a command.
while [[ "$1" == -* ]]; do shift; done
host=$1; shift
case $host in {0}) name={2};; {1}) name={3};; esac
exec ip netns exec $name bash -c "$*"
"""

ECHO = """
import socket
line = socket.socket(type=socket.SOCK_DGRAM)
line.bind(("{0}", 7))
print("ready", flush=True)
while True:
    line.sendto(*line.recvfrom(100))
"""
ASK = """
import json, socket, time
line, times = socket.socket(type=socket.SOCK_DGRAM), []
line.connect(("{0}", 7))
for number in range(300):
    line.send(str(time.monotonic()).encode())
    time.sleep(0.002)
line.settimeout(1)
try:
    while True:
        times.append(-float(line.recv(100)) + time.monotonic())
except TimeoutError:
    print(json.dumps(times))
"""


@pytest.fixture
def hosts(tmp_path, request):
    """``start(*words)`` trains on two hosts, a rank each; ``hosts.unplug()`` is what an excavator does."""
    names = [f"minilm{os.getpid()}{letter}" for letter in "ab"]
    cards = [f"ml{os.getpid() % 10**6}{letter}" for letter in "ab"]
    if not shutil.which("ip") or ip("netns", "add", names[0]).returncode:
        pytest.skip("network namespaces cannot be made here: not root, or no command ip")
    try:
        ip("netns", "add", names[1])
        with cable.LINES[request.param](cards, names) as missing:
            if missing:
                pytest.skip(missing)
            for name, card, address in zip(names, cards, ADDRESSES, strict=True):
                ip("-n", name, "addr", "add", f"{address}/24", "dev", card)
                ip("-n", name, "link", "set", card, "up")
                ip("-n", name, "link", "set", "lo", "up")
            shell = tmp_path / "shell"
            shell.write_text(SHELL.format(*ADDRESSES, *names), encoding="utf-8")
            shell.chmod(0o755)
            yield Hosts(names, cards[0], shell)
    finally:
        for name in names:
            ip("netns", "del", name)


class Hosts:
    def __init__(self, names, card, shell):
        self._names, self._name, self._card, self._shell = names, names[0], card, shell

    def start(self, *words):
        launcher = ["-launcher", "ssh", "-launcher-exec", str(self._shell), "-hosts", ",".join(ADDRESSES), "-n", "2"]
        command = ["ip", "netns", "exec", self._name, launch.mpiexec(), *launcher, sys.executable, *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "stdin": subprocess.DEVNULL}
        # UCX sees one machine, and would take its memory for the network
        return subprocess.Popen(command, env=launch.environment(UCX_TLS="tcp,self"), **pipes)

    def pings(self):
        """Seconds there and back of those datagrams of 300 that came back."""
        inside = [["ip", "netns", "exec", name, sys.executable, "-c"] for name in self._names]
        with subprocess.Popen([*inside[1], ECHO.format(ADDRESSES[1])], stdout=subprocess.PIPE) as echo:
            echo.stdout.readline()
            run = subprocess.run([*inside[0], ASK.format(ADDRESSES[1])], capture_output=True, text=True, check=True)
            echo.kill()
        return json.loads(run.stdout)

    def unplug(self):
        assert ip("-n", self._name, "link", "set", self._card, "down").returncode == 0


def processes_with(word):
    """The ids of processes in whose command a word stands."""
    commands = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
            commands[int(name)] = file.read()
    return [process for process, command in commands.items() if word.encode() in command]


def wait_until_free(folder):
    """A process that is about to end has no command any more, and may still have its files."""
    end = time.monotonic() + clocks.PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(ValueError):
            os.close(locked_folder(folder))
            return
        time.sleep(0.05)


@pytest.mark.parametrize("hosts", ["netem", "cable"], indirect=True)
def test_the_line_is_slow_and_lossy(hosts):
    times = hosts.pings()
    assert 100 < len(times) < 300 and min(times) >= 2 * cable.DELAY


@pytest.mark.slow
@pytest.mark.parametrize("hosts", cable.LINES, indirect=True)
def test_the_same_bits_over_a_network(hosts, tiny, tmp_path):
    config = tiny(steps=20, batch=8, micro_shards=4, model={"dropout": 0.2})
    process = hosts.start(*TRAIN, "--out", tmp_path / "hosts", *as_sets(config))
    output, _ = process.communicate(timeout=clocks.PATIENCE)
    assert process.returncode == 0, output
    assert contents(tmp_path / "hosts") == contents(training.train(config, out=tmp_path / "alone").folder)


@pytest.mark.slow
@pytest.mark.parametrize("hosts", cable.LINES, indirect=True)
def test_a_host_that_disappears_ends_the_job(hosts, tiny, tmp_path):
    config = tiny(steps=10**6, batch=8, micro_shards=4, checkpoint_every=3, schedule={"name": "constant"})
    process = hosts.start(*TRAIN, "--out", tmp_path / "run", *as_sets(config))
    wait_for(process, lambda: step_of(tmp_path / "run") > 3)
    hosts.unplug()
    began = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert "nothing was heard of rank 1 for 8 s" in output
    while processes_with(str(tmp_path / "run")):  # the other host's rank knows of nothing but silence too
        time.sleep(0.1)
    assert time.monotonic() - began < 12
    wait_until_free(tmp_path / "run")
    config = config.replace(steps=step_of(tmp_path / "run") + 5)
    training.train(config, out=tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(training.train(config, out=tmp_path / "whole").folder)
