"""A small hub on this machine: what huggingface_hub asks of one, for models alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c0ffee" * 6 + "c0de"


@dataclass
class FakeHub:
    """What it holds.

    Attributes:
        models: Files by path, of each "owner/name".
        spoilt: How a model's weights are sent: "cut" off, or "changed".
        gated: Models whose owner wants to be asked.
        asked: The paths of files that were sent.
        address: Of the server.
    """

    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    spoilt: dict[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    address: str = ""

    def created(self, name: str) -> dict[str, str]:
        self.models.setdefault(name, {})
        return {"url": f"{self.address}/{name}", "name": name}

    def committed(self, name: str, lines: bytes) -> dict[str, Any]:
        for line in lines.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.models[name][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.models[name][value["path"]] = self.blobs[value["oid"]]
        return {"commitUrl": f"{self.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT}

    def tree(self, name: str) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
            | ({"lfs": lfs(content)} if is_large(path) else {})
            for path, content in self.models[name].items()
        ]


def is_large(path: str) -> bool:
    return path.endswith(".safetensors")


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs(content: bytes) -> dict[str, Any]:
    return {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serves on a free port of 127.0.0.1 within the with block."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(
            self, content: object, status: int = 200, headers: dict[str, str] | None = None
        ) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if "Content-Length" not in (headers or {}):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def refused(self, code: str, status: int) -> None:
            self.answer({"error": code}, status, {"X-Error-Code": code, "X-Error-Message": code})

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found = re.fullmatch(r"/(?:api/models/)?([\w.-]+/[\w.-]+)(/.*)?", path)
            name, rest = (found[1], found[2] or "") if found else ("", "")
            if name not in hub.models:
                self.refused("RepoNotFound", 404)
            elif name in hub.gated:
                self.refused("GatedRepo", 403)
            elif rest.startswith("/tree/"):
                self.answer(hub.tree(name))
            elif rest.startswith("/resolve/"):
                self.send_file(name, rest.split("/", 3)[3])
            else:
                files = [{"rfilename": path} for path in hub.models[name]]
                self.answer({"id": name, "modelId": name, "sha": COMMIT, "siblings": files})

        def send_file(self, name: str, path: str) -> None:
            content = hub.models[name].get(path)
            if content is None:
                self.refused("EntryNotFound", 404)
                return
            etag = lfs(content)["oid"] if is_large(path) else git_hash(content)
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}
            if self.command == "GET":
                hub.asked.append(f"{name}/{path}")
            spoilt = hub.spoilt.get(name, "") if is_large(path) else ""
            if spoilt == "changed":
                content = content[:-1] + bytes([content[-1] ^ 1])
            if spoilt == "cut" and self.command == "GET":
                content = content[:-100]
            elif spoilt == "cut":
                headers["X-Linked-Size"] = str(len(content))
            self.answer(content, headers=headers)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if "Bearer hf_test" not in self.headers.get("Authorization", ""):
                self.refused("Unauthorized", 401)
                return
            found = re.match(r"/(?:api/models/)?([\w.-]+/[\w-]+)", self.path)
            name = found[1] if found else ""
            asked = {} if self.path.endswith("/commit/main") else json.loads(body or b"{}")
            if self.path == "/api/repos/create":
                owner = asked.get("organization") or "me"
                self.answer(hub.created(f"{owner}/{asked['name'].rpartition('/')[2]}"))
            elif "/preupload/" in self.path:
                modes = {True: "lfs", False: "regular"}
                self.answer(
                    {
                        "files": [
                            {
                                "path": file["path"],
                                "uploadMode": modes[is_large(file["path"])],
                                "shouldIgnore": False,
                            }
                            for file in asked["files"]
                        ]
                    }
                )
            elif self.path.endswith("/info/lfs/objects/batch"):
                objects = [
                    wanted
                    | {"actions": {"upload": {"href": f"{hub.address}/upload/{wanted['oid']}"}}}
                    for wanted in asked["objects"]
                ]
                self.answer({"transfer": "basic", "objects": objects})
            elif "/commit/" in self.path:
                self.answer(hub.committed(name, body))
            else:  # whether README.md's fields are well-formed, and the like
                self.answer({"errors": [], "warnings": []})

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            hub.blobs[self.path.rpartition("/")[2]] = content
            self.answer({})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
