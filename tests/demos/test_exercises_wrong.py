"""demos/exercises: no wrong answer passes, and no mistake is called by another one's name."""
from pathlib import Path

import pytest

import learners
from checker.isolation import Process
from learners.students import STUDENTS

TABLE = Path(learners.__file__).with_name("wrong.txt")


def table():
    """(exercise, right line, wrong line, name or "") of each row."""
    exercise = right = ""
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            exercise = line.strip("[]")
        elif line.startswith("    "):
            wrong, _, name = line.strip().partition("    # ")
            yield exercise, right, wrong, name
        elif line and not line.startswith("#"):
            right = line


def changed(exercise, *edits):
    """The plain answer with every other text of the edits in the place of the one before it."""
    answer = learners.plain(exercise)
    for old, new in zip(edits[::2], edits[1::2]):
        assert old in answer
        answer = answer.replace(old, new, 1)
    return answer


MUTANTS = [(exercise, name, (right, wrong)) for exercise, right, wrong, name in table()]
WRONG = MUTANTS + [(exercise, name, edits) for exercise, rows in STUDENTS.items() for name, *edits in rows]
EXERCISES = tuple(dict.fromkeys(row[0] for row in WRONG))


@pytest.fixture(scope="module")
def named():
    """exercise -> the names_of each of its wrong answers, in a process for each exercise, all at once."""
    answers = {exercise: [changed(exercise, *edits) for other, _, edits in WRONG if other == exercise]
               for exercise in EXERCISES}
    processes = {exercise: Process(learners.names_of_all, exercise, answers[exercise]) for exercise in EXERCISES}
    return {exercise: process.result() for exercise, process in processes.items()}


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_wrong_answer_is_wrong_and_has_its_own_name_or_none(exercise, named):
    failures = []
    rows = [row for row in WRONG if row[0] == exercise]
    for (_, name, edits), texts in zip(rows, named[exercise], strict=True):
        if texts is None:
            failures.append((edits[1], "it passes"))
        elif not (any(name in text for text in texts) if name else not texts):
            failures.append((edits[1], f"expected {name or 'no name'}, got {texts}"))
    assert not failures


def test_there_are_many_and_of_those_that_students_write_most_have_a_name():
    assert len(WRONG) >= 400 and len({(row[0], tuple(row[2])) for row in WRONG}) == len(WRONG)
    named = [row for row in WRONG if row[1]]
    by_students = [row for row in WRONG[len(MUTANTS):] if row[1]]
    assert len(named) / len(WRONG) > 0.45
    assert len(by_students) / (len(WRONG) - len(MUTANTS)) > 0.75
