"""demos/sort.py and demos/add.py: right cases, those held out stay unseen, the score counts."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt_np import GPT, GPTConfig
from strategies import seeds

DEMOS = Path(__file__).resolve().parents[2] / "demos"

from lib import tasks as cases
import add
import sort


@given(st.integers(1, 5), st.integers(2, 4), seeds)
def test_sorting_holds_every_input_once_and_sorts_it(length, digits, seed):
    exercise = sort.sorting(length, digits, seed)
    inputs = [tuple(row[:length]) for row in exercise.cases]
    assert len(set(inputs)) == len(inputs) == digits ** length
    assert all(set(row) <= set(range(digits)) for row in inputs)
    assert all(sorted(row[:length]) == list(row[length:]) for row in exercise.cases)
    assert np.count_nonzero(exercise.held_out) == max(1, round(digits ** length / 4))


@given(st.integers(1, 2), seeds)
def test_addition_is_addition(digits, seed):
    exercise = add.addition(digits, seed)
    assert len(exercise.cases) == 100 ** digits
    assert len(np.unique(exercise.cases, axis=0)) == len(exercise.cases)
    for row in exercise.cases[::37]:
        a, b, total = (int("".join(map(str, part))) for part in
                       (row[:digits], row[digits:2 * digits], row[2 * digits:][::-1]))
        assert a + b == total
    assert np.count_nonzero(exercise.held_out) == (20 if digits == 1 else 500)


def test_a_sum_as_minGPT_writes_it():
    """projects/adder: 85 + 50 = 135 is 8 5 5 0 5 3 1."""
    row = add.addition(2, 0).cases[8550]
    assert row.tolist() == [8, 5, 5, 0, 5, 3, 1]
    assert add.sentence(row, 2) == "85 + 50 = 135"
    assert add.sentence([0, 0, 0, 0, 0, 0, 0], 2) == "00 + 00 = 0"


@given(seeds, st.integers(1, 40))
def test_batches_are_of_known_cases_and_score_the_answer_alone(seed, B):
    exercise = sort.sorting(3, 2, seed)
    ids, targets = exercise.batch(B, np.random.default_rng(seed))
    assert ids.shape == targets.shape == (B, 5)
    held_out = {tuple(row) for row in exercise.cases[exercise.held_out]}
    for x, y in zip(ids, targets):
        assert (y[:2] == -1).all() and (y[2:] >= 0).all()
        assert x[3:].tolist() == y[2:-1].tolist()
        assert tuple(y[2:]) == tuple(sorted(x[:3]))
        assert (*x, y[-1]) not in held_out


@given(st.integers(2, 1000), st.floats(0, 1), seeds)
def test_something_is_held_out_and_something_left(n, share, seed):
    held_out = cases.hold_out(n, share, seed)
    assert held_out.shape == (n,)
    assert np.count_nonzero(held_out) == min(max(1, round(n * share)), n - 1)
    assert (held_out == cases.hold_out(n, share, seed)).all()


class Sorter:
    """Stands in for a model: sorts what it is given, except what begins with a 1."""

    def generate(self, ids, n):
        answers = np.sort(ids, axis=1)
        answers[ids[:, 0] == 1] = 0
        return np.concatenate([ids, answers], axis=1)


def test_the_score_counts_whole_answers():
    exercise = sort.sorting(3, 2, 0)
    everything = np.ones(8, bool)
    assert cases.score(Sorter(), exercise, everything, 0) == (4, 8)
    assert cases.score(Sorter(), exercise, exercise.cases[:, 0] == 0, 0) == (4, 4)


def test_the_score_of_many_cases_is_of_some(monkeypatch):
    monkeypatch.setattr(cases, "SCORED", 20)
    exercise = sort.sorting(5, 2, 0)
    right, of = cases.score(Sorter(), exercise, np.ones(32, bool), 1)
    assert of == 20 and 20 - 16 <= right <= 16


def test_answers_are_the_models_own():
    exercise = sort.sorting(3, 2, 0)
    model = GPT(GPTConfig(vocab_size=2, block_size=5, n_layer=1, n_head=1, n_embd=4), seed=3)
    ids = exercise.cases[:, :3]
    for _ in range(3):
        ids = np.concatenate([ids, model.forward(ids)[0][:, -1].argmax(axis=1)[:, None]], axis=1)
    assert (cases.answers(model, exercise, exercise.cases) == ids).all()


@pytest.mark.parametrize("tied", [True, False])
def test_sorting_is_learned(capsys, tied):
    """Two digits of two kinds are four cases, one of which it never sees."""
    arguments = ["--length", "2", "--digits", "2", "--steps", "120", "--threads", "1", "--seed", "1"]
    assert sort.main([*arguments, "--tie" if tied else "--untie"]) == 0
    text = capsys.readouterr().out
    assert f"{'tied' if tied else 'untied'}: " in text
    assert "3 of 3 trained on (100.00%)" in text


def test_adding_runs_tied_and_untied(capsys):
    assert add.main(["--digits", "1", "--steps", "2", "--threads", "1"]) == 0
    last = capsys.readouterr().out.splitlines()[-2:]
    assert [line.split()[0] for line in last] == ["tied:", "untied:"]
    assert all(" of 20 held out (" in line and " of 80 trained on (" in line and len(line) <= 80 for line in last)


@pytest.mark.parametrize("demo, arguments, message", [
    (sort, ["--digits", "1"], "--digits: 1 given, expected 2 to 10"),
    (sort, ["--digits", "11"], "--digits: 11 given, expected 2 to 10"),
    (sort, ["--length", "0"], "--length: 0 given, expected at least 1"),
    (sort, ["--length", "13", "--digits", "3"], "--length: 13 given"),
    (add, ["--digits", "4"], "--digits: 4 given, expected 1 to 3"),
    (add, ["--digits", "0"], "--digits: 0 given, expected 1 to 3"),
    (add, ["--steps", "0"], "--steps: 0 given, expected at least 1"),
    (add, ["--threads", "0"], "--threads: 0 given, expected at least 1"),
    (add, ["--batch", "0"], "--batch: 0 given, expected at least 1"),
    (add, ["--seed", "-1"], "--seed: -1 given, expected at least 0"),
])
def test_bad_options_are_one_message_and_status_2(capsys, demo, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        demo.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_bad_learning_rate_is_a_message_too():
    ran = subprocess.run([sys.executable, DEMOS / "sort.py", "--lr", "0"], capture_output=True, text=True,
                         env=os.environ | {"PYTHONPATH": str(DEMOS.parent)})
    assert ran.returncode == 2
    assert ran.stderr.startswith("sort.py: error: lr: 0.0 given") and "Traceback" not in ran.stderr
