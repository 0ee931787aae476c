"""Sharing: pages become shared and private again; an array never reads otherwise meanwhile."""
import gc
import mmap
import resource
import signal
import threading

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigpt_np import Parameters
from minigpt_np.parameters import MARGIN
from minigpt_np.training import blas, memory, parallel
from minigpt_np.training.optim import SGD
from minigpt_np.training.trainer import Trainer
from strategies import assert_bits, configs, examples, examples_of, seeds
from trainers import IDS, arrays_of, forks, in_child, make_trainer

pytestmark = forks
PAGE = mmap.PAGESIZE


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


lengths = st.one_of(st.integers(1, 3 * PAGE),
                    st.sampled_from([1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE]))


@given(lengths, st.sampled_from(["u1", "f4", "f8"]), seeds)
def test_an_array_and_its_views_survive_sharing_bit_for_bit(n, dtype, seed):
    array, rng = zeros(n, np.dtype(dtype)), np.random.default_rng(seed)
    array.view("u1")[:] = rng.integers(0, 256, array.nbytes)
    start = int(rng.integers(n))
    view, expected, address = array[start:], array.copy(), array.ctypes.data

    def check():
        assert array.ctypes.data == address
        assert_bits(array, expected)
        assert_bits(view, expected[start:])
        for kept in (view, expected[start:]):
            kept.view("u1")[0] ^= 255

    with memory.shared(array):
        check()
    check()
    assert_bits(array, expected)


def test_only_the_array_s_own_pages_are_shared():
    private = mmap.mmap(-1, 4 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    whole = np.frombuffer(private, np.uint8)
    array, rest = whole[:3 * PAGE], whole[3 * PAGE:]
    memory.replace_pages(array, mmap.MAP_SHARED)
    assert is_written_by_a_child(array) and not is_written_by_a_child(rest)


@examples(0.3)
@given(lengths)
def test_a_child_writes_into_the_parent_while_shared_and_not_before_nor_after(n):
    array = zeros(n)
    one, other = memory.shared(array), memory.shared(array)
    assert not is_written_by_a_child(array)
    one.__enter__()
    with other:
        one.__exit__(None, None, None)
        assert is_written_by_a_child(array)
    assert not is_written_by_a_child(array)


@given(configs(), st.sampled_from([np.float32, np.float64]))
def test_no_other_array_has_numbers_in_the_pages_of_parameters(config, dtype):
    """Up to 64 kB large, as they are on some systems."""
    flat = Parameters(config, dtype).flat
    owner = flat.base
    assert owner.flags.owndata
    assert owner.ctypes.data <= flat.ctypes.data - 2**16
    assert flat.ctypes.data + flat.nbytes + 2**16 <= owner.ctypes.data + owner.nbytes


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
        with memory.shared(array):
            pass
    done.set()
    reader.join()
    assert wrong == []


def test_where_the_system_has_no_more_memory_nothing_changes():
    def refused():
        array, more = zeros(1 << 26), resource.RLIMIT_AS
        array[:] = 1
        resource.setrlimit(more, (1, resource.getrlimit(more)[1]))
        with pytest.raises(OSError, match="cannot share 67,108,864 bytes of memory"):
            with memory.shared(array):
                pass
        assert array.min() == 1 and not memory._users[array.ctypes.data]

    assert in_child(refused)


def test_locks_that_another_thread_holds_are_free_in_a_fork():
    held, done = threading.Event(), threading.Event()

    def hold():
        with memory._lock, blas.blas_threads.lock:
            held.set()
            done.wait()

    def use():
        signal.alarm(10)                # it would wait for ever
        with memory.shared(zeros(1)), blas.blas_threads(1):
            pass

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    freed = in_child(use)
    done.set()
    holder.join()
    assert freed


# ---- a trainer's ---------------------------------------------------------------------------------

def are_shared(trainer):
    """Whether all arrays that a step writes are, or none is."""
    found, = {memory._users[array.ctypes.data] > 0 for array in arrays_of(trainer)}
    return found


def test_arrays_are_shared_while_the_team_lives_only():
    trainer = make_trainer(threads=2)
    assert not are_shared(trainer)
    trainer.step(IDS, IDS)
    values = [array.copy() for array in arrays_of(trainer)]
    assert are_shared(trainer)
    trainer.team().close()
    assert not are_shared(trainer)
    for array, value in zip(arrays_of(trainer), values):
        assert_bits(array, value)


def test_two_trainers_of_one_model_share_it_until_both_are_gone():
    one, alone = make_trainer(SGD, threads=2), make_trainer(SGD, threads=2)
    two = Trainer(one.model, SGD(one.model.params, 0.1), threads=2)
    expected = [alone.step(IDS, IDS) for _ in range(4)]
    teams = one.team(), two.team()
    found = [trainer.step(IDS, IDS) for trainer in (one, two, one)]     # each goes on where the
    assert teams == (one.team(), two.team())                            # other was
    one.cycle = one
    del one, teams
    gc.collect()
    assert {memory._users[array.ctypes.data] for array in arrays_of(two)} == {1}
    assert [*found, two.step(IDS, IDS)] == expected
    two.team().close()
    assert not are_shared(two)


def test_a_fork_that_trains_goes_on_from_here_and_changes_nothing_here():
    trainer, undisturbed = make_trainer(threads=2), make_trainer(threads=2)
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
    trainer, other = make_trainer(threads=2), make_trainer(threads=2)
    team = trainer.team()
    other.step(IDS, IDS)
    parallel.Processes([IDS, IDS]).call("sum")
    assert trainer.team() is team
