"""The exercises: which are done, and the smallest input that proves one wrong.

    python demos/exercises/check.py         which are done; puts the files here
    python demos/exercises/check.py lookup  what is wrong in lookup.py; 2 and
                                            lookup.py mean the same

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
    import hypothesis       # noqa: F401: here, once; each exercise's process has it from this one
except ImportError:
    sys.exit("check.py finds the smallest input with Hypothesis: python -m pip install hypothesis")

# Products here are tiny: BLAS's threads would only keep a process from being forked at any moment.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from checker import files, show      # noqa: E402
from checker.answers import error_text      # noqa: E402
from checker.cases import small_cases      # noqa: E402
from checker.exercises import EXERCISES, TABLE      # noqa: E402
from checker.teaching import LESSONS, parse_number      # noqa: E402
from checker.training import train_both      # noqa: E402
from checker.verdict import verdicts      # noqa: E402
from lib.terminal import cut, room, run      # noqa: E402
from minigpt_np.files.atomic import write_text        # noqa: E402

WATCH_SECONDS = 0.2


def main(arguments=None):
    options = parse(arguments)
    folder, exercises = options.folder or files.HERE, options.exercises
    if options.reset:
        print("\n".join(files.reset(exercise.name, folder) for exercise in exercises))
        return 0
    if not options.folder and (new := files.start(folder)):
        print(f"{len(new)} files for you to write in are now in {folder}.\n")
    if options.report:
        return report(options.report, exercises or EXERCISES, folder)
    if options.hint:
        return hints(exercises, options.hint)
    if options.watch:
        return watch(exercises, folder)
    return check_all(exercises, folder, debug if options.debug else one)


def check_all(exercises, folder, about):
    """The overview, or what there is to say about each exercise; returns the exit status."""
    if not exercises:
        return overview(folder)
    done = True
    for i, exercise in enumerate(exercises):
        print("\n" * bool(i), end="")
        done &= about(exercise, folder)
    return 0 if done else 1


# ---- what is asked -------------------------------------------------------------------------------

def parse(arguments):
    names = ", ".join(files.NAMES)
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("exercises", nargs="*", metavar="exercise", type=exercise_called,
        help=f"{names}; or the number, or the file")
    one_of = parser.add_mutually_exclusive_group().add_argument
    one_of("--hint", nargs="?", const=1, type=int, choices=(1, 2, 3),
           help="the formula for one index; 2: the sum, too; 3: and the shape of the code")
    one_of("--watch", action="store_true", help="check again at every save")
    one_of("--debug", action="store_true", help="pdb in your function, on the smallest input")
    one_of("--reset", action="store_true",
           help="the file as it was given; yours is kept as NAME.py.old, or .old1, ...")
    one_of("--report", metavar="FILE", type=Path, help="write what is done to FILE, as JSON")
    add("--folder", metavar="DIR", type=Path, help="the files are there, not here")
    options = parser.parse_args(arguments)
    if (options.hint or options.debug or options.reset) and not options.exercises:
        parser.error(f"no exercise given, expected some of {names}")
    if options.folder and not options.folder.is_dir():
        parser.error(f"--folder: {options.folder} given, expected an existing folder")
    return options


def exercise_called(text):
    """The exercise of this name, file or number."""
    for exercise in EXERCISES:
        if Path(text).name in (exercise.name, f"{exercise.name}.py", str(exercise.number)):
            return exercise
    raise argparse.ArgumentTypeError(f"{text!r} given, expected 0 to {len(EXERCISES) - 1} or one "
                                     f"of {', '.join(files.NAMES)}")


# ---- what is answered ----------------------------------------------------------------------------

def overview(folder):
    """A line for each exercise; returns the exit status."""
    print("\n".join(show.wrap("The backward passes of a GPT, one by one, each in the file of that "
                              "name.")), end="\n\n")
    todo = []
    names = [exercise.name for exercise in EXERCISES]
    for exercise, found in zip(EXERCISES, verdicts(names, folder)):
        line = f"{exercise.number:3}  {exercise.name:14} {found.state:16} {exercise.equation}"
        print(cut(line, room()), flush=True)
        if not found.done:
            todo.append(exercise.name)
    if not todo:
        print("\nAll done: `check.py model` trains with them.")
        return 0
    print("\n".join([
        "", *show.wrap(f"Next: open {todo[0]}.py in an editor, and beside it a terminal with"),
        "", f"    python demos/exercises/check.py {todo[0]} --watch",
        "", *show.wrap("which checks at every save. --hint helps, and --help tells the rest.")]))
    return 1


def one(exercise, folder):
    """All about one exercise; returns whether it is done."""
    verdict, = verdicts([exercise.name], folder)
    untouched = verdict.state == "not written yet" and files.is_untouched(exercise.name, folder)
    if untouched and sys.stdin.isatty() and sys.stdout.isatty():
        predict(exercise)
    lines = show.verdict_lines(verdict)
    if verdict.state == "wrong" and (missing := unfinished(exercise, folder)):
        lines[1:1] = show.wrap(f"It is made of {', '.join(missing)}: get that right first.")
    if verdict.done:
        lines += show.package_lines(exercise)
        following = EXERCISES[exercise.number + 1:]
        lines += ["", f"The next is {following[0].name}."] if following else []
    print("\n".join(lines), flush=True)
    if verdict.done and exercise.name == "model":
        return all_together(folder)
    return verdict.done


def unfinished(exercise, folder):
    """The names of what an exercise is made of, as far as it is not done."""
    return [found.name for found in verdicts(exercise.all_needs, folder) if not found.done]


def all_together(folder):
    """The training at the end, if all that is needed for it is done."""
    if missing := unfinished(TABLE["model"], folder):
        print(f"\nIt would train now, but for {', '.join(missing)}: not right yet.")
        return True
    return train_both(files.load("model", folder).backward)


def predict(exercise):
    """A question with a number to be typed; Enter skips it."""
    lesson = LESSONS[exercise.name]
    print("\n".join(["Before you write it:", *show.wrap(lesson.question)]))
    try:
        text = input("A number, or Enter to skip: ")
    except EOFError:
        text = ""
        print()
    if text.strip():
        lead = "Yes:" if parse_number(text) == lesson.answer else "It is"
        print("\n".join(show.wrap(f"{lead} {lesson.answer:g}. {lesson.why}")))
    print()


def hints(exercises, count):
    for exercise in exercises:
        texts = LESSONS[exercise.name].hints
        print(f"{exercise.name}:")
        for i, text in enumerate(texts[:count], 1):
            first, *others = show.wrap(text, indent=3)
            print("\n".join(["", f"{i}. {first[3:]}", *others]))
        if count < len(texts):
            print(f"\n(check.py {exercise.name} --hint {count + 1} for more)")
    return 0


def debug(exercise, folder):
    """pdb in the learner's function, on the smallest input that it gets wrong."""
    verdict, = verdicts([exercise.name], folder)
    print("\n".join(show.verdict_lines(verdict, unfolded=True)))
    if verdict.state == "wrong" and verdict.case is None:       # there is no function to stop in
        return False
    part = TABLE[verdict.name].functions[0]
    case = verdict.case or small_cases(part)[0]
    function = getattr(files.load(exercise.name, folder), part.function)
    print("\npdb: n goes to the next line, p NAME prints it, c goes on to the end, q leaves.\n",
          flush=True)
    try:
        pdb.runcall(function, *case.copies().values())
    except Exception as error:
        print("\n".join(show.wrap(error_text(part.function, error))))
    return verdict.done


