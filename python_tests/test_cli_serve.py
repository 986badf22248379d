# SPDX-License-Identifier: MIT
"""`fslcore serve` as its users start it, and what it refuses before it starts anything."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from commandline import command, environment
from serving_cases import Client, as_body, png, small_set

from fslcore.arguments import ArgumentError
from fslcore.classifier import saving
from fslcore.serving import running

TOKEN = "a token of some length"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a set."""
    folder = tmp_path_factory.mktemp("served") / "set"
    small_set().save(folder)
    return folder


def test_a_set_is_served_by_one_process_until_it_is_told_to_end(saved):
    variables = {**environment(saved.parent), "FSLCORE_TOKEN": TOKEN}
    started = command("serve", saved, "--host", "0.0.0.0", "--port", 0, "--threads", 1)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(started, env=variables, **pipes) as process:
        try:
            said = process.stdout.readline()
            assert said.startswith(f"serving {saved} at http://0.0.0.0:"), process.stderr.read()
            client = Client(int(said.rpartition(":")[2]))
            assert client.predict(as_body(png(0))).status == 401
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "image/png"}
            assert (
                client.ask("POST", "/v1/predict", png(0), headers).json["predictions"][0]["label"] == "corner"
            )
            added = client.ask("POST", "/v1/labels?label=new", png(8), headers)
            assert (added.status, added.json["version"]) == (200, 4)
            with pytest.raises(ArgumentError, match="must be served by one process, or with `read_only`"):
                running.serve(saved, port=0)
            client.close()
        finally:
            process.send_signal(signal.SIGTERM)
        said, complaint = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert (said, complaint) == ("the service has ended\n", "")
    assert saving.read(saved)[0].labels == ("corner", 7, "two", "new")


def test_what_others_could_reach_needs_a_token(in_process, monkeypatch):
    monkeypatch.delenv("FSLCORE_TOKEN", raising=False)
    assert in_process.complaint("serve", "set", "--host", "0.0.0.0") == (
        "fslcore: --host must be an address of this machine alone, such as 127.0.0.1, unless there is a "
        "token or --open-to-all is set, received --host 0.0.0.0\n"
    )
    monkeypatch.setenv("FSLCORE_TOKEN", "short")
    assert "token must have at least 16 characters, received 5 characters" in in_process.complaint(
        "serve", "set"
    )


def test_the_token_is_given_once(in_process, monkeypatch, folder):
    (folder / "token").write_text(f"{TOKEN}\n")
    monkeypatch.setenv("FSLCORE_TOKEN", TOKEN)
    said = in_process.complaint("serve", "set", "--token-file", "token")
    assert (
        said == "fslcore: --token-file must not be given beside FSLCORE_TOKEN, received --token-file token\n"
    )


def test_a_folder_without_a_set(in_process):
    assert "must be that of a support set" in in_process.complaint("serve", "letters", "--port", 0)


def test_a_port_that_is_taken(in_process):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, said = in_process("serve", "letters", "--port", port)
    assert (code, said) == (2, f"fslcore: 127.0.0.1:{port}: address already in use\n")


@pytest.mark.parametrize("package", running._PACKAGES)
def test_without_the_extra_the_command_that_installs_it_is_named(in_process, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    code, _, said = in_process("serve", "set")
    assert (code, said) == (1, f"fslcore: the service needs {package}: pip install 'fslcore[serve]'\n")


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        *((host, True) for host in ("127.0.0.1", "localhost", "::1", "127.8.0.1")),
        *((host, False) for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", "")),
    ],
)
def test_addresses_of_this_machine_alone(host, alone):
    assert running.is_loopback(host) == alone


def test_a_read_only_set_needs_no_folder_that_can_be_written(saved, monkeypatch):
    """Two processes may serve it, and nothing is written."""
    names = set(os.listdir(saved))
    seen = []

    def stop(server, *_, **__):
        seen.append(server.config.app)

    import uvicorn

    monkeypatch.setattr(uvicorn.Server, "run", stop)
    content = (saved / saving.SUPPORT).read_bytes()
    running.serve(saved, port=0, read_only=True)
    assert len(seen) == 1
    assert (saved / saving.SUPPORT).read_bytes() == content
    assert set(os.listdir(saved)) == names
