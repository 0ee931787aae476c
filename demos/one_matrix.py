"""How can one matrix do both jobs? Eight findings on small GPTs and real text.

    python demos/one_matrix.py                     # the answer, then details
    python demos/one_matrix.py --part 2 5 --quick  # two findings, one seed
    python demos/one_matrix.py --html out.html     # as a page
    python demos/one_matrix.py --model FOLDER      # GPT-2, or any like it
    python demos/one_matrix.py --from demos/findings/numbers.json

 1  What E alone cannot do: models without a block.
 2  Where the token read gives way to the token predicted: the logit lens.
 3  Who moves E, and when: the gradient's two contributions, and Adam's steps.
 4  Is that why E is an output embedding? The lookup's gradient, multiplied.
 5  Where likelihood lives: a direction, when it is learnt, and surgery on it.
 6  Does magnitude matter? Rows scaled at one end only.
 7  A tie done wrong: two copies, two pairs of moments.
 8  What tying costs, and when it pays.

E is V x D; row v is token v's vector. Untied, E is looked up and a second
matrix is the head. A number is the mean over the seeds ± the standard
deviation. AdamW has no weight decay here: nothing but the two gradients moves
E. Each kind of model has the best learning rate of a sweep. The sweep and part
8's lengths and sizes, which take long, are those committed in
demos/findings/numbers.json; --full repeats them.
"""
import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from findings import cost, e_alone, likelihood, magnitude, tie_done_wrong, turning_point, who_moves_e, why_output
from findings.summary import lead, with_block
from lib import terminal
from lib.charts import save
from lib.lab import Lab, Settings, committed, plain, step_seconds, sweep
from lib.report import Report
from lib.subject import Subject
from minigpt_np.training import parallel
from minigpt_np.training.blas import blas_threads

FINDINGS = {1: e_alone, 2: turning_point, 3: who_moves_e, 4: why_output, 5: likelihood, 6: magnitude, 7: tie_done_wrong,
            8: cost}
ON_ANY_MODEL = (2, 3, 5, 6)
QUICK = {"heads": 2, "width": 24, "block": 16, "batch": 16, "steps": 150, "vocab_size": 300}


