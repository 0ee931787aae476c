"""How can one matrix do both jobs, and what does the tie cost? Measured.

    python demos/one_matrix.py                  # about ten minutes
    python demos/one_matrix.py --quick          # what there is to see
    python demos/one_matrix.py --model FOLDER   # GPT-2, or any like it
    python demos/one_matrix.py --full --runs R  # repeats everything: hours
    python demos/one_matrix.py --render         # the committed numbers again

E is V x D; row v is token v's vector. Untied, E is looked up and a second
matrix is the head. "permuted" reads E[pi(id)], pi a random permutation: the
numbers are shared, but not a token's. b is log unigram probability, fixed.
A number is the mean over seeds with its 95% t-interval, and a loss is in nats
a token (natural logarithms). Learning rates are those of the search that is
committed in demos/findings/numbers.json; --full searches them again, and also
trains for 3,000 steps. demos/findings/README.md has the whole account.
"""
import argparse
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from findings import analysis, ledger
from findings.figures import figures
from findings.tables import TABLES
from lib import instruments, terminal
from lib.charts import save
from lib.experiments import Laboratory
from lib.report import render, with_block
from lib.subject import Subject
from minigpt_np.training import parallel
from minigpt_np.training.blas import blas_threads

FINDINGS = Path(__file__).resolve().parent / "findings"
COMMITTED = FINDINGS / "numbers.json"
README = FINDINGS.parents[1] / "README.md"
QUICK = {"width": 16, "block": 16, "steps": 100}
QUICK_SECTIONS = ("pieces", "two blocks")


def main(argv=None):
    args = parse(argv)
    begin = time.monotonic()
    if args.render:
        write(json.loads(COMMITTED.read_text(encoding="utf-8")))
    else:
        numbers = shortened(examine(args) if args.model else measure(args))
        show(numbers)
        if args.json:
            save(args.json, dumped(numbers))
    print(f"{time.monotonic() - begin:.0f} s in all")
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--quick", action="store_true",
                      help="smaller models, two seeds: what there is to see, not what is found")
    what.add_argument("--full", action="store_true",
                      help="search the learning rates again, and train for 3,000 steps, too")
    what.add_argument("--model", metavar="FOLDER",
                      help="look at this model, as GPT.from_pretrained opens it; train nothing")
    what.add_argument("--render", action="store_true",
                      help="write findings/README.md, its figures and README's table again")
    add = parser.add_argument
    add("--text", metavar="FILE",
        help="with --model: a UTF-8 text to look at (default: what the model generates)")
    add("--start", type=int, metavar="ID",
        help="with --model and no --text: the token that generated texts begin with "
             "(default: config.json's bos_token_id)")
    add("--block", type=int, help="with --model: T (default 128, or block_size if that is less)")
    add("--seed", type=int, default=0, help="with --model: of what it generates (default 0)")
    add("--threads", type=int, default=parallel.cores(),
        help="runs trained at the same time (default: one a core)")
    add("--runs", metavar="FOLDER",
        help="keep trained runs here and use those that are there: Ctrl-C loses none")
    add("--json", metavar="FILE", help="write the numbers")
    args = parser.parse_args(argv)
    terminal.check_least(parser, args, block=1, threads=1, seed=0, start=0)
    if args.json and not Path(args.json).absolute().parent.is_dir():
        parser.error(f"--json: {args.json} given, expected a file in a folder that is there")
    if not args.model and (args.text or args.start is not None or args.block):
        parser.error("--text, --start, --block: given without --model, expected with it")
    return args


# ---- measuring -----------------------------------------------------------------------------------

def measure(args):
    """Train what the options ask for; the numbers that `numbers_of` makes of it."""
    rates = {} if args.full else json.loads(COMMITTED.read_text(encoding="utf-8"))["rates"]
    found, sections = {}, {name: one for name, one in ledger.SECTIONS.items()
                           if (name in QUICK_SECTIONS if args.quick else args.full or not one.full)}
    try:
        with Laboratory(args.runs, args.threads) as lab:
            for name, section in sections.items():
                settings = replace(section.settings, **QUICK) if args.quick else section.settings
                seeds = (1, 2) if args.quick else None
                found[name] = ledger.measure(lab, name, found, rates.get(name), seeds, settings)
    except KeyboardInterrupt:
        print(f"stopped; the finished runs are in {args.runs}: the same command goes on with them"
              if args.runs else "stopped; with --runs FOLDER, finished runs are kept",
              file=sys.stderr)
        raise
    with blas_threads(1):
        return numbers_of(lab, found)


