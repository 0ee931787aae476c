import pytest

import learners
from checker.isolation import Process
from learners.wrong import EXERCISES, WRONG, changed


@pytest.fixture(scope="session")
def wrong_answers_named():
    """exercise -> the Process that finds the names of each of its wrong answers, begun at once.

    Who asks for it early lets the other core do it meanwhile.
    """
    return {exercise: Process(learners.names_of_all, exercise,
                              [changed(exercise, *edits) for other, _, edits in WRONG if other == exercise])
            for exercise in EXERCISES}
