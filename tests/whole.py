"""HTML read strictly: every tag is closed, in order, so that what a test looks for is what a browser sees."""

from html.parser import HTMLParser

VOID = {"img", "br", "meta", "hr", "link", "input"}


class Whole(HTMLParser):
    """Raises where a tag is closed that was not open, and keeps what a test wants to know."""

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.ids, self.words = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)

    def find(self, *tags):
        return [attrs for tag, attrs in self.seen if tag in tags]
