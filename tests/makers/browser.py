"""HTML pages in a real browser: what runs, what is requested, and what is shown."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--virtual-time-budget=5000", "--dump-dom",
)  # fmt: skip
# Shows each page in a frame, and then what its scripts, if it has any, have done.
_FRAMES = """<!DOCTYPE html><body>%s<script>
const told = frame => {
  const page = frame.contentDocument, all = [...page.querySelectorAll('*')];
  return {
    name: frame.name, title: page.title, text: page.body.innerText, ran: frame.contentWindow.ran,
    active: all.filter(e => e.matches('script,object,embed,iframe,form,base,link,svg')).length,
    handlers: all.filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length,
    links: all.filter(e => e.href).map(e => e.getAttribute('href')),
    broken: [...page.images].filter(e => !e.naturalWidth).length, images: page.images.length,
    width: getComputedStyle(page.body).maxWidth };
};
onload = () => setTimeout(() => {
  document.body.textContent = JSON.stringify([...document.querySelectorAll('iframe')].map(told));
}, 1000);
</script></body>"""


class PageServer(ThreadingHTTPServer):
    """Serves pages of this process on 127.0.0.1, and records the paths that are requested."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, str] = {}
        self.requested: list[str] = []

    @property
    def port(self) -> int:
        """The port."""
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.server.requested.append(name)
        page = self.server.pages.get(name)
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write((page or "").encode())

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def serving() -> Iterator[PageServer]:
    """Serve pages in a thread while the block lasts."""
    with PageServer() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def opened(pages: Mapping[str, str], server: PageServer, profile: Path) -> dict[str, Any]:
    """Open pages in Chromium, and return what each of them shows and does, by name."""
    frames = "".join(f'<iframe name="{name}" src="/{name}"></iframe>' for name in pages)
    server.pages = {"frames": _FRAMES % frames, **pages}
    command = [str(CHROMIUM), *_OPTIONS, f"--user-data-dir={profile}"]
    address = f"http://127.0.0.1:{server.port}/frames"
    done = subprocess.run([*command, address], capture_output=True, check=True, timeout=120)
    dom = done.stdout.decode()
    found = re.search(r"<body>(\[.*\])</body>", dom, re.DOTALL)
    assert found, dom[:500]
    return {row["name"]: row for row in json.loads(unescape(found[1]))}