def main(argv=None):
    args = parse(argv)
    begin = time.monotonic()
    if args.source:
        numbers = read_numbers(args.source)
    elif args.model:
        numbers = examine(args)
    else:
        numbers = measure(args)
    report = tell(numbers)
    print(report.text(), end="")
    if args.html:
        save(args.html, report.html())
    if args.json:
        save(args.json, json.dumps(numbers, indent=1) + "\n")
    if args.markdown:
        save(args.markdown, report.markdown())
    if args.readme:
        save(args.readme, with_block(Path(args.readme).read_text(encoding="utf-8"), numbers))
    print(f"\n{time.monotonic() - begin:.0f} s in all")
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--part", type=int, nargs="+", choices=FINDINGS, help="findings, by number (default: all)")
    add("--quick", action="store_true", help="a smaller model, fewer steps, one seed: what there is to see, not what is found")
    add("--full", action="store_true", help="search the learning rates again, and part 8 over lengths and V/D: hours")
    add("--full-seeds", type=int, metavar="N", help="of part 8's lengths and V/D (default: as --seeds)")
    add("--model", metavar="FOLDER", help="look at this model, as GPT.from_pretrained opens it; trains nothing")
    add("--text", metavar="FILE", help="UTF-8 text (default: pydoc_data.topics; with --model: what the model generates)")
    add("--start", type=int, metavar="ID", help="with --model and no --text: the token that generated texts begin with "
                                                "(default: config.json's bos_token_id)")
    add("--vocab-size", type=int, help="V of the tokens made from the text; 0: its characters (default 1024)")
    add("--layers", type=int, help="L (default 2)")
    add("--heads", type=int, help="H (default 4)")
    add("--width", type=int, help="D (default 64)")
    add("--block", type=int, help="T (default 32; with --model at most 128)")
    add("--batch", type=int, help="B (default 16)")
    add("--steps", type=int, help="(default 600)")
    add("--lr", type=float, help="highest learning rate of all kinds (default: the committed sweep's best of each)")
    add("--seeds", type=int, help="runs of each kind (default 3)")
    add("--seed", type=int, default=0, help="the first seed (default 0)")
    add("--threads", type=int, default=parallel.cores(), help="runs trained at the same time (default: one a core)")
    add("--runs", metavar="FOLDER", help="keep trained runs here, and use those that are there: after Ctrl-C, none is lost")
    add("--from", metavar="FILE", dest="source", help="report what --json has written, and measure nothing")
    add("--html", metavar="FILE", help="write a page")
    add("--json", metavar="FILE", help="write the numbers")
    add("--markdown", metavar="FILE", help="write all of it as Markdown (demos/findings/README.md)")
    add("--readme", metavar="FILE", help="renew the marked block of this file (README.md)")
    args = parser.parse_args(argv)
    for name, least in (("vocab_size", 0), ("layers", 1), ("heads", 1), ("width", 1), ("block", 1), ("batch", 1), ("steps", 10),
                        ("seeds", 1), ("full_seeds", 1), ("threads", 1), ("seed", 0), ("start", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f"--{name.replace('_', '-')}: {value} given, expected at least {least}")
    if args.lr is not None and not 0 < args.lr < float("inf"):
        parser.error(f"--lr: {args.lr:g} given, expected a positive number")
    for name in ("html", "json", "markdown", "readme"):
        path = getattr(args, name)
        if path and not Path(path).absolute().parent.is_dir():
            parser.error(f"--{name}: {path} given, expected a file in a folder that is there")
    if args.model and set(args.part or ()) - set(ON_ANY_MODEL):
        parser.error(f"--part: {' '.join(map(str, args.part))} given with --model, expected of {', '.join(map(str, ON_ANY_MODEL))}: "
                     "the others need training")
    if args.model and args.source:
        parser.error("--from: given with --model, expected one of them")
    if args.readme and (args.model or args.part and set(args.part) != set(FINDINGS)):
        parser.error("--readme: given with only some findings, expected all of them")
    return args


# ---- measuring -----------------------------------------------------------------------------------

def settings_of(args):
    """(Settings, seeds)."""
    settings = Settings(text=args.text)
    if args.quick:
        settings = replace(settings, **QUICK)
    given = {name: getattr(args, name) for name in asdict(settings) if name != "text" and getattr(args, name) is not None}
    n = args.seeds or (1 if args.quick else 3)
    return replace(settings, **given), range(args.seed, args.seed + n)


def measure(args):
    """All numbers: trains what the chosen findings need, then measures."""
    settings, seeds = settings_of(args)
    lab = Lab(settings, seeds, committed()["rates"], args.lr, args.threads, args.runs)
    try:
        return measured(args, lab)
    except KeyboardInterrupt:
        note(f"stopped; the runs that are done are in {args.runs}: the same command goes on with them" if args.runs
             else "stopped; with --runs FOLDER, runs that are done are kept")
        raise


def measured(args, lab):
    """The same, of a lab."""
    settings, seeds, parts = lab.settings, lab.seeds, sorted(set(args.part or FINDINGS))
    kinds = list(dict.fromkeys(kind for n in parts for kind in FINDINGS[n].kinds(settings)))
    if args.full:
        lab = lab.at(sweep(lab, [kind for kind in kinds if not kind.same_time]))
        for name, seconds in step_seconds(lab, [cost.TIED, cost.UNTIED, cost.FEWER]).items():
            lab.rates.setdefault(name, {})["seconds"] = seconds
    lab.train(kinds)
    numbers = {"about": {**asdict(settings), "source": lab.source, "V": lab.V, "training": len(lab.training),
                         "validation": len(lab.validation), "seeds": seeds, "lr": args.lr},
               "rates": {kind.name: lab.measured(kind) for kind in kinds if lab.measured(kind) and not kind.same_time}}
    with blas_threads(1):          # small products: a second thread would only wait
        numbers["findings"] = each_part(parts, lambda finding: finding.measure(lab))
    if args.full and 8 in parts:
        first = range(args.seed, args.seed + (args.full_seeds or len(seeds)))
        numbers["findings"]["8"]["full"] = cost.measure_full(lab.at(lab.rates, first))
    elif 8 in parts and settings == Settings() and args.lr is None:     # of this very model: as the sweep, so its lengths
        numbers["findings"]["8"]["full"] = committed()["findings"]["8"]["full"]
    return plain(numbers)


def examine(args):
    """The numbers of a model that is not trained here."""
    subject = Subject(args.model, args.text, args.block, args.start, args.seed)
    parts = sorted(set(args.part or ON_ANY_MODEL))
    return plain({"about": subject.about, "findings": each_part(parts, lambda finding: finding.examine(subject))})


def each_part(parts, measure):
    """Part's number, as text -> measure(its module); a line on stderr about each."""
    numbers = {}
    for i, n in enumerate(parts, 1):
        note(f"measuring part {n} ({i} of {len(parts)})")
        numbers[str(n)] = measure(FINDINGS[n])
    return numbers


def note(text):
    """A line about work that takes a while."""
    print(text, file=sys.stderr, flush=True)


def read_numbers(path):
    """What --json has written."""
    try:
        numbers = json.loads(Path(path).read_text(encoding="utf-8"))
        numbers["about"], numbers["findings"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"--from: {path} given, expected a file that --json has written") from None
    return numbers


# ---- telling -------------------------------------------------------------------------------------

def tell(numbers):
    """numbers -> Report."""
    about, findings = numbers["about"], numbers["findings"]
    report = Report("How can one matrix do both jobs?")
    if len(findings) == len(FINDINGS) and (answer := lead(numbers)):
        report.say(answer)
    if "model" in about:
        report.say(about["model"])
    else:
        usual = all(about[name] == value for name, value in asdict(Settings()).items())
        report.say(
            f"{about['source']}: {about['training']:,} tokens to train on and {about['validation']:,} to validate, V = {about['V']}; "
            f"L = {about['layers']}, H = {about['heads']}, D = {about['width']}, T = {about['block']}, {about['steps']} steps of "
            f"{about['batch']} sequences, AdamW; seed{'s' * (len(about['seeds']) > 1)} {', '.join(map(str, about['seeds']))}; "
            + (f"learning rate {about['lr']:g}." if about["lr"] else "each kind at the best learning rate of a sweep"
               + ("." if usual else " of the default model.")))
        if not usual:
            report.say("README.md's findings are of other settings and of three seeds. What is smaller or shorter need not show "
                       "them: this is to see how they are measured.")
    for key in sorted(findings, key=int):
        module = FINDINGS[int(key)]
        report.finding(int(key), *module.answer(findings[key]))
        module.tell(findings[key], report)
    if numbers.get("rates") and len(findings) == len(FINDINGS):
        tell_rates(numbers["rates"], report)
    return report


def tell_rates(rates, report):
    """Under the last finding, which is about fairness: what the sweep tried."""
    report.say("The sweep: the validation loss of the first seed at learning rates that are factors of 2 apart, the least and the "
               "greatest that were tried, and those around the best, which is what the runs have.")
    rows = []
    for name, one in rates.items():
        if one.get("tried"):
            best, tried = one["best"], {float(rate): loss for rate, loss in one["tried"].items()}
            around = [f"{tried[rate]:.2f}" if rate in tried else "" for rate in (best / 2, best, best * 2)]
            rows.append([name, f"{min(tried):g}", f"{max(tried):g}", f"{best:g}", *around])
    report.table(["", "least", "greatest", "best", "half", "loss", "twice"], rows)


if __name__ == "__main__":
    terminal.run(main)