def report(path, exercises, folder):
    """Write what is done as JSON, for a teacher; returns 0 if all is, else 1."""
    names = [exercise.name for exercise in exercises]
    rows = [dict(number=exercise.number, exercise=exercise.name, passed=found.done,
                 state=found.state, fault=found.fault, diagnosis=found.texts)
            for exercise, found in zip(exercises, verdicts(names, folder))]
    done = sum(row["passed"] for row in rows)
    text = json.dumps(dict(folder=str(folder), done=done, of=len(rows), exercises=rows), indent=2,
                      ensure_ascii=False)
    write_text(path, f"{text}\n")
    print(f"{done} of {len(rows)} done; {path} written.")
    return 0 if done == len(rows) else 1


def watch(exercises, folder):
    """Check at every save, until Ctrl-C."""
    names = ", ".join(exercise.name for exercise in exercises) or folder
    while True:
        if sys.stdout.isatty():
            print("\x1b[2J\x1b[H", end="")
        seen = files.save_times(folder)
        check_all(exercises, folder, one)
        print(f"\nWatching {names}. Ctrl-C ends it.", flush=True)
        while files.save_times(folder) == seen:
            time.sleep(WATCH_SECONDS)


if __name__ == "__main__":
    # Hypothesis makes a folder for its notes: not where the learner happens to be
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY",
                          str(Path(tempfile.gettempdir()) / "hypothesis"))
    run(main)
