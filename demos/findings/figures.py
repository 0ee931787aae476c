"""The figures beside README.md, as SVG."""
import numpy as np

from findings.charts import dots, lines
from findings.tables import COLUMNS, TOTAL, WITH_B, terms


def figures(numbers):
    """Name of file -> SVG."""
    return {"ledger.svg": ledger(numbers), "ladder.svg": ladder(numbers),
            "contributions.svg": contributions(numbers)}


def ledger(numbers):
    groups = {title: {short(label): (found, "sum" if label.startswith(TOTAL) else "grey")
                      for label, found in terms(numbers["ledger"][name]).items()}
              for name, title in COLUMNS.items()}
    seeds = np.concatenate([found for rows in groups.values() for found, _ in rows.values()])
    ticks = np.arange(np.floor(seeds.min() * 10), np.ceil(seeds.max() * 10) + 1) / 10
    return dots("What a tie costs, and to whom",
                "a circle is one seed, a bar their mean; b is log unigram probability, fixed",
                "loss, nats a token: to the right it costs, to the left it pays", groups, ticks)


def short(label):
    """A row's name without what explains it."""
    return label.partition(" (")[0].removesuffix(WITH_B).partition(":")[0] + (
        ", b given" if label.endswith(WITH_B) else "")


def ladder(numbers):
    found = numbers["ladder"]
    names = dict(enumerate(found["rungs"]))
    looks = {"tied": ("tied, read with E", "sum", ""),
             "untied": ("untied, read with head", "logits", ""),
             "untied, read with E": ("untied, read with E", "lookup", "6 3")}
    series = {label: (names, 100 * np.array(found[name]["read ahead"]), colour, dashes)
              for name, (label, colour, dashes) in looks.items()}
    return lines("Where the token read is likelier than the token to come",
                 "the residual stream after", "% of positions", series, names,
                 {share: str(share) for share in range(0, 101, 20)})


def contributions(numbers):
    steps, ratio = np.log10(numbers["movers"]["step"]), numbers["movers"]["ratio"]
    looks = {"tied": ("sum", ""), "untied": ("grey", ""), "tied, b": ("sum", "6 3"),
             "untied, b": ("grey", "6 3")}
    series = {name: (steps, np.log10(ratio[name]), *look) for name, look in looks.items()}
    y_ticks = {np.log10(y): f"{y:g}" for y in (0.1, 0.2, 0.5, 1, 2)}
    x_ticks = {np.log10(x): f"{x:g}" for x in (1, 10, 100, 600)}
    return lines("The lookup's gradient, relative to the logits'", "step",
                 "|lookup's part of dE| / |logits' part|", series, x_ticks, y_ticks,
                 (np.log10(60), "warm-up ends"))
