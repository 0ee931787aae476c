"""The exercises: which are done, and the smallest input that proves one wrong.

    python demos/exercises/check.py         which are done; puts the files here
    python demos/exercises/check.py lookup  what is wrong in lookup.py; 2 and
                                            lookup.py mean the same

Begin with slope.py in this folder, then write `backward` in linear.py,
lookup.py, ... Hypothesis looks for an input on which it disagrees with the
derivative of the `forward` beside it, and makes that input small. A mistake
that many make is named if yours gives the very numbers that it gives, on this
input and on others. Done is what gets ten large edge cases right, too.

The exit status is 0 if all that was asked about is done, 1 if not, 2 if the
question makes no sense.
"""
import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

# Products here are tiny: BLAS's threads would only keep a process from being forked at any moment.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from checker import files, show      # noqa: E402
from checker.answers import raised      # noqa: E402
from checker.cases import random_case      # noqa: E402
from checker.exercises import EXERCISES, TABLE      # noqa: E402
from checker.teaching import LESSONS, predicted, typed_number      # noqa: E402
from checker.training import trained      # noqa: E402
from checker.verdict import begin, finish      # noqa: E402
from lib.terminal import run      # noqa: E402
from minigpt_np.files.atomic import atomic_write      # noqa: E402

WATCH_SECONDS = 0.2


def main(arguments=None):
    options = parsed(arguments)
    folder = options.folder or files.HERE
    if options.reset:
        return reset(options.exercises, folder)
    need_hypothesis()
    if not options.folder and (new := files.start(folder)):
        print(f"{len(new)} files for you to write in are now in {folder}.\n")
    if options.report:
        return report(options.report, options.exercises or EXERCISES, folder)
    if options.hint:
        return hints(options.exercises, options.hint)
    if options.debug:
        return debug(options.exercises, folder)
    if options.watch:
        return watch(options, folder)
    return once(options, folder)


def once(options, folder):
    if not options.exercises:
        return overview(folder)
    done = True
    for i, exercise in enumerate(options.exercises):
        print("\n" * bool(i), end="")
        done &= one(exercise, folder)
    return 0 if done else 1


# ---- what is asked -------------------------------------------------------------------------------

def parsed(arguments):
    names = ", ".join(exercise.name for exercise in EXERCISES)
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("exercises", nargs="*", metavar="exercise", help=f"{names}; or the number, or the file")
    add("--hint", nargs="?", const=1, type=int, choices=(1, 2, 3),
        help="the formula for one index; 2: the sum, too; 3: and the shape of the code")
    add("--watch", action="store_true", help="check again at every save")
    add("--debug", action="store_true", help="pdb in your function, on the smallest input")
    add("--reset", action="store_true",
        help="the file as it was given; yours is kept as NAME.py.old")
    add("--folder", metavar="DIR", type=Path, help="the files are there, not here")
    add("--report", metavar="FILE", type=Path,
        help="write what is done to FILE, as JSON")
    options = parser.parse_args(arguments)
    options.exercises = [named(text) for text in options.exercises]
    for flag in ("hint", "debug", "reset"):
        if getattr(options, flag) and not options.exercises:
            raise ValueError(f"--{flag}: no exercise given, expected one of\n" + expected())
    if options.debug and len(options.exercises) > 1:
        raise ValueError(f"--debug: {len(options.exercises)} exercises given, expected one")
    if options.folder and not options.folder.is_dir():
        raise ValueError(f"--folder: {options.folder} given, which is no folder")
    return options


def named(text):
    """The exercise that is meant: by its name, its file or its number."""
    name = Path(text).name.removesuffix(".py")
    if name.isdigit() and int(name) < len(EXERCISES):
        return EXERCISES[int(name)]
    if name not in files.NAMES:
        raise ValueError(
                f"exercise: {text!r} given, expected 0 to {len(EXERCISES) - 1} or one of\n"
                + expected())
    return TABLE[name]


def expected():
    return "\n".join(show.wrapped(", ".join(files.NAMES)))


def need_hypothesis():
    try:
        import hypothesis       # noqa: F401
    except ImportError:
        raise ValueError("the checker needs Hypothesis, which finds the smallest input:\n"
                         "    python -m pip install hypothesis") from None


# ---- what is answered ----------------------------------------------------------------------------

def overview(folder):
    """A line for each exercise; returns the exit status."""
    print("The backward passes of a GPT, one by one, each in the file of that name.\n")
    begun = {exercise.name: begin(exercise.name, folder, explain=False) for exercise in EXERCISES}
    todo = []
    for exercise in EXERCISES:
        found = finish(exercise.name, begun[exercise.name])
        todo += [] if found.done else [exercise]
        print(f"{exercise.number:3}  {exercise.name:14} {exercise.equation:44} {found.state}",
              flush=True)
    if not todo:
        print("\nAll done: `check.py model` trains with them.")
        return 0
    print(f"""
Next: open {todo[0].name}.py in an editor, and beside it a terminal with

    python demos/exercises/check.py {todo[0].name} --watch

which checks at every save. --hint helps, and --help tells the rest.""")
    return 1


