"""Reads a page as a browser does."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Collects what a page asks for, the text that it shows, and whether its tags close."""

    EMPTY = frozenset({"meta", "link", "img", "br", "input", "line", "circle", "polyline"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.pictures: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action"):
                self.addresses.append(value or "")
            assert not name.startswith("on")
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def assert_self_contained(page: str) -> Reader:
    """Checks that a page asks for nothing from outside."""
    reader = Reader(page)
    assert all(address.startswith("data:") for address in reader.addresses)
    assert not {"script", "iframe", "object", "embed"} & set(reader.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert "http" not in page
    return reader
