# SPDX-License-Identifier: MIT
"""npm packages of made-up icons: their archives, and a server from which npm fetches them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import io
import json
import tarfile
import threading
from pathlib import Path

from fslcore.data.datasets.emoji import packages

# Emoji by name: code point, category, colour. The last two are drawn alike by everybody.
EMOJI = {
    "cat": ("1f408", "Animals & Nature", "black"),
    "pear": ("1f350", "Food & Drink", "green"),
    "red heart": ("2764", "Smileys & Emotion", "red"),
    "ball": ("26bd", "Activities", "blue"),
    "globe": ("1f310", "Objects", "blue"),
}


def _archive(path: Path, content: dict[str, object]) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for name, value in {"package.json": {"name": "icons", "version": "1.0.0"}, **content}.items():
            data = json.dumps(value).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _icons(style: int) -> dict[str, object]:
    """The icons of a designer: bars whose place says which emoji it is, and whose width who has drawn it."""
    icons = {}
    for at, (name, (_, _, colour)) in enumerate(EMOJI.items()):
        place = 3 * min(at, 3)
        body = f'<rect x="{place}" y="1" width="{2 + style / 4}" height="{8 + style}" fill="{colour}"/>'
        icons[name.replace(" ", "-")] = {"body": body}
    return {"prefix": "made-up", "width": 16, "height": 16, "icons": icons}


def write(folder: Path, monkeypatch) -> None:
    """Writes the archives of three designers, of whom the last has no code points, and makes them known."""
    folder.mkdir(parents=True)
    listed = {chr(int(code, 16)): {"name": name, "group": group} for name, (code, group, _) in EMOJI.items()}
    listed["\N{REGIONAL INDICATOR SYMBOL LETTER C}"] = {"name": "flag", "group": "Flags"}
    names = dataclasses.replace(packages.NAMES, name="made-up-names", version="1.0.0")
    digest = _archive(folder / names.archive, {"data-by-emoji.json": listed})
    monkeypatch.setattr(packages, "NAMES", dataclasses.replace(names, sha256=digest))
    styles = {}
    for number, style in enumerate(("plain", "wide", "nameless")):
        package = packages.Package(
            f"@made-up/{style}", "1.0.0", "", "MIT", f"{style.title()} Icons, A. Nybody"
        )
        codes = (
            {}
            if style == "nameless"
            else {code: name.replace(" ", "-") for name, (code, _, _) in EMOJI.items()}
        )
        content = {"icons.json": _icons(number), "chars.json": codes}
        styles[style] = dataclasses.replace(package, sha256=_archive(folder / package.archive, content))
    monkeypatch.setattr(packages, "STYLES", styles)


@contextlib.contextmanager
def served(folder: Path):
    """A registry on 127.0.0.1 with the archives of a folder; yields its address and the paths asked for."""
    asked: list[str] = []
    known = {each.name: each for each in (packages.NAMES, *packages.STYLES.values())}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            name = self.path.lstrip("/").replace("%2f", "/").replace("%2F", "/")
            address = f"http://127.0.0.1:{self.server.server_address[1]}"
            if name.startswith("archives/"):
                data = (folder / name.removeprefix("archives/")).read_bytes()
            elif name in known:
                package = known[name]
                dist = {"tarball": f"{address}/archives/{package.archive}"}
                version = {"name": name, "version": package.version, "dist": dist}
                document = {
                    "name": name,
                    "dist-tags": {"latest": package.version},
                    "versions": {package.version: version},
                }
                data = json.dumps(document).encode()
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", asked
    finally:
        server.shutdown()
        server.server_close()
