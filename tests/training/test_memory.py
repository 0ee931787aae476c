"""Sharing: pages become shared and private again under an array that never reads otherwise meanwhile."""
import copy
import gc
import mmap
import os
import threading

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigpt_np import GPT, GPTConfig
from minigpt_np.parameters import whole_pages
from minigpt_np.training import memory
from minigpt_np.training.optim import SGD, AdamW
from minigpt_np.training.trainer import Trainer
from strategies import examples, examples_of, seeds

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


lengths = st.one_of(st.integers(1, 3 * PAGE), st.sampled_from([1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE]))


@given(lengths, st.sampled_from(["u1", "f4", "f8"]), seeds, st.sampled_from([PAGE, 2 * PAGE, memory.CHUNK]))
def test_an_array_and_its_views_survive_sharing_bit_for_bit(n, dtype, seed, chunk):
    array, rng = whole_pages(n, np.dtype(dtype)), np.random.default_rng(seed)
    array.view("u1")[:] = rng.integers(0, 256, array.nbytes)
    start = int(rng.integers(n))
    view, expected, address = array[start:], array.tobytes(), memory.address(array)
    before, memory.CHUNK = memory.CHUNK, chunk
    try:
        assert memory.can_share(array)
        first, second = memory.Sharing(array), memory.Sharing(array)
        for end in (first.close, second.close):
            assert array.tobytes() == expected and view.tobytes() == expected[start * array.itemsize:]
            view.view("u1")[0] ^= 255
            expected = expected[:start * array.itemsize] + bytes([view.view("u1")[0]]) + expected[start * array.itemsize + 1:]
            end()
        assert array.tobytes() == expected and memory.address(array) == address
    finally:
        memory.CHUNK = before


