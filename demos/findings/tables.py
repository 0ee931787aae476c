"""The tables of the findings, from the numbers: rows of cells, the first of them the head."""
import numpy as np

from findings.report import minus, said

COLUMNS = {"pieces": "pieces, 600 steps", "pieces, long": "pieces, 3,000",
           "characters": "characters, 600", "characters, long": "characters, 3,000"}
TOTAL, SHARING = "tied minus untied", "sharing parameters (permuted minus untied)"
SAME, WITH_B = "one row for both roles (tied minus permuted)", ", b given to both"
FREQUENCY = "frequency: what b takes off the first row"


def difference(a, b, what="loss"):
    """Two kinds -> the differences of their losses, for the seeds that both have."""
    return minus(a[what], b[what])


def terms(kinds):
    """One section, name of kind -> {"loss": ...} -> the ledger's rows, name -> (seeds,)."""
    pairs = {TOTAL: ("tied", "untied"), SHARING: ("permuted", "untied"), SAME: ("tied", "permuted")}
    found = {name: difference(kinds[a], kinds[b]) for name, (a, b) in pairs.items()}
    found |= {name + WITH_B: difference(kinds[f"{a}, b"], kinds[f"{b}, b"])
              for name, (a, b) in pairs.items()}
    return found | {FREQUENCY: found[TOTAL] - found[TOTAL + WITH_B]}


def steps(numbers):
    """The steps of a short run: fewer than 600 in --quick."""
    return f"{numbers['movers']['step'][-1]:.0f} steps"


def columns(numbers):
    """Title -> kinds, of the ledger's sections that were trained."""
    return {title.replace("600 steps", steps(numbers)): numbers["ledger"][name]
            for name, title in COLUMNS.items() if name in numbers["ledger"]}


def ledger(numbers, names=(TOTAL, SHARING, SAME, TOTAL + WITH_B, FREQUENCY)):
    found = {title: terms(kinds) for title, kinds in columns(numbers).items()}
    return [["nats a token", *found]] + [
        [name, *(said(one[name], "+.3f") for one in found.values())] for name in names]


def with_b(numbers):
    """The ledger with b, and what b takes off each kind."""
    return ledger(numbers, (SHARING + WITH_B, SAME + WITH_B)) + [
        [f"{name}: with b, minus without",
         *(said(difference(kinds[f"{name}, b"], kinds[name]), "+.3f")
           for kinds in columns(numbers).values())]
        for name in ("tied", "untied", "permuted")]


def losses(numbers):
    """The six kinds: losses and rates. * marks a rate at the end of those that were searched."""
    sections = [name for name in COLUMNS if name in numbers["ledger"]]
    lines = [["", *(cell for title in columns(numbers) for cell in (title, "rate"))]]
    for kind in numbers["ledger"]["pieces"]:
        line = [kind]
        for name in sections:
            chosen = numbers["rates"][name][kind]
            rate, tried = f"{chosen['rate']:.3g}", chosen["tried"].get(f"{chosen['ratio']:g}")
            end = tried and rate in (min(tried, key=float), max(tried, key=float))
            line += [said(numbers["ledger"][name][kind]["loss"], ".3f"),
                     f"{float(rate):.2g} × {chosen['ratio']:g}{' *' * bool(end)}"]
        lines.append(line)
    return lines


def ratios(numbers):
    """Pieces, seed 0: the least loss of the rates tried, by E's rate relative to the blocks'."""
    tried = {kind: one["tried"] for kind, one in numbers["rates"]["pieces"].items()}
    return [["pieces, 600 steps, seed 0", *(f"E's rate × {ratio}" for ratio in tried["tied"])]] + [
        [kind, *(f"{min(losses.values()):.3f}" for losses in one.values())]
        for kind, one in tried.items()]


def fit(numbers):
    """Tied minus untied, on text held out and on as much that was trained on."""
    found = {title: kinds for title, kinds in columns(numbers).items() if "fit" in kinds["tied"]}
    return [["tied minus untied", *found]] + [
        [title, *(said(difference(kinds["tied"], kinds["untied"], what), "+.3f")
                  for kinds in found.values())]
        for what, title in (("loss", "text held out"), ("fit", "text trained on"))]


def rows(numbers):
    """Each single row beside tied and untied models of the same text and as many steps."""
    pieces = numbers["ledger"]["pieces"]
    return [["600 steps, 1,024 pieces", "loss", "minus tied", "minus untied", "seeds"]] + [
        [name, said(one["loss"], ".3f"), said(difference(one, pieces["tied"]), "+.3f"),
         said(difference(one, pieces["untied"]), "+.3f"), str(len(one["loss"]))]
        for name, one in numbers["rows"].items()]


