"""The parts of a page, as a browser reads them."""

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "input", "link", "img", "wbr"}


class Outline(HTMLParser):
    """Collects elements and attributes, and notes what is left open."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.open, self.text = [], [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parts_of(page):
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", page)


def assert_self_contained(page):
    """Every element is closed, nothing runs, and nothing is requested from outside."""
    outline = Outline(page)
    assert outline.open == []
    links = [value for name, value in outline.attributes if name in {"href", "src", "srcset"}]
    assert links
    assert all(link.startswith("data:image/jpeg;base64,") for link in links)
    assert not re.search(r"https?:|url\(|@import", page)
    assert not {"script", "link", "iframe", "object", "form"} & set(outline.tags)
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    assert "script-src" not in rules
