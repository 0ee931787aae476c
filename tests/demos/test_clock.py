"""demos/clock.py: one matrix, written by hand, that is looked up and predicts."""
import re

import numpy as np
import pytest

import clock

IDS = np.arange(12)[None]
NEXT = (IDS + 1) % 12


@pytest.mark.parametrize("gain, loss", [(1, 1.104), (10, 0.044), (100, 0.0)])
def test_one_matrix_says_the_next_hour(gain, loss):
    model = clock.clock(gain)
    assert model.params.head is model.params.E
    logits, found, _ = model.forward(IDS, NEXT)
    assert (logits.argmax(axis=2) == NEXT).all()
    # in closed form: logits of 2 gain / std · cos of the angle between v and the next hour
    angles = 2 * np.pi * np.arange(12) / 12
    exact = np.log(np.sum(np.exp(2 * gain / np.sqrt(0.5 + 1e-5) * (np.cos(angles) - 1))))
    assert found == pytest.approx(exact, abs=1e-12 * gain) and round(found, 3) == loss


def test_without_its_mlp_every_hour_says_itself():
    logits, _, _ = clock.silence_mlp(clock.clock(1)).forward(IDS)
    assert (logits.argmax(axis=2) == IDS).all()


def test_what_it_prints(capsys):
    clock.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split()[-4:] == ["1.104", "0.044", "0.000", "1.483"]
    assert [line.split()[5:] for line in lines if re.match(" *(12|6) ", line)] == [
        ["1", "1", "1", "12"], ["7", "7", "7", "6"]]
    assert max(map(len, lines)) <= 80
