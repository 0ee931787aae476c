"""demos/exercises: no wrong answer passes, whatever Hypothesis draws, and none is called by another
mistake's name."""
from unittest.mock import patch

import pytest

import learners
from checker import verdict
from checker.cases import small_cases
from checker.exercises import TABLE
from checker.mistakes import MISTAKES
from learners.wrong import WRONG


@pytest.mark.parametrize("exercise", WRONG)
def test_a_wrong_answer_is_wrong_and_has_its_own_name_or_none(exercise):
    """On the first input that shows it. (The gradients of a block and of a model are many: why an
    answer without a name is wrong is not asked there.)"""
    failures = []
    for name, *edits in WRONG[exercise]:
        answer = learners.changed(exercise, *edits)
        if TABLE[exercise].needs and not name:
            backward = learners.module(exercise, answer).backward
            passes, texts = verdict.first_wrong(TABLE[exercise], backward) is None, []
        else:
            with patch.object(verdict, "smallest", lambda failed, function: failed):
                found = learners.verdict_on(exercise, answer)
            passes, texts = found.done, found.texts
        if passes:
            failures.append((edits[1], "it passes"))
        elif not (any(text.startswith(name) for text in texts) if name else not texts):
            failures.append((edits[1], f"expected {name or 'no name'}, got {texts}"))
    assert not failures, "\n".join(map(str, failures))


def test_every_mistake_is_made_by_a_wrong_answer():
    names = [name for rows in WRONG.values() for name, *_ in rows if name]
    texts = [text.format(name=name) for rows in MISTAKES.values() for name, _, text in rows]
    assert [text for text in texts if not text.startswith(tuple(names))] == []


@pytest.mark.parametrize("name", ["lookup", "causal"])
def test_what_hypothesis_finds_is_small(name):
    """Its sizes are the least that show the mistake, whichever input failed first."""
    edits = {"lookup": ("np.add.at(dE, ids, dx)", "dE[ids] += dx"),
             "causal": ("dv = w.swapaxes(2, 3) @ dy", "dv = w @ dy")}[name]
    found = learners.verdict_on(name, learners.changed(name, *edits))
    least = {letter: sizes[0] for letter, sizes in TABLE[name].sizes.items()}
    assert found.case.sizes == (least | dict(T=2))
    assert found.case not in small_cases(TABLE[name])
