"""The exercises: which are done, and the smallest input that proves one wrong.

    python demos/exercises/check.py         which are done; puts the files here
    python demos/exercises/check.py lookup  what is wrong in lookup.py

Begin with slope.py in this folder, then write `backward` in linear.py,
lookup.py, ... The checker compares it with the derivative of the `forward`
beside it on small inputs and on ten large edge cases. If it is wrong on one,
Hypothesis looks for the smallest. A mistake that many make is named if yours
gives the very numbers that it gives, on this input and on others.

The exit status is 0 if all that was asked about is done, 1 if not, 2 if the
question makes no sense.
"""
import argparse
import json
import os
import pdb
import sys
import tempfile
import time
from pathlib import Path

try:
    import hypothesis       # noqa: F401
except ImportError:
    sys.exit("check.py finds the smallest input with Hypothesis: python -m pip install hypothesis")

# Products here are tiny: BLAS's threads would only keep a process from being forked at any moment.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from checker import files, show      # noqa: E402
from checker.exercises import EXERCISES, TABLE      # noqa: E402
from checker.teaching import LESSONS      # noqa: E402
from checker.training import train_both      # noqa: E402
from checker.verdict import verdicts      # noqa: E402
from lib.terminal import cut, room, run      # noqa: E402
from minigpt_np.files.atomic import write_text        # noqa: E402

WATCH_SECONDS = 0.2


def main(arguments=None):
    options = parse(arguments)
    folder, name = options.folder or files.HERE, options.exercise
    if not options.folder and (new := files.start(folder)):
        print(f"{len(new)} files for you to write in are now in {folder}.\n")
    if options.reset:
        print(files.reset(name, folder))
        return 0
    if options.hint:
        print("\n".join(show.hint_lines(name, options.hint)))
        return 0
    if options.report:
        done = report(options.report, folder)
    elif options.debug:
        done = debug(name, folder)
    elif options.watch:
        done = watch(name, folder)
    else:
        done = check(name, folder)
    return 0 if done else 1


def check(name, folder):
    return one(name, folder) if name else overview(folder)


# ---- what is asked -------------------------------------------------------------------------------

def parse(arguments):
    names = ", ".join(files.NAMES)
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("exercise", nargs="?", type=lambda text: Path(text).stem, choices=files.NAMES,
        metavar="exercise", help=f"{names}; or the file")
    one_of = parser.add_mutually_exclusive_group().add_argument
    one_of("--hint", nargs="?", const=1, type=int, choices=(1, 2, 3),
           help="the formula for one index; 2: the sum, too; 3: and the shape of the code")
    one_of("--watch", action="store_true", help="check again at every save")
    one_of("--debug", action="store_true", help="pdb in your function, on the smallest input")
    one_of("--reset", action="store_true",
           help="the file as it was given; yours is kept as NAME.py.old")
    one_of("--report", metavar="FILE", type=Path, help="write what is done to FILE, as JSON")
    add("--folder", metavar="DIR", type=Path, help="the files are there, not here")
    options = parser.parse_args(arguments)
    if (options.hint or options.debug or options.reset) and not options.exercise:
        parser.error(f"no exercise given, expected one of {names}")
    if options.folder and not options.folder.is_dir():
        parser.error(f"--folder: {options.folder} given, expected an existing folder")
    return options


# ---- what is answered: each function returns whether all that was asked about is done -----------

def overview(folder):
    """A line for each exercise."""
    print("\n".join(show.wrap("The backward passes of a GPT, one by one, each in the file of that "
                              "name.")), end="\n\n")
    todo = []
    for i, (exercise, found) in enumerate(zip(EXERCISES, verdicts(files.NAMES, folder))):
        line = f"{i:3}  {exercise.name:14} {found.state:16} {exercise.equation}"
        print(cut(line, room()), flush=True)
        if not found.done:
            todo.append(exercise.name)
    if todo:
        print("\n".join([
            "", *show.wrap(f"Next: open {todo[0]}.py in an editor, and beside it a terminal with"),
            "", f"    python demos/exercises/check.py {todo[0]} --watch",
            "", *show.wrap("which checks at every save. --hint helps; --help tells the rest.")]))
    else:
        print("\nAll done: `check.py model` trains with them.")
    return not todo


def one(name, folder):
    """All about one exercise."""
    verdict, = verdicts([name], folder)
    if files.is_untouched(name, folder) and sys.stdin.isatty() and sys.stdout.isatty():
        predict(LESSONS[name])
    print("\n".join(show.verdict_lines(verdict)), flush=True)
    if verdict.done:
        print("\n".join(show.package_lines(TABLE[name])), flush=True)
    if verdict.done and name == "model":
        train_both(files.load("model", folder).backward)
    return verdict.done


def predict(lesson):
    """A question with a number to be typed; Enter skips it."""
    print("\n".join(["Before you write it:", *show.wrap(lesson.question)]))
    if input("A number, or Enter to skip: ").strip():
        print("\n".join(show.wrap(f"It is {lesson.answer:g}. {lesson.why}")))
    print()


def debug(name, folder):
    """pdb in the learner's function, on the smallest input that it gets wrong."""
    verdict, = verdicts([name], folder)
    print("\n".join(show.verdict_lines(verdict, unfolded=True)))
    if verdict.case:
        function = getattr(files.load(name, folder), verdict.case.exercise.function)
        print("\npdb: n goes to the next line, p NAME prints it, c goes on to the end, q leaves.\n",
              flush=True)
        pdb.runcall(function, *verdict.case.copies().values())
    return verdict.done


def report(path, folder):
    """Write what is done as JSON, for a teacher."""
    rows = [dict(exercise=name, passed=found.done, state=found.state, fault=found.fault,
                 diagnosis=found.texts)
            for name, found in zip(files.NAMES, verdicts(files.NAMES, folder))]
    done = sum(row["passed"] for row in rows)
    text = json.dumps(dict(folder=str(folder), done=done, of=len(rows), exercises=rows), indent=2,
                      ensure_ascii=False)
    write_text(path, f"{text}\n")
    print(f"{done} of {len(rows)} done; {path} written.")
    return done == len(rows)


def watch(name, folder):
    """Check at every save, until Ctrl-C."""
    while True:
        if sys.stdout.isatty():
            print("\x1b[2J\x1b[H", end="")
        seen = files.save_times(folder)
        check(name, folder)
        print(f"\nWatching {name or folder}. Ctrl-C ends it.", flush=True)
        while files.save_times(folder) == seen:
            time.sleep(WATCH_SECONDS)


if __name__ == "__main__":
    # Hypothesis makes a folder for its notes: not where the learner happens to be
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY",
                          str(Path(tempfile.gettempdir()) / "hypothesis"))
    run(main)
