"""HTML pages, read without a browser."""

from html.parser import HTMLParser

_VOID = {"meta", "img", "br", "link", "input", "hr", "base"}


class Reader(HTMLParser):
    """Checks that elements are closed in order, and collects what a page leads to and shows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.targets: list[str] = []
        self.thumbnails: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        known = dict(attrs)
        assert not [name for name in known if name.startswith("on")]
        self.targets += [known[name] or "" for name in ("src", "href", "action") if name in known]
        if tag == "img" and (known["src"] or "").startswith("data:image/png;base64,"):
            self.thumbnails.append(known["alt"] or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)
