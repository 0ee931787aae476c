"""demos/exercises: no wrong answer passes, and no mistake is called by another one's name."""
import pytest

from learners.wrong import EXERCISES, MUTANTS, WRONG


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_wrong_answer_is_wrong_and_has_its_own_name_or_none(exercise, wrong_answers_named):
    failures = []
    rows = [row for row in WRONG if row[0] == exercise]
    for (_, name, edits), texts in zip(rows, wrong_answers_named[exercise].result(), strict=True):
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
