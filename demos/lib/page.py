"""One HTML page in one file: what lib/pages holds as files of their own is put into it."""
import json
from html import escape

from lib.matrices import part


def document(title, body, styles, scripts):
    """A page with this <main>; styles and scripts are names of files in lib/pages, in their order."""
    css, js = ("\n".join(map(part, names)) for names in (styles, scripts))
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{escape(title)}</title>\n<style>\n{css}</style></head>\n'
            f'<body><main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n<script>\n{js}</script></body></html>\n')


def data(name, value):
    """Plain data for the page's scripts, as an element with this id; not a number (nan) raises ValueError."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