def test_only_the_array_s_own_pages_are_shared(monkeypatch):
    monkeypatch.setattr(memory, "CHUNK", 2 * PAGE)
    whole = np.frombuffer(mmap.mmap(-1, 4 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
    array, rest = whole[:3 * PAGE], whole[3 * PAGE:]
    memory.replace_pages(array, mmap.MAP_SHARED)
    assert is_written_by_a_child(array) and not is_written_by_a_child(rest)


def resident():
    """Bytes of memory that this process has touched and keeps."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE


def test_shared_memory_counts_for_a_process_only_once_it_touches_it():
    """Of moments, which a team splits, each member would otherwise keep all."""
    array = whole_pages(4 * memory.CHUNK, np.uint8)
    before = resident()
    sharing = memory.Sharing(array)
    shared = resident()
    assert shared - before < memory.CHUNK
    assert not array.any() and resident() - shared > 3 * memory.CHUNK
    sharing.close()


@examples(0.3)
@given(lengths)
def test_a_child_writes_into_the_parent_while_shared_and_not_before_nor_after(n):
    array = whole_pages(n, np.uint8)
    assert not is_written_by_a_child(array)
    first = memory.Sharing(array)
    second = memory.Sharing(array)
    assert is_written_by_a_child(array)
    first.close()
    assert is_written_by_a_child(array)
    del second
    gc.collect()
    assert not is_written_by_a_child(array) and memory.address(array) not in memory._users


def test_neighbours_in_memory_are_neither_shared_nor_moved():
    rows = [whole_pages(n, np.uint8) for n in (1, PAGE, PAGE + 1, 1)]
    for i, row in enumerate(rows):
        row[:] = i + 1
    sharing = memory.Sharing(rows[1])
    assert [is_written_by_a_child(row) for row in rows] == [False, True, False, False]
    sharing.close()
    assert [set(row.tolist()) for row in rows] == [{1}, {2}, {3}, {4}]


def test_only_pages_that_one_array_owns_whole_can_be_shared(tmp_path):
    base = whole_pages(4 * PAGE, np.uint8)
    owner = base.base
    tail = len(owner) - (memory.address(base) - memory.address(owner))      # to the owner's end
    assert memory.can_share(base) and memory.can_share(base[:5])
    assert memory.can_share(owner[len(owner) - tail:][:tail // PAGE * PAGE])
    file = np.memmap(tmp_path / "file", np.uint8, "w+", shape=PAGE)
    assert not memory.can_share(base[1:]) and not memory.can_share(base[::2])
    assert memory.can_share(owner[len(owner) - tail:]) == (tail % PAGE == 0)
    assert not memory.is_shared(file) and not memory.can_share(file)        # its pages are the file's


def test_where_the_system_has_no_more_memory_nothing_changes(monkeypatch):
    array = whole_pages(3 * PAGE, np.uint8)
    array[:] = 7

    class Full:
        def mmap(self, *_):
            return memory.FAILED

    monkeypatch.setattr(memory, "libc", Full)
    with pytest.raises(OSError, match="cannot share 12,288 bytes" if PAGE == 4096 else "cannot share"):
        memory.Sharing(array)
    monkeypatch.undo()
    assert (array == 7).all() and memory.address(array) not in memory._users
    assert not is_written_by_a_child(array)


def test_another_thread_always_reads_the_same():
    """Pages are filled before they are moved into place: no moment at which zeros are read."""
    array, wrong, done = whole_pages(64 * PAGE, np.uint8), [], threading.Event()
    array[:] = 1

    def read():
        while not done.is_set():
            wrong.extend(array[array != 1])

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(examples_of(50, 5000)):
        memory.Sharing(array).close()
    done.set()
    reader.join()
    assert wrong == []


# ---- a trainer's -----------------------------------------------------------------------------------

CONFIG = GPTConfig(vocab_size=7, block_size=4, n_layer=1, n_head=2, n_embd=4)
IDS = np.random.default_rng(0).integers(0, 7, (5, 4))


def make_trainer(kind=AdamW):
    model = GPT(CONFIG)
    return Trainer(model, kind(model.params, 0.01), threads=2)


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_weights_are_a_child_s_too_while_the_team_lives_only(kind):
    trainer = make_trainer(kind)
    arrays = [trainer.model.params.flat, trainer.grads.flat, *trainer.optimizer.arrays().values()]
    assert not any(map(is_written_by_a_child, arrays))
    trainer.step(IDS, IDS)
    values = [array.copy() for array in arrays]
    assert all(map(is_written_by_a_child, arrays))
    trainer.team().close()
    assert not any(map(is_written_by_a_child, arrays))
    assert all((a == b).all() for a, b in zip(arrays, values))


def test_a_team_collected_as_garbage_gives_the_weights_back():
    trainer = make_trainer()
    trainer.step(IDS, IDS)
    model = trainer.model
    trainer.cycle = trainer
    del trainer
    gc.collect()
    assert not is_written_by_a_child(model.params.flat)


def test_two_trainers_of_one_model_share_it_until_both_are_gone():
    model = GPT(CONFIG)
    one, two = (Trainer(model, SGD(model.params, 0.1), threads=2) for _ in range(2))
    alone = make_trainer(lambda params, _: SGD(params, 0.1))
    expected = [alone.step(IDS, IDS) for _ in range(4)]
    found = [one.step(IDS, IDS), two.step(IDS, IDS), one.step(IDS, IDS)]        # each goes on where the other was
    del one
    gc.collect()
    assert is_written_by_a_child(model.params.flat)
    assert [*found, two.step(IDS, IDS)] == expected
    del two
    gc.collect()
    assert not is_written_by_a_child(model.params.flat)


def test_a_child_trains_a_copy_of_its_own_in_one_call():
    trainer = make_trainer()
    trainer.step(IDS, IDS)
    before = [array.copy() for array in (trainer.model.params.flat, *trainer.optimizer.arrays().values())]

    def train():
        mine = copy.deepcopy(trainer)
        for _ in range(3):
            mine.step(IDS, IDS)
        assert (mine.model.params.flat != trainer.model.params.flat).any()

    assert in_child(train)
    after = (trainer.model.params.flat, *trainer.optimizer.arrays().values())
    assert all((a == b).all() for a, b in zip(before, after))
    undisturbed = make_trainer()
    undisturbed.step(IDS, IDS)
    assert trainer.step(IDS, IDS) == undisturbed.step(IDS, IDS)


def test_a_child_never_speaks_to_its_parent_s_workers():
    trainer = make_trainer()
    trainer.step(IDS, IDS)
    pids = list(trainer.team().pids)
    assert in_child(lambda: trainer.step(IDS, IDS))     # with workers of its own
    assert trainer.team().pids == pids
    trainer.step(IDS, IDS)
