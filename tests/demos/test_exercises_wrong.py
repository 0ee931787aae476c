"""demos/exercises: no wrong answer passes, whatever Hypothesis draws, and none is called by another
mistake's name."""
import pytest

from learners import names_of
from learners.wrong import EXERCISES, WRONG, changed


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_wrong_answer_is_wrong_and_has_its_own_name_or_none(exercise):
    failures = []
    for _, name, edits in (row for row in WRONG if row[0] == exercise):
        texts = names_of(exercise, changed(exercise, *edits))
        if texts is None:
            failures.append((edits[1], "it passes"))
        elif not (any(name in text for text in texts) if name else not texts):
            failures.append((edits[1], f"expected {name or 'no name'}, got {texts}"))
    assert not failures
