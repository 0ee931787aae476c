"""The tables of the findings, from the numbers: rows of cells, the first of them the head."""
import numpy as np

from lib.report import said

COLUMNS = {"pieces": "pieces, 600 steps", "pieces, long": "pieces, 3,000",
           "characters": "characters, 600", "characters, long": "characters, 3,000"}
TOTAL, SHARING = "tied minus untied", "sharing numbers (permuted minus untied)"
SAME, WITH_B = "the same token's (tied minus permuted)", ", b given to both"
FREQUENCY = "frequency: what b takes off the first row"


def minus(a, b):
    """The losses of two kinds -> their differences, for the seeds that both have."""
    n = min(len(a["loss"]), len(b["loss"]))
    return np.array(a["loss"][:n]) - b["loss"][:n]


def terms(kinds):
    """One section, name of kind -> {"loss": ...} -> the ledger's rows, name -> (seeds,).

    Rows whose kinds were not trained are left out.
    """
    pairs = {TOTAL: ("tied", "untied"), SHARING: ("permuted", "untied"), SAME: ("tied", "permuted")}
    pairs |= {name + WITH_B: (f"{a}, b", f"{b}, b") for name, (a, b) in pairs.items()}
    found = {name: minus(kinds[a], kinds[b]) for name, (a, b) in pairs.items()
             if a in kinds and b in kinds}
    return found | {FREQUENCY: found[TOTAL] - found[TOTAL + WITH_B]}


def ledger(numbers, names=(TOTAL, SHARING, SAME, TOTAL + WITH_B, FREQUENCY)):
    columns = {title: terms(numbers["ledger"][name]) for name, title in COLUMNS.items()
               if name in numbers["ledger"]}
    return [["nats a token", *columns]] + [
        [name, *(said(found[name], "+.3f") if name in found else "" for found in columns.values())]
        for name in names]


def with_b(numbers):
    """The ledger with b, and what b takes off each kind."""
    lines = ledger(numbers, (SHARING + WITH_B, SAME + WITH_B))
    sections = [numbers["ledger"][name] for name in COLUMNS if name in numbers["ledger"]]
    for name in ("tied", "untied", "permuted"):
        lines.append([f"{name}: with b, minus without",
                      *(said(minus(kinds[f"{name}, b"], kinds[name]), "+.3f")
                        for kinds in sections)])
    return lines


def losses(numbers):
    """The six kinds: losses and rates. * marks a rate at the end of those that were searched."""
    kinds = numbers["ledger"]["pieces"]
    lines = [["", *(cell for name in COLUMNS.values() for cell in (name, "rate"))]]
    for name in kinds:
        line = [name]
        for section in COLUMNS:
            rates = numbers["rates"][section][name]
            rate, tried = f"{rates['rate']:.3g}", rates["tried"].get(f"{rates['ratio']:g}")
            end = tried and rate in (min(tried, key=float), max(tried, key=float))
            line += [said(numbers["ledger"][section][name]["loss"], ".3f"),
                     f"{float(rate):.2g} × {rates['ratio']:g}{' *' * bool(end)}"]
        lines.append(line)
    return lines


def rows(numbers):
    """Each single row beside tied and untied models of the same text and as many steps."""
    pieces = numbers["ledger"]["pieces"]
    return [["600 steps, 1,024 pieces", "loss", "minus tied", "minus untied", "seeds"]] + [
        [name, said(one["loss"], ".3f"), said(minus(one, pieces["tied"]), "+.3f"),
         said(minus(one, pieces["untied"]), "+.3f"), str(len(one["loss"]))]
        for name, one in numbers["rows"].items()]


def no_block(numbers):
    found = numbers["no block"]["text"]
    lines = [["no block", "loss", "minus untied"],
             ["counts of pairs", f"{found['bigram']:.3f}", ""]]
    for name, one in found["kinds"].items():
        difference = said(minus(one, found["kinds"]["untied"]), "+.3f") if name != "untied" else ""
        lines.append([name, said(one["loss"], ".3f"), difference])
    return lines


# ---- what models hold: of the committed numbers, or of one model that was not trained here -------

def column(lists, k):
    return [one[k] for one in lists]


def ladder(numbers):
    found = numbers["ladder"]
    read = [name for name in found if name not in ("rungs", "silenced", "counts")]
    lines = [["the stream after", *(f"{name}: token read ahead" for name in read),
              *(f"{name}: loss" for name in read)]]
    for k, rung in enumerate(found["rungs"]):
        lines.append([rung, *(said(column(found[name]["read ahead"], k), ".0%") for name in read),
                      *(said(column(found[name]["loss"], k)) for name in read)])
    return lines


