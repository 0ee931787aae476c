"""Wrong answers: what comes of changing one line of the right ones (wrong.txt), and what students
write (students.py)."""
from pathlib import Path

from . import plain
from .students import STUDENTS

ROWS = Path(__file__).with_name("wrong.txt")


def table():
    """(exercise, right line, wrong line, name or "") of each row."""
    exercise = right = ""
    for line in ROWS.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            exercise = line.strip("[]")
        elif line.startswith("    "):
            wrong, _, name = line.strip().partition("    # ")
            yield exercise, right, wrong, name
        elif line and not line.startswith("#"):
            right = line


def changed(exercise, *edits):
    """The plain answer with every other text of the edits in the place of the one before it."""
    answer = plain(exercise)
    for old, new in zip(edits[::2], edits[1::2]):
        assert old in answer
        answer = answer.replace(old, new, 1)
    return answer


MUTANTS = [(exercise, name, (right, wrong)) for exercise, right, wrong, name in table()]
WRONG = MUTANTS + [(exercise, name, edits) for exercise, rows in STUDENTS.items() for name,
                   *edits in rows]
EXERCISES = tuple(dict.fromkeys(row[0] for row in WRONG))
