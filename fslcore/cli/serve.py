# SPDX-License-Identifier: MIT
"""`fslcore serve`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from fslcore.arguments import ArgumentError
from fslcore.cli import shared, signals, startup
from fslcore.experiments.starting import fix_threads
from fslcore.serving import running
from fslcore.serving.limits import Limits

_LIMITS = "Limits of a request"
_TOKEN = "FSLCORE_TOKEN"


def serve(
    set: Annotated[
        Path,
        typer.Argument(
            help="The folder of a support set: 'fslcore support create' makes one.", show_default=False
        ),
    ],
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the token that callers must send as 'Authorization: Bearer TOKEN', and that "
            f"the page asks for. {_TOKEN} in the environment is the same.",
            show_default=False,
        ),
    ] = None,
    open_to_all: Annotated[
        bool,
        typer.Option(
            "--open-to-all",
            help="Let other machines ask without a token, as behind a proxy that checks them.",
        ),
    ] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse changes of the set.")] = False,
    batch: Annotated[
        int, typer.Option(min=1, help="Pictures of concurrent requests that are predicted together at most.")
    ] = 64,
    max_megabytes: Annotated[
        int, typer.Option(min=1, help="Megabytes of a request.", rich_help_panel=_LIMITS)
    ] = Limits.body_bytes >> 20,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Pixels of a picture.", rich_help_panel=_LIMITS)
    ] = Limits.pixels,
    max_pictures: Annotated[
        int, typer.Option(min=1, help="Pictures of a request.", rich_help_panel=_LIMITS)
    ] = Limits.pictures,
    threads: shared.Threads = None,
) -> None:
    """Serve a support set over HTTP, with a page for the browser.

    The page is at the address that is printed, the OpenAPI document at /openapi.json, counters for Prometheus
    at /metrics. Each change is on the disk before it is answered. Ctrl-C ends the service.
    """
    token = _token(token_file)
    running.check_access(host, token, open_to_all)
    running.check_packages()
    limits = dataclasses.replace(
        Limits(),
        body_bytes=max_megabytes << 20,
        held_bytes=max(Limits.held_bytes, max_megabytes << 20),
        pixels=max_pixels,
        pictures=max_pictures,
        waiting=max(Limits.waiting, max_pictures),
    )
    with startup.quietly():
        fix_threads(threads, "ops", required=True)
    try:
        running.serve(
            set,
            host=host,
            port=port,
            token=token,
            open_to_all=open_to_all,
            read_only=read_only,
            batch=batch,
            limits=limits,
            ready=lambda address: shared.console.print(
                f"serving {set} at {address}", soft_wrap=True, markup=False
            ),
        )
    except KeyboardInterrupt as stop:
        shared.console.print("the service has ended")
        raise typer.Exit(signals.exit_code(stop)) from None


def _token(file: Path | None) -> str | None:
    token = os.environ.get(_TOKEN) or None
    if file is None:
        return token
    if token is not None:
        raise ArgumentError("token_file", f"must not be given beside {_TOKEN}", file)
    return file.read_text(encoding="utf-8").strip()
