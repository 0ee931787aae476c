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
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from findings import analysis, ledger
from findings.figures import figures
from findings.report import as_json, render, rounded, with_block
from findings.runs import Laboratory
from findings.subject import Subject
from findings.tables import PARTS, TABLES
from lib import instruments, terminal
from minigpt_np.files.atomic import write_text
from minigpt_np.parameters import count
from minigpt_np.training import parallel
from minigpt_np.training.blas import blas_threads

FINDINGS = Path(__file__).resolve().parent / "findings"
COMMITTED = FINDINGS / "numbers.json"
README = FINDINGS.parents[1] / "README.md"
QUICK = {"width": 16, "block": 16, "steps": 100}


def main(argv=None):
    args = parse(argv)
    begin = time.monotonic()
    if args.render:
        write(json.loads(COMMITTED.read_text(encoding="utf-8")))
    else:
        numbers = rounded(examine(args.model, args.text) if args.model else measure(args))
        show(numbers)
        if args.out:
            write_text(args.out, as_json(numbers))
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
    parser.add_argument("--text", metavar="FILE", help="with --model: a UTF-8 text to look at "
                        "(default: what the model generates)")
    parser.add_argument("--threads", type=int, default=parallel.cores(),
                        help="runs trained at the same time (default: one per core)")
    parser.add_argument("--runs", metavar="FOLDER", help="keep trained runs here and use those "
                        "that are there: Ctrl-C loses none")
    parser.add_argument("--out", metavar="FILE.json", help="write the numbers here")
    args = parser.parse_args(argv)
    terminal.check_least(parser, args, threads=1)
    if args.out and not Path(args.out).absolute().parent.is_dir():
        parser.error(f"--out: {args.out} given, expected a file in an existing folder")
    if args.text and not args.model:
        parser.error("--text: given without --model, expected with it")
    return args


# ---- measuring -----------------------------------------------------------------------------------

def measure(args):
    """Train what the options ask for, and measure it: name of a part -> its numbers."""
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))["rates"]
    sections = {name: one for name, one in ledger.SECTIONS.items() if args.full or not one.full}
    if args.quick:
        terminal.show("Quick: D = {width}, T = {block}, {steps} steps and 2 seeds: this shows "
                      "what there is to see, not what is found. The losses by E's rate are those "
                      "of the committed search.".format(**QUICK))
        sections = {name: replace(sections[name], seeds=2,
                                  settings=replace(sections[name].settings, **QUICK))
                    for name in ("pieces", "two blocks")}
    found = {}
    try:
        with Laboratory(args.runs, args.threads) as lab:
            for name, section in sections.items():
                rates = None if args.full else committed[name]
                found[name] = ledger.measure(lab, section, found, rates)
    except KeyboardInterrupt:
        print(f"stopped; the finished runs are in {args.runs}: the same command continues with them"
              if args.runs else "stopped; with --runs FOLDER, finished runs are kept",
              file=sys.stderr)
        raise
    with blas_threads(1):
        return numbers_of(found)


def numbers_of(found):
    """Name of section -> what `ledger.measure` returned -> the numbers that tables.py needs."""
    tasks = {name: kinds["tied"]["runs"][0].task for name, kinds in found.items()
             if "tied" in kinds}
    kept, rates = {}, {}
    for name, kinds in found.items():
        kept[name] = {kind: {"loss": [run.loss for run in one["runs"]]}
                      for kind, one in kinds.items()}
        if name in ledger.LEDGER:
            for kind in ("tied", "untied"):
                kept[name][kind]["fit"] = [run.fit for run in kinds[kind]["runs"]]
        rates[name] = {kind: {key: one[key] for key in ("rate", "ratio", "tried")}
                       for kind, one in kinds.items()}
    pieces, text, block = found["pieces"], tasks["pieces"].text, tasks["pieces"].settings.block
    others = pieces | found.get("biases", {}) | found.get("optimizers", {})
    numbers = {"rates": rates,
               "parameters": {name: [count(pieces[name]["runs"][0].task.config)]
                              for name in ("tied", "untied")},
               "ledger": {name: kept[name] for name in (*ledger.LEDGER, "source code")
                          if name in kept},
               "ladder": analysis.ladder(found["two blocks"], text, block),
               "likelihood": analysis.likelihood(others, text, block),
               "length": analysis.length(pieces, text, block),
               "movers": analysis.movers(others, text),
               "when": {name: analysis.when(found[name], tasks[name].text, block)
                        for name in ("pieces", "characters") if name in found}}
    if "biases" in found:
        numbers["rows"] = kept["biases"] | kept["optimizers"]
        numbers["no block"] = {
            name: {"bigram": analysis.bigram(tasks[section].text), "kinds": kept[section]}
            for name, section in (("text", "no block"), ("reversible", "no block, reversible"))}
    return numbers


def examine(folder, text):
    """The same of one model that was not trained here; its numbers have no spread over seeds."""
    subject = Subject(folder, text)
    terminal.show(subject.about)
    model, ids, targets, counts = subject.model, subject.ids, subject.targets, subject.counts
    matrices = {"E": model.params.E}
    if not model.config.tie_embeddings:
        matrices["head"] = model.params.head
    log_frequency = {"log frequency": np.log(counts + 1.0)}
    some = instruments.middling(counts, ids[targets >= 0], 5)
    with blas_threads(parallel.cores()):
        read = {name: analysis.over([instruments.read_with(model, matrix)], lambda twin:
                                    instruments.ladder(twin, ids, targets))
                for name, matrix in matrices.items()}
        lengths = {name: instruments.length_correlations(matrix, subject.common, log_frequency)
                   for name, matrix in matrices.items()}
        lengthened = {"model": instruments.costs_of_lengthening(model, ids, targets, some)}
        costs = {"model": [instruments.costs_of_silence(model, ids, targets)]}
        direction = instruments.direction(model, ids, targets, counts, subject.common)
        apart = instruments.contributions_of(model, ids, targets)
    return {"ladder": {"rungs": instruments.rungs(model.params), **read, "silenced": costs},
            "length": {**lengths, "lengthened": lengthened}, "likelihood": {"model": direction},
            "contributions": instruments.compare_contributions(*apart)}


# ---- telling -------------------------------------------------------------------------------------

def show(numbers):
    """Print the tables of those parts that were measured."""
    for part, tables in PARTS.items():
        if part in numbers:
            for table in tables:
                terminal.show(terminal.table(*table(numbers)))


def write(numbers):
    """findings/README.md and its figures, and the block in README.md."""
    for name, svg in figures(numbers).items():
        write_text(FINDINGS / name, svg)
    text = render((FINDINGS / "template.md").read_text(encoding="utf-8"), numbers, TABLES)
    write_text(FINDINGS / "README.md", text)
    write_text(README, with_block(README.read_text(encoding="utf-8"), text))


if __name__ == "__main__":
    terminal.run(main)