def silenced(numbers):
    found = numbers["ladder"]
    lines = [["silenced: added loss, nats", *found["silenced"]]]
    for k, rung in enumerate(found["rungs"][1:]):
        lines.append([rung, *(said(column(costs, k)) for costs in found["silenced"].values())])
    return lines


LIKELIHOOD = {"slope 1": ("log frequency explained by E·h̄, slope 1", ".0%"),
              "free slope": ("the same, slope fitted", ".0%"),
              "random": ("a random direction, slope fitted", ".0%"),
              "surgery": ("surgery along h̄: slope", ".2f"),
              "expected": ("expected slope, Σ p(1-p)a / Σ p", ".2f"),
              "surgery, random": ("surgery, random direction: slope", ".2f"),
              "spread of a": ("spread of a = h·h̄ / h̄·h̄", ".2f")}


def likelihood(numbers):
    found = numbers["likelihood"]
    return [["", *found]] + [[title, *(said(one[name], form) for one in found.values())]
                             for name, (title, form) in LIKELIHOOD.items()]


def length(numbers):
    found = {name: one for name, one in numbers["length"].items() if name != "lengthened"}
    return [["signed rank correlation of a row's length with", *found]] + [
        [name, *(said(one[name], "+.2f") for one in found.values())]
        for name in next(iter(found.values()))]


def lengthened(numbers):
    found = numbers["length"]["lengthened"]
    titles = {"doubled": "its input row doubled", "random": "moved as far in a random direction"}
    return [["added loss where the token is read, nats", *found]] + [
        [title, *(said(one[name], "+.3f") for one in found.values())]
        for name, title in titles.items()]


def shares(numbers):
    found = numbers["movers"]["shares"]
    lines = [["E's displacement in 600 steps", *(f"{name}: lookup's share" for name in found),
              *(f"{name}: lookup, logits; whole" for name in found)]]
    for name in ("whole", "shift out", "frequency out"):
        mean = [{key: np.mean(one[f"{name}, {key}"]) for key in ("lookup", "logits", "way")}
                for one in found.values()]
        lengths = [f"{one['lookup']:.2f} and {one['logits']:.2f} of {one['way']:.0f}"
                   for one in mean]
        lines.append([name, *(said(one[f"{name}, share"], ".0%") for one in found.values()),
                      *lengths])
    return lines


def alignment(numbers):
    found = numbers["movers"]["alignment"]
    return [["rank correlation of rows' cosines, log frequency out", *found]] + [
        [name, *(said(one[name]) for one in found.values())] for name in next(iter(found.values()))]


def contributions(numbers):
    found = numbers["contributions"]
    return [["both contributions to dE", ""]] + [[name, f"{value:.4g}"]
                                                 for name, value in found.items()]


# ---- what counts say -----------------------------------------------------------------------------

def counts(numbers):
    texts = [one["counts"] for one in numbers["when"].values()]
    names = [f"{name}, V = {one['counts']['V']}" for name, one in numbers["when"].items()]
    lines = [["", *names, *(f"{name}, shuffled" for name in numbers["when"])]]

    def row(title, cell):
        cells = [cell(one[which]) for which in ("text", "shuffled") for one in texts]
        lines.append([title, *cells])

    def corrected(one):         # not where the halves do not even agree with each other
        likeness = one["likeness"]
        return said(likeness["corrected"]) if likeness["successors, halves"] > 0.1 else "-"

    row("like successors, like predecessors: correlation",
        lambda one: said(one["likeness"]["raw"]))
    row("the same, corrected by the halves' reliability", corrected)
    return lines


def by_frequency(numbers):
    texts = numbers["when"]
    lines = [["the token read is among the", *(f"{name}: tied minus untied" for name in texts),
              *(f"{name}: permuted minus untied" for name in texts)]]
    fifths = ("rarest fifth of the text", "second", "third", "fourth", "commonest fifth")
    for i, fifth in enumerate(fifths):
        losses = [{kind: np.array(column(lists, i)) for kind, lists in one["by frequency"].items()}
                  for one in texts.values()]
        found = [one[kind] - one["untied"] for kind in ("tied", "permuted") for one in losses]
        lines.append([fifth, *(said(differences, "+.3f") for differences in found)])
    return lines


TABLES = {table.__name__: table for table in (
    ledger, with_b, losses, rows, no_block, ladder, silenced, likelihood, length,
    lengthened, shares, alignment, contributions, counts, by_frequency)}
