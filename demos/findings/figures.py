"""The figures beside README.md, as SVG."""
import numpy as np

from findings.tables import COLUMNS, TOTAL, WITH_B, terms
from lib.charts import dots, lines


def figures(numbers):
    """Name of file -> SVG."""
    return {"ledger.svg": ledger(numbers), "ladder.svg": ladder(numbers),
            "contributions.svg": contributions(numbers), "by_frequency.svg": by_frequency(numbers)}


def ledger(numbers):
    groups = {}
    for name, title in COLUMNS.items():
        if name in numbers["ledger"]:
            groups[title] = {short(label): (found, "sum" if label.startswith(TOTAL) else "grey")
                             for label, found in terms(numbers["ledger"][name]).items()}
    return dots("What a tie costs, and to whom",
                "loss, nats a token: to the right it costs, to the left it pays", groups,
                "a circle is one seed, a bar their mean; b is log unigram probability, fixed")


def short(label):
    """A row's name without what explains it."""
    return label.partition(" (")[0].removesuffix(WITH_B).partition(":")[0] + (
        ", b given" if label.endswith(WITH_B) else "")


def ladder(numbers):
    found = numbers["ladder"]
    at = range(len(found["rungs"]))

    def share(name):
        return 100 * np.array(found[name]["read ahead"])

    return lines("Where the token read is likelier than the token to come",
                 "the residual stream after", "% of positions",
                 {"tied, read with E": (at, share("tied"), "sum", ""),
                  "untied, read with head": (at, share("untied"), "logits", ""),
                  "untied, read with E": (at, share("untied, read with E"), "lookup", "6 3")},
                 names=found["rungs"], low=0, high=100)


def contributions(numbers):
    steps, ratio = numbers["movers"]["step"], numbers["movers"]["ratio"]
    looks = {"tied": ("sum", ""), "untied": ("grey", ""), "tied, b": ("sum", "6 3"),
             "untied, b": ("grey", "6 3")}
    return lines("The lookup's gradient, relative to the logits'", "step",
                 "|lookup's part of dE| / |logits' part|",
                 {name: (steps, ratio[name], *look) for name, look in looks.items()},
                 log_x=True, log_y=True, mark=(steps[-1] / 10, "warm-up ends"))


def by_frequency(numbers):
    series = {}
    for name, dashes in zip(numbers["when"], ("", "6 3")):
        one = numbers["when"][name]["by frequency"]
        series[name] = range(5), np.subtract(one["tied"], one["untied"]), "sum", dashes
    return lines("Tied minus untied, by the frequency of the token read",
                 "fifths of the text, by the token read", "loss, nats a token", series,
                 names=("rarest", "2nd", "3rd", "4th", "commonest"))