def one(exercise, folder):
    """All about one exercise; returns whether it is done."""
    verdict = checked(exercise, folder)
    untouched = verdict.state == "not written yet" and files.is_untouched(exercise.name, folder)
    if untouched and sys.stdin.isatty() and sys.stdout.isatty():
        predict(exercise)
    lines = show.verdict_lines(exercise, verdict)
    if verdict.state == "wrong" and (missing := undone(exercise, folder)):
        lines[1:1] = show.wrapped(f"It is made of {', '.join(missing)}: get that right first.")
    if verdict.done:
        lines += show.beside_the_package(exercise, folder / f"{exercise.name}.py")
        following = EXERCISES[exercise.number + 1:]
        lines += ["", f"The next is {following[0].name}."] if following else []
    print("\n".join(lines), flush=True)
    if verdict.done and exercise.name == "model":
        return all_together(folder)
    return verdict.done


def checked(exercise, folder, explain=True):
    return finish(exercise.name, begin(exercise.name, folder, explain))


def undone(exercise, folder):
    return [name for name in exercise.all_needs
            if not checked(TABLE[name], folder, explain=False).done]


def all_together(folder):
    """The training at the end, if all that is needed for it is done."""
    if missing := undone(TABLE["model"], folder):
        print(f"\nIt would train now, but for {', '.join(missing)}: not right yet.")
        return True
    return trained(folder)


def predict(exercise):
    """A question with a number to be typed; Enter skips it."""
    question = LESSONS[exercise.name].question
    print("\n".join(["Before you write it:", *show.wrapped(question.text)]))
    right = predicted(exercise.name)
    try:
        text = input("A number, or Enter to skip: ")
    except EOFError:
        text = ""
        print()
    number = typed_number(text)
    if not text.strip():
        print()
        return
    lead = "Yes:" if number is not None and abs(number - right) < 0.005 else "It is"
    print("\n".join(show.wrapped(f"{lead} {right:g}. {question.why}") + [""]))


def hints(exercises, count):
    for exercise in exercises:
        texts = LESSONS[exercise.name].hints
        print(f"{exercise.name}:")
        for i, text in enumerate(texts[:count], 1):
            print("\n".join(["", *show.formulas(f"{i}. {text}")]))
        if count < len(texts):
            print(f"\n(check.py {exercise.name} --hint {count + 1} for more)")
    return 0


def reset(exercises, folder):
    for exercise in exercises:
        print(files.reset(exercise.name, folder))
    return 0


def debug(exercises, folder):
    """pdb in the learner's function, on the smallest input that it gets wrong."""
    import pdb
    exercise, = exercises
    verdict = checked(exercise, folder)
    print("\n".join(show.verdict_lines(exercise, verdict, unfolded=True)))
    # there is no function to stop in
    if verdict.state == "wrong" and verdict.case is None:
        return 1
    part = TABLE[verdict.name] if verdict.name in TABLE else exercise
    part = part.parts[0] if part.parts else part
    case = verdict.case or random_case(part, 0)
    function = getattr(files.load(exercise.name, folder), part.function)
    print("\npdb: n goes to the next line, p NAME prints it, c goes on to the end, q leaves.\n",
          flush=True)
    try:
        pdb.runcall(function, *case.arguments())
    except Exception as error:
        print("\n".join(show.wrapped(raised(part.function, error))))
    return 0 if verdict.done else 1


def report(path, exercises, folder):
    """Write what is done as JSON, for a teacher; returns 0 if all is, else 1."""
    begun = [begin(exercise.name, folder) for exercise in exercises]
    verdicts = [finish(exercise.name, process) for exercise, process in zip(exercises, begun)]
    done = sum(verdict.done for verdict in verdicts)
    rows = [dict(number=exercise.number, exercise=exercise.name, passed=verdict.done,
                 state=verdict.state, fault=verdict.text, diagnosis=verdict.texts,
                 seconds=round(verdict.seconds, 3))
            for exercise, verdict in zip(exercises, verdicts)]
    text = json.dumps(dict(folder=str(folder), done=done, of=len(rows), exercises=rows), indent=2,
                      ensure_ascii=False)
    with atomic_write(path) as file:
        file.write(f"{text}\n".encode())
    print(f"{done} of {len(rows)} done; {path} written.")
    return 0 if done == len(rows) else 1


def watch(options, folder):
    """Check at every save, until Ctrl-C."""
    names = [exercise.name for exercise in options.exercises] or files.NAMES
    while True:
        if sys.stdout.isatty():
            print("\x1b[2J\x1b[H", end="")
        seen = saved(folder)
        once(options, folder)
        print(f"\nWatching {', '.join(names) if options.exercises else folder}. Ctrl-C ends it.",
              flush=True)
        while saved(folder) == seen:
            time.sleep(WATCH_SECONDS)


def saved(folder):
    """When each file was written last."""
    return {name: path.stat().st_mtime_ns for name in files.NAMES
            if (path := folder / f"{name}.py").exists()}


if __name__ == "__main__":
    # Hypothesis makes a folder for its notes: not where the learner happens to be
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY",
                          str(Path(tempfile.gettempdir()) / "hypothesis"))
    run(main)
