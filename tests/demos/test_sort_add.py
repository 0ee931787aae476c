"""demos/sort.py and demos/add.py: right cases, those held out stay unseen, the score counts."""
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import seeds

from lib import tasks, terminal
import add
import sort
import train_text


@given(st.integers(1, 5), st.integers(2, 4), seeds)
def test_sorting_holds_every_input_once_and_sorts_it(length, kinds, seed):
    problem = sort.sorting(length, kinds, seed)
    inputs = {tuple(row[:length]) for row in problem.cases}
    assert len(inputs) == len(problem.cases) == kinds ** length
    assert all(set(row) <= set(range(kinds)) for row in inputs)
    assert all(sorted(row[:length]) == list(row[length:]) for row in problem.cases)
    assert np.count_nonzero(problem.held_out) == max(1, round(kinds ** length / 4))


@given(st.integers(1, 2), seeds)
def test_addition_is_addition(digits, seed):
    problem = add.addition(digits, seed)
    assert len(np.unique(problem.cases, axis=0)) == len(problem.cases) == 100 ** digits
    for row in problem.cases[::37]:
        a, b, total = (int("".join(map(str, part))) for part in
                       (row[:digits], row[digits:2 * digits], row[2 * digits:][::-1]))
        assert a + b == total
    assert np.count_nonzero(problem.held_out) == (20 if digits == 1 else 500)


def test_a_sum_as_minGPT_writes_it():
    """projects/adder: 85 + 50 = 135 is 8 5 5 0 5 3 1."""
    problem = add.addition(2, 0)
    assert problem.cases[8550].tolist() == [8, 5, 5, 0, 5, 3, 1]
    assert problem.read(problem.cases[8550]) == "85 + 50 = 135"
    assert problem.read(problem.cases[0]) == "00 + 00 = 0"


@given(seeds, st.integers(1, 40))
def test_batches_are_of_known_cases_and_score_the_answer_alone(seed, B):
    problem = sort.sorting(3, 2, seed)
    ids, targets = problem.batch(B, np.random.default_rng(seed))
    assert ids.shape == targets.shape == (B, 5)
    held_out = {tuple(row) for row in problem.cases[problem.held_out]}
    for x, y in zip(ids, targets):
        assert (y[:2] == -1).all() and (y[2:] >= 0).all()
        assert x[3:].tolist() == y[2:-1].tolist()
        assert tuple(y[2:]) == tuple(sorted(x[:3]))
        assert (*x, y[-1]) not in held_out


@given(st.integers(2, 1000), st.floats(0, 1), seeds)
def test_something_is_held_out_and_something_left(n, share, seed):
    held_out = tasks.hold_out(n, share, seed)
    assert held_out.shape == (n,)
    assert np.count_nonzero(held_out) == min(max(1, round(n * share)), n - 1)
    assert (held_out == tasks.hold_out(n, share, seed)).all()


class Sorter:
    """Stands in for a model: sorts what it is given, except what begins with a 1."""

    def generate(self, ids, n):
        answers = np.sort(ids, axis=1)
        answers[ids[:, 0] == 1] = 0
        return np.concatenate([ids, answers], axis=1)


def test_the_score_counts_whole_answers_of_a_sample(monkeypatch):
    problem = sort.sorting(3, 2, 0)
    everything = np.ones(8, bool)
    assert problem.score(Sorter(), everything, 0) == (4, 8)
    assert problem.score(Sorter(), problem.cases[:, 0] == 0, 0) == (4, 4)
    monkeypatch.setattr(tasks, "SCORED", 6)
    right, of = problem.score(Sorter(), everything, 1)
    assert of == 6 and 2 <= right <= 4


def test_sorting_is_learned_tied_and_untied(capsys):
    """Two digits of two kinds are four cases, one of which it never sees."""
    assert sort.main(["--length", "2", "--kinds", "2", "--steps", "80", "--batch", "6",
                      "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert "tied: 85,152 parameters, 2 x 48 of them in E, lookup and head in one\n" in printed
    assert "untied: 85,248 parameters, 2 x 48 of them in E, and as many in head\n" in printed
    last = printed.splitlines()[-3:-1]
    assert [line.split()[0] for line in last] == ["tied", "untied"]
    assert all(" of 1 (" in line and "3 of 3 (100.00%)" in line for line in last)


class Begun(Exception):
    pass


@pytest.mark.parametrize("steps", [1, 4, 5, 100, 120, 600])
def test_the_highest_learning_rate_is_reached_in_any_number_of_steps(steps, monkeypatch, tmp_path):
    def trainer(model, optimizer, schedule, **_):
        assert max(map(schedule, range(steps))) == 0.5
        raise Begun

    text = tmp_path / "text"
    text.write_text("the other " * 90)
    for module in (tasks, train_text):
        monkeypatch.setattr(module, "Trainer", trainer)
    for demo, argv in [(sort, []), (train_text, ["--text", str(text)])]:
        with pytest.raises(Begun):
            demo.main([*argv, "--steps", str(steps), "--lr", "0.5", "--threads", "1"])


def test_adding_shows_three_answers(capsys):
    assert add.main(["--digits", "1", "--steps", "1", "--batch", "2", "--threads", "1",
                     "--untied"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(bool(re.fullmatch(r"   \d \+ \d = \d+", line)) for line in lines) == 3
    assert lines[-2].startswith("untied ") and " of 20 (" in lines[-2] and " of 80 (" in lines[-2]


def test_training_that_diverges_is_one_message_and_status_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        terminal.run(lambda: sort.main(["--lr", "1e9", "--steps", "5", "--length", "2",
                                        "--threads", "1"]))
    message = capsys.readouterr().err
    assert stopped.value.code == 2 and message.count("\n") == 1
    assert "expected finite numbers" in message and "a smaller learning rate" in message


@pytest.mark.parametrize("demo, arguments, message", [
    (sort, ["--kinds", "11"], "--kinds: 11 given, expected 2 to 10"),
    (sort, ["--length", "0"], "--length: 0 given, expected at least 1"),
    (sort, ["--length", "13", "--kinds", "3"], "--length: 13 given"),
    (add, ["--digits", "4"], "--digits: 4 given, expected 1 to 3"),
    (sort, ["--lr", "0"], "--lr: 0.0 given, expected a positive number"),
    (add, ["--lr", "nan"], "--lr: nan given, expected a positive number"),
])
def test_bad_options_are_one_message_and_status_2(capsys, monkeypatch, demo, arguments, message):
    monkeypatch.setattr(sys, "argv", [f"{demo.__name__}.py"])
    with pytest.raises(SystemExit) as stopped:
        terminal.run(lambda: demo.main(arguments))
    printed = capsys.readouterr()
    assert stopped.value.code == 2 and message in printed.err and printed.out == ""