def numbers_of(lab, found):
    """Name of section -> what `ledger.measure` returned -> the numbers that tables.py needs."""
    settings = {name: next(iter(kinds.values()))["runs"][0].task.settings
                for name, kinds in found.items()}
    text = {name: lab.text(one) for name, one in settings.items()}
    kept = {name: ledger.losses(one) for name, one in found.items()}
    rates = {name: {kind: {key: one.pop(key) for key in ("rate", "ratio", "tried")}
                    for kind, one in kinds.items()} for name, kinds in kept.items()}
    pieces, block = found["pieces"], settings["pieces"].block
    columns = [name for name in (*ledger.LEDGER, "source code") if name in kept]
    sizes = {name: [pieces[name]["runs"][0].model.params.flat.size] for name in ledger.TWO}
    numbers = {"rates": rates, "parameters": sizes,
               "ledger": {name: kept[name] for name in columns},
               "ladder": analysis.ladder(found["two blocks"], text["pieces"], block),
               "likelihood": analysis.likelihood(pieces | found.get("biases", {}),
                                                  text["pieces"], block),
               "length": analysis.length(pieces, text["pieces"], block),
               "movers": analysis.movers(pieces, found.get("optimizers", {}), text["pieces"]),
               "when": analysis.when(found, {name: text[name] for name in ("pieces", "characters")
                                             if name in found}, block)}
    if "biases" in found:
        numbers["rows"] = kept["biases"] | kept.get("optimizers", {})
    alone = {"text": "no block", "reversible": "no block, reversible"}
    if "no block" in found:
        numbers["no block"] = {
            name: {"bigram": analysis.bigram(text[section]), "kinds": kept[section]}
            for name, section in alone.items() if section in kept}
    return numbers


def examine(args):
    """The same of one model that was not trained here; its numbers have no spread over seeds."""
    subject = Subject(args.model, args.text, args.block, args.start, args.seed)
    terminal.show(subject.about)
    model, ids, targets, counts = subject.model, subject.ids, subject.targets, subject.counts
    log_frequency = {"log frequency": np.log(counts + 1.0)}
    some = instruments.middling(counts, ids, 5)
    with blas_threads(parallel.cores()):
        ladder = {"rungs": instruments.rungs(model.params),
                  "head": listed(instruments.ladder(model, ids, targets)),
                  "silenced": {"model": [instruments.costs_of_silence(model, ids, targets)]}}
        length = {"E": listed(instruments.length_correlations(model.params.E, subject.common,
                                                              log_frequency)),
                  "lengthened": {"model": listed(
                      instruments.lengthened(model, ids, targets, some))}}
        if not model.config.tie_embeddings:
            twin = instruments.read_with(model, model.params.E)
            ladder["E"] = listed(instruments.ladder(twin, ids, targets))
            length["head"] = listed(instruments.length_correlations(
                model.params.head, subject.common, log_frequency))
        direction = instruments.direction(model, ids, targets, counts, subject.common)
        apart = instruments.contributions_of(model, ids, targets)
        return {"ladder": ladder, "length": length, "likelihood": {"model": listed(direction)},
                "contributions": instruments.compare_contributions(*apart)}


def listed(measured):
    return {name: [value] for name, value in measured.items()}


# ---- telling -------------------------------------------------------------------------------------

def show(numbers):
    """Print every table that the numbers are enough for."""
    for table in TABLES.values():
        try:
            rows = table(numbers)
        except KeyError:
            continue
        terminal.show(terminal.table(*rows))


def write(numbers):
    """findings/README.md and its figures, and the block in README.md."""
    for name, svg in figures(numbers).items():
        save(FINDINGS / name, svg)
    text = render((FINDINGS / "template.md").read_text(encoding="utf-8"), numbers, TABLES)
    save(FINDINGS / "README.md", text)
    save(README, with_block(README.read_text(encoding="utf-8"), text))


def shortened(value):
    """As JSON keeps it: arrays as lists, numbers to 4 digits, what is not finite as null."""
    if isinstance(value, dict):
        return {str(key): shortened(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [shortened(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def dumped(numbers):
    """JSON with a line for each entry of the outer two levels, which shows where a change is."""
    groups = []
    for name, those in numbers.items():
        lines = (f"  {json.dumps(key)}: {json.dumps(one)}" for key, one in those.items())
        groups.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{" + ",\n".join(groups) + "}\n"


if __name__ == "__main__":
    terminal.run(main)
