"""Reads an HTML page strictly: every element is closed, nothing comes from elsewhere."""

from html.parser import HTMLParser

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """A page.

    Attributes:
      text: all text outside of pictures.
      tags: names of the elements, as often as they are there.
      ids: all ids.
      links: targets of all references.
    """

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.ids, self.links, self.words = [], [], [], [], []
        self.feed(content)
        self.close()
        assert self.open == [], self.open
        self.text = " ".join(" ".join(self.words).split())
        assert len(self.ids) == len(set(self.ids))
        for link in self.links:
            inside = link.startswith("#") and link[1:] in self.ids
            assert inside or link.startswith("data:image/png;base64,"), link[:80]
        for tag in ("script", "link", "iframe", "object", "embed", "base", "form"):
            assert tag not in self.tags
        assert "@import" not in content and "url(http" not in content

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "src", "xlink:href", "srcset", "action", "data"):
                self.links.append(value)
            elif value and value.startswith("url("):
                self.links.append(value[4:-1])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data):
        if not {"svg", "style"} & set(self.open):
            self.words.append(data)
