"""What a test can see of a page that a demo writes."""
import html.parser


class Page(html.parser.HTMLParser):
    """Tags open at its end, its text, those of its scripts, its titles and ids. Nothing is loaded from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.scripts, self.titles, self.ids, self.attributes, self.text = [], [], [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "input"):
            self.open.append(tag)
        self.titles += [value for name, value in attrs if name == "title"]
        self.ids += [value for name, value in attrs if name == "id"]
        self.attributes += attrs
        assert all(value.startswith("#") for name, value in attrs if name in ("src", "href"))
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag, attrs):       # <path/>
        self.attributes += attrs

    def handle_endtag(self, tag):
        while self.open[-1] == "li" != tag:         # HTML lets </li> be left out
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += text
        elif "style" not in self.open:
            self.text += text + " "