def no_block(numbers):
    found = numbers["no block"]["text"]
    return [["no block", "loss", "minus untied"],
            ["counts of pairs", f"{found['bigram']:.3f}", ""]] + [
        [name, said(one["loss"], ".3f"),
         said(difference(one, found["kinds"]["untied"]), "+.3f") if name != "untied" else ""]
        for name, one in found["kinds"].items()]


# ---- what models hold: of the committed numbers, or of one model that was not trained here -------

def grid(corner, found, titles, form=".2f"):
    """A column for each of `found`, a row for each of `titles`: key -> title or (title, format)."""
    lines = [[corner, *found]]
    for key, title in titles.items():
        title, own_form = title if isinstance(title, tuple) else (title, form)
        lines.append([title, *(said(one[key], own_form) for one in found.values())])
    return lines


def same(found):
    """The keys of the first of `found`, as their own titles."""
    return {key: key for key in next(iter(found.values()))}


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
    return [["silenced: added loss, nats", *found["silenced"]]] + [
        [rung, *(said(column(costs, k)) for costs in found["silenced"].values())]
        for k, rung in enumerate(found["rungs"][1:])]


def likelihood(numbers):
    return grid("", numbers["likelihood"], {
        "slope 1": ("log frequency explained by E·h̄, slope 1", ".0%"),
        "free slope": ("the same, slope fitted", ".0%"),
        "random": ("a random direction, slope fitted", ".0%"),
        "surgery": "surgery along h̄: slope",
        "expected": "expected slope, Σ p(1-p)a / Σ p",
        "surgery, random": "surgery, random direction: slope"})


def length(numbers):
    found = {name: one for name, one in numbers["length"].items() if name != "lengthened"}
    return grid("signed rank correlation of a row's length with", found, same(found), "+.2f")


def lengthened(numbers):
    return grid("added loss where the token is read, nats", numbers["length"]["lengthened"], {
        "doubled": "its input row doubled", "random": "moved as far in a random direction"}, "+.3f")


def shares(numbers):
    found = numbers["movers"]["shares"]
    lines = [[f"E's displacement in {steps(numbers)}",
              *(f"{name}: lookup's share" for name in found),
              *(f"{name}: lookup, logits; whole" for name in found)]]
    for name in ("whole", "shift out", "frequency out"):
        lengths = [[np.mean(one[f"{name}, {key}"]) for key in ("lookup", "logits", "way")]
                   for one in found.values()]
        lines.append([name, *(said(one[f"{name}, share"], ".0%") for one in found.values()),
                      *(f"{a:.2f} and {b:.2f} of {way:.0f}" for a, b, way in lengths)])
    return lines


def alignment(numbers):
    found = numbers["movers"]["alignment"]
    return grid("rank correlation of rows' cosines, log frequency out", found, same(found))


def contributions(numbers):
    titles = {"lookup": "norm of the lookup's", "logits": "norm of the logits'",
              "rows looked up": "share of rows in the lookup's",
              "rows of logits": "share of rows in the logits'", "cosine": "cosine of the two"}
    return [["both contributions to dE", ""]] + [
        [title, f"{numbers['contributions'][name]:.4g}"] for name, title in titles.items()]


# ---- what counts say -----------------------------------------------------------------------------

def counts(numbers):
    found = {}
    for which, title in (("text", "{}, V = {}"), ("shuffled", "{}, shuffled")):
        for name, one in numbers["when"].items():
            found[title.format(name, one["V"])] = one["counts"][which]
    return [["", *found],
            ["like successors, like predecessors: correlation",
             *(said(one["likeness"]["raw"]) for one in found.values())],
            ["the same, corrected by the halves' reliability",
             *(said(one["likeness"]["corrected"]) for one in found.values())]]


def by_frequency(numbers):
    texts = numbers["when"]
    lines = [["the token read is among the", *(f"{name}: tied minus untied" for name in texts),
              *(f"{name}: permuted minus untied" for name in texts)]]
    for i, fifth in enumerate(("rarest fifth of the text", "second", "third", "fourth",
                               "commonest fifth")):
        losses = [{kind: np.array(column(lists, i)) for kind, lists in one["by frequency"].items()}
                  for one in texts.values()]
        found = [one[kind] - one["untied"] for kind in ("tied", "permuted") for one in losses]
        lines.append([fifth, *(said(differences, "+.3f") for differences in found)])
    return lines


# Part of the numbers -> the tables of it.
PARTS = {"ledger": (ledger, with_b, fit, ratios, losses), "rows": (rows,), "no block": (no_block,),
         "ladder": (ladder, silenced), "likelihood": (likelihood,), "length": (length, lengthened),
         "movers": (shares, alignment), "contributions": (contributions,),
         "when": (counts, by_frequency)}
TABLES = {table.__name__: table for tables in PARTS.values() for table in tables}
