"""Sharing: pages become shared and private again under an array that never reads otherwise meanwhile."""
import gc
import mmap
import os
import threading

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.parameters import MARGIN
from minigpt_np.training import memory, parallel
from minigpt_np.training.optim import SGD, AdamW
from minigpt_np.training.trainer import Trainer
from strategies import assert_bits, configs, examples, examples_of, seeds

pytestmark = pytest.mark.skipif(not memory.FORKS, reason="processes are not forked here")
PAGE = mmap.PAGESIZE


def in_child(work):
    """Call work() in a fork of this process; whether it ended well."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def is_written_by_a_child(array):
    """Whether this process sees what a fork of it writes; the array is then as before."""
    before = array.copy()
    assert in_child(lambda: array.__setitem__(..., before + 1))
    seen = (array == before + 1).all()
    assert seen or (array == before).all()
    array[...] = before
    return seen


def zeros(n, dtype=np.uint8):
    """(n,) zeros with a margin, as in Parameters."""
    return np.zeros(n + 2 * MARGIN, dtype)[MARGIN:-MARGIN]


lengths = st.one_of(st.integers(1, 3 * PAGE), st.sampled_from([1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE]))


@given(lengths, st.sampled_from(["u1", "f4", "f8"]), seeds)
def test_an_array_and_its_views_survive_sharing_bit_for_bit(n, dtype, seed):
    array, rng = zeros(n, np.dtype(dtype)), np.random.default_rng(seed)
    array.view("u1")[:] = rng.integers(0, 256, array.nbytes)
    start = int(rng.integers(n))
    view, expected, address = array[start:], array.copy(), memory.address(array)
    for change in (memory.share, memory.share, memory.unshare, memory.unshare):
        change(array)
        assert_bits(array, expected)
        assert_bits(view, expected[start:])
        for kept in (view, expected[start:]):
            kept.view("u1")[0] ^= 255
    assert_bits(array, expected)
    assert memory.address(array) == address


def test_only_the_array_s_own_pages_are_shared():
    whole = np.frombuffer(mmap.mmap(-1, 4 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
    array, rest = whole[:3 * PAGE], whole[3 * PAGE:]
    memory.replace_pages(array, mmap.MAP_SHARED)
    assert is_written_by_a_child(array) and not is_written_by_a_child(rest)


@examples(0.3)
@given(lengths)
def test_a_child_writes_into_the_parent_while_shared_and_not_before_nor_after(n):
    array = zeros(n)
    assert not is_written_by_a_child(array)
    memory.share(array)
    memory.share(array)
    assert is_written_by_a_child(array)
    memory.unshare(array)
    assert is_written_by_a_child(array)
    memory.unshare(array)
    assert not is_written_by_a_child(array) and memory.address(array) not in memory._users


@given(configs(), st.sampled_from([np.float32, np.float64]))
def test_parameters_and_moments_can_be_shared(config, dtype):
    params = Parameters(config, dtype)
    assert all(map(memory.can_share, [params.flat, *AdamW(params).arrays().values()]))


def test_only_pages_that_one_array_owns_whole_can_be_shared(tmp_path):
    owner = np.zeros(6 * PAGE, np.uint8)
    first = -memory.address(owner) % PAGE               # where the owner's first whole page begins
    pages = owner[first:first + 4 * PAGE]
    assert memory.can_share(pages) and memory.can_share(pages[5:9]) and not memory.can_share(pages[::2])
    if first:                                           # else its own pages are all of its memory
        assert not memory.can_share(owner[:first + 9]) and not memory.can_share(owner[-9:])
    file = np.memmap(tmp_path / "file", np.uint8, "w+", shape=PAGE)
    assert not memory.can_share(file)                   # its pages are the file's


def test_another_thread_always_reads_the_same():
    """Pages are filled before they are moved into place: no moment at which zeros are read."""
    array, wrong, done = zeros(64 * PAGE), [], threading.Event()
    array[:] = 1

    def read():
        while not done.is_set():
            wrong.extend(array[array != 1])

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(examples_of(50, 5000)):
        memory.share(array)
        memory.unshare(array)
    done.set()
    reader.join()
    assert wrong == []


# ---- a trainer's -----------------------------------------------------------------------------------

CONFIG = GPTConfig(vocab_size=7, block_size=4, n_layer=1, n_head=2, n_embd=4)
IDS = np.random.default_rng(0).integers(0, 7, (5, 4))
KINDS = pytest.mark.parametrize("kind", [AdamW, SGD])


def make_trainer(kind=AdamW, model=None, threads=2):
    model = model or GPT(CONFIG)
    return Trainer(model, kind(model.params, 0.01), threads=threads)


def arrays_of(trainer):
    return [trainer.model.params.flat, trainer.grads.flat, *trainer.optimizer.arrays().values()]


def are_shared(trainer):
    """Whether all arrays that a step writes are, or none is."""
    found, = {memory.address(array) in memory._users for array in arrays_of(trainer)}
    return found


@KINDS
def test_arrays_are_shared_while_the_team_lives_only(kind):
    trainer = make_trainer(kind)
    assert not are_shared(trainer)
    trainer.step(IDS, IDS)
    values = [array.copy() for array in arrays_of(trainer)]
    assert are_shared(trainer)
    trainer.team().close()
    assert not are_shared(trainer)
    for array, value in zip(arrays_of(trainer), values):
        assert_bits(array, value)


def test_a_team_collected_as_garbage_gives_the_weights_back():
    trainer = make_trainer()
    trainer.step(IDS, IDS)
    flat = trainer.model.params.flat
    trainer.cycle = trainer
    del trainer
    gc.collect()
    assert memory.address(flat) not in memory._users


def test_two_trainers_of_one_model_share_it_until_both_are_gone():
    model = GPT(CONFIG)
    one, two = (make_trainer(SGD, model) for _ in range(2))
    alone = make_trainer(SGD)
    expected = [alone.step(IDS, IDS) for _ in range(4)]
    teams = one.team(), two.team()
    found = [one.step(IDS, IDS), two.step(IDS, IDS), one.step(IDS, IDS)]        # each goes on where the other was
    assert teams == (one.team(), two.team())
    del one, teams
    gc.collect()
    assert are_shared(two)
    assert [*found, two.step(IDS, IDS)] == expected
    two.team().close()
    assert not are_shared(two)


@KINDS
@pytest.mark.parametrize("threads", [1, 2])
def test_a_fork_that_trains_goes_on_from_here_and_changes_nothing_here(kind, threads):
    trainer, undisturbed = make_trainer(kind, threads=threads), make_trainer(kind, threads=threads)
    for t in (trainer, undisturbed):
        t.step(IDS, IDS)
    before = [array.copy() for array in arrays_of(trainer)]
    expected = [undisturbed.step(IDS, IDS) for _ in range(3)]

    def train():
        assert [trainer.step(IDS, IDS) for _ in range(3)] == expected
        trainer.optimizer.step(trainer.grads)           # nor does a loop of the user's own
        trainer.model.params.E[...] = 0

    assert in_child(train)
    for array, value in zip(arrays_of(trainer), before):
        assert_bits(array, value)
    assert [trainer.step(IDS, IDS) for _ in range(3)] == expected


def test_workers_stay_when_others_are_forked():
    trainer, other = make_trainer(), make_trainer()
    team = trainer.team()
    other.step(IDS, IDS)
    parallel.Processes([IDS, IDS]).call("sum")
    assert trainer.team() is team
