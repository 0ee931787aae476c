"""A report of findings: written once, then printed, drawn as a page of HTML, or put into Markdown.

It opens with the answer, a claim and its number for each finding; the details lie below, folded
away on the page until the reader opens them.
"""
import textwrap
from html import escape

from lib import matrices
from lib.charts import on_one_scale, style
from lib.terminal import COLUMNS, pad, width


class Report:
    """What is to be told, in order: of paragraphs, tables and charts, each finding under its claim.

    title       of all of it
    findings    [n, claim, number, parts], of which the first, with none of them, stands before them all
    """

    def __init__(self, title):
        self.title, self.findings = title, [[0, "", "", []]]

    # -- writing

    def finding(self, n, claim, number):
        """Begin finding n: its claim in a sentence, and the number that it stands on."""
        self.findings.append([n, claim, number, []])

    def say(self, text):
        self.findings[-1][3].append(("say", text))

    def table(self, heads, rows):
        """Rows of texts; the first column is to the left, numbers to the right."""
        self.findings[-1][3].append(("table", heads, rows))

    def charts(self, *charts):
        """One figure: its charts side by side, on one scale where they show the same."""
        self.findings[-1][3].append(("charts", on_one_scale(charts)))

    # -- in a terminal

    def text(self):
        """At most COLUMNS wide."""
        lines = [self.title, "=" * width(self.title)]
        for part in self.findings[0][3]:
            lines += self._text(part)
        for n, claim, number, _ in self.findings[1:]:
            lines += ["", *wrapped(claim, f"{n:>2}  "), *wrapped(number, "    ")]
        for n, claim, _, parts in self.findings[1:]:
            title = wrapped(claim, f"{n}. ")
            lines += ["", "", *title, "-" * max(map(width, title))]
            for part in parts:
                lines += self._text(part)
        return "\n".join(lines) + "\n"

    def _text(self, part):
        kind, *what = part
        if kind == "say":
            return ["", *wrapped(*what)]
        if kind == "table":
            heads, rows = what
            columns = [max(map(width, column)) for column in zip(heads, *rows)]
            return [""] + ["  ".join([pad(row[0], columns[0]), *(" " * (n - width(cell)) + cell for cell, n
                                                              in zip(row[1:], columns[1:]))]).rstrip()
                           for row in (heads, *rows)]
        return [line for chart in what[0] for line in ("", *wrapped(chart.title), *chart.text())]

    # -- in Markdown

    def markdown(self):
        lines = [f"# {self.title}"]
        for part in self.findings[0][3]:
            lines += self._markdown(part)
        lines += [""] + [f"{n}. **{claim}**  \n   {number}" for n, claim, number, _ in self.findings[1:]]
        for n, claim, _, parts in self.findings[1:]:
            lines += ["", f"## {n}. {claim}"]
            for part in parts:
                lines += self._markdown(part)
        return "\n".join(lines) + "\n"

    def _markdown(self, part):
        kind, *what = part
        if kind == "say":
            return ["", *wrapped(*what, columns=120)]
        if kind == "table":
            heads, rows = what
            return ["", *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
                          for row in (heads, ["---"] + ["---:"] * (len(heads) - 1), *rows))]
        return [line for chart in what[0] for line in ("", f"*{chart.title}*", "", "```text", *chart.text(), "```")]

    # -- as a page

    def html(self):
        title, first = escape(self.title), "".join(map(self._html, self.findings[0][3]))
        answer, details = [], []
        for n, claim, number, parts in self.findings[1:]:
            answer.append(f'<li value="{n}"><a href="#{n}">{inline(claim)}</a> '
                          f'<span class="number">{inline(number)}</span></li>')
            details.append(f'<details><summary>{n}. {inline(claim)}</summary>'
                           f'<div id="{n}">{"".join(map(self._html, parts))}</div></details>')     # a link opens it
        return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
                '<meta name="viewport" content="width=device-width, initial-scale=1">'
                f'<title>{title}</title><style>{style()}{matrices.part("report.css")}</style></head>'
                f'<body><main><h1>{title}</h1>{first}<ol class="answer">{"".join(answer)}</ol>'
                f'<h2>What each stands on</h2>{"".join(details)}</main>'
                f'<script>\n{matrices.part("report.js")}</script></body></html>\n')

    def _html(self, part):
        kind, *what = part
        if kind == "say":
            return f"<p>{inline(*what)}</p>"
        if kind == "table":
            heads, rows = what
            cells = ["".join(f"<th>{escape(cell)}</th>" if cell else "<td></td>" for cell in heads),
                     *("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)]
            return ('<div class="wide" tabindex="0" role="group" aria-label="A table">'
                    f'<table>{"".join(f"<tr>{row}</tr>" for row in cells)}</table></div>')
        return f'<div class="charts">{"".join(chart.svg() for chart in what[0])}</div>'


def inline(text):
    """Escaped, and a number is not parted from its spread."""
    return escape(text).replace(" ± ", "\u00a0±\u00a0")


def wrapped(text, before="", columns=COLUMNS):
    """Lines of at most `columns`, the first after `before`, the others as far to the right."""
    return textwrap.fill(text, columns, initial_indent=before, subsequent_indent=" " * len(before),
                         break_on_hyphens=False).split("\n")


# ---- words ---------------------------------------------------------------------------------------

def in_seeds(flags):
    """(seeds,) bool -> 'in all 3 seeds', 'in 2 of 3 seeds', 'in none of 3 seeds'; of one, 'in the one run', 'in none'."""
    yes, n = sum(map(bool, flags)), len(flags)
    if n == 1:
        return "in the one run" if yes else "in none"
    if yes == n:
        return "in both seeds" if n == 2 else f"in all {n} seeds"
    return f"in {yes or 'none'} of {n} seeds"


def verdict(flags):
    """What becomes of a claim that these seeds bear out, or do not."""
    yes, n = sum(map(bool, flags)), len(flags)
    if n == 1:
        return "It holds" if yes else "It does not hold"
    if yes == n:
        return "It holds " + in_seeds(flags)
    return "It does not hold in any seed" if yes == 0 else "It does not hold in every seed, only " + in_seeds(flags)


def agrees(flags):
    """What these seeds say about a published claim."""
    if all(flags):
        return "agrees with"
    return "neither confirms nor contradicts" if any(flags) else "contradicts"
