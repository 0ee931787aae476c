"""Workers, as processes and as threads: the same results, whatever happens to one of them."""
import gc
import json
import os
import pdb
import resource
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minigpt_np import GPT, GPTConfig
from minigpt_np.training import blas, memory, parallel
from minigpt_np.training.optim import SGD, AdamW
from minigpt_np.training.trainer import Trainer
from trainers import IDS, forks, in_child, make_trainer

KINDS = [parallel.Threads, pytest.param(parallel.Processes, marks=forks)]


class Member:
    def __init__(self, name, board):
        self.name, self.board, self.calls = name, board, 0

    def write(self, *values):
        self.calls += 1
        self.board[self.name] += sum(values)
        return self.name, self.calls, os.getpid(), values

    def fail(self, who, error):
        if self.name == who:
            raise error
        return self.name

    def blas(self):
        return blas.get_threads()

    def run(self, work):
        return work() if self.name else None

    def cannot_be_sent(self):
        return lambda: self.name if self.name else None


def team_of(kind, n):
    board = memory.zeros(n, np.float64)
    return kind([Member(i, board) for i in range(n)]), board


def gone(pid):
    """Whether the process ends within ten seconds."""
    for _ in range(1000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


# ---- a team --------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 3])
def test_each_member_does_its_part_and_keeps_what_it_knows(kind, n):
    team, board = team_of(kind, n)
    assert team.alive
    first, second = team.call("write", 1, 2), team.call("write", 10)
    assert [r[:2] for r in first] == [(i, 1) for i in range(n)]
    assert [r[:2] for r in second] == [(i, 2) for i in range(n)]
    assert [r[3] for r in first + second] == [(1, 2)] * n + [(10,)] * n
    assert board.tolist() == [13] * n
    pids = [r[2] for r in first]
    assert pids[0] == os.getpid() and pids == [r[2] for r in second]
    assert len(set(pids)) == (n if kind is parallel.Processes else 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", [0, 2])
def test_what_a_member_raises_is_raised(kind, who):
    team, _ = team_of(kind, 3)
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        team.call("fail", who, ZeroDivisionError("mine"))
    assert team.alive == (kind is parallel.Threads)
    if not team.alive:
        assert who == 0 or "in fail" in str(caught.value.__cause__)         # the worker's traceback
        with pytest.raises(RuntimeError, match="the workers have ended"):
            team.call("write")


@forks
def test_a_result_that_cannot_be_sent_is_an_error():
    team, _ = team_of(parallel.Processes, 2)
    with pytest.raises(Exception, match="pickle|local object"):     # Python 3.13 names the object
        team.call("cannot_be_sent")


def test_of_threads_all_have_finished_when_one_s_error_is_raised():
    class Waits:
        def __init__(self, name):
            self.name, self.done = name, False

        def work(self):
            if self.name == 0:
                raise ZeroDivisionError
            time.sleep(0.02)
            self.done = True

    members = [Waits(i) for i in range(3)]
    with pytest.raises(ZeroDivisionError):
        parallel.Threads(members).call("work")
    assert [member.done for member in members] == [False, True, True]


@forks
def test_a_breakpoint_in_a_process_is_an_error_and_takes_nothing_from_the_keyboard(monkeypatch):
    def run(work):
        return team_of(parallel.Processes, 2)[0].call("run", work)

    def child():
        os.dup2(keyboard, 0)
        for stop in (breakpoint, set_trace):
            with pytest.raises(RuntimeError, match="a breakpoint was reached in a.*threads=1"):
                run(stop)
        assert run(read) == [None, (b"", 0, "")] and os.read(0, 9) == b"for the p"
        os.environ["PYTHONBREAKPOINT"] = "0"            # by which breakpoint() does nothing
        assert run(breakpoint) == [None, None]

    keyboard, writer = os.pipe()
    os.write(writer, b"for the parent")
    monkeypatch.setattr(sys, "breakpointhook", sys.__breakpointhook__)          # it was pytest's
    monkeypatch.setenv("PYTHONBREAKPOINT", "builtins.print")    # a debugger that does not stop
    assert in_child(child)


def set_trace():
    pdb.Pdb().set_trace()           # as pdb.set_trace() does, which pytest replaces


def read():
    return os.read(0, 9), sys.stdin.fileno(), sys.stdin.read()


class Watched:
    def __init__(self, lines):
        self.lines = lines

    def run(self):
        """Whether a debugger adds to `lines` when a function runs."""
        before = len(self.lines)
        self.step()
        return len(self.lines) > before

    def step(self):
        return 1


def traced(lines):
    """Attach a debugger as pdb does -> a function that detaches it."""
    def tracer(*event):
        lines.append(event)
        return tracer

    sys.settrace(tracer)
    return lambda: sys.settrace(None)


def monitored(lines):
    """Attach one as Python 3.12's editors do, with a breakpoint in one function."""
    monitoring, tool = sys.monitoring, sys.monitoring.DEBUGGER_ID

    def detach():
        monitoring.set_local_events(tool, Watched.step.__code__, 0)
        monitoring.free_tool_id(tool)

    monitoring.use_tool_id(tool, "a debugger")
    monitoring.register_callback(tool, monitoring.events.LINE, lambda *line: lines.append(line))
    monitoring.set_local_events(tool, Watched.step.__code__, monitoring.events.LINE)
    return detach


DEBUGGERS = [traced, monitored] if hasattr(sys, "monitoring") else [traced]


@forks
@pytest.mark.parametrize("attach", DEBUGGERS)
def test_no_line_is_traced_in_a_process(attach):
    lines = []
    detach = attach(lines)
    try:
        found = parallel.Processes([Watched(lines), Watched(lines)]).call("run")
    finally:
        detach()
    assert found == [True, False]


@forks
def test_processes_use_one_blas_thread_each():
    team, _ = team_of(parallel.Processes, 2)
    assert team.call("blas")[1:] in ([1], [None])


@forks
def test_ctrl_c_is_for_the_process_that_asks():
    heard = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
    team, _ = team_of(parallel.Processes, 2)
    assert heard.isdisjoint(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(team.pids[0], number)
    assert [r[0] for r in team.call("write")] == [0, 1]
    with pytest.raises(KeyboardInterrupt):
        team.call("fail", 0, KeyboardInterrupt())
    assert not team.alive and all(map(gone, team.pids))


@forks
def test_a_process_that_was_killed_is_named():
    for when in ("before", "meanwhile"):
        team, _ = team_of(parallel.Processes, 3)
        os.kill(team.pids[1], signal.SIGKILL)
        if when == "before":
            assert gone(team.pids[1])
        with pytest.raises(RuntimeError, match=f"{team.pids[1]}.*ended without an answer"):
            team.call("write")
        assert not team.alive


@forks
def test_processes_end_where_the_system_waits_for_them():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        for killed in (False, True):
            team, _ = team_of(parallel.Processes, 2)
            if killed:
                os.kill(team.pids[0], signal.SIGKILL)
                assert gone(team.pids[0])
            team.close()
            assert gone(team.pids[0])
    finally:
        signal.signal(signal.SIGCHLD, before)


@forks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")       # a fork while there are threads
def test_processes_end_with_their_team_and_with_their_parent():
    team, other = team_of(parallel.Processes, 3)[0], team_of(parallel.Processes, 2)[0]
    pids = list(team.pids)
    assert len(pids) == 2
    del team
    gc.collect()
    assert all(map(gone, pids))
    for pid in pids:
        with pytest.raises(ChildProcessError):      # no zombie is left
            os.waitpid(pid, os.WNOHANG)
    assert [r[0] for r in other.call("write")] == [0, 1]

    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        teams = team_of(parallel.Processes, 3)[0], team_of(parallel.Processes, 2)[0]
        os.write(writer, bytes(str([*teams[0].pids, *teams[1].pids]), "ascii"))
        time.sleep(60)
    pids = json.loads(os.read(reader, 99))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert len(pids) == 3 and all(map(gone, pids))


# ---- a trainer's ---------------------------------------------------------------------------------

def test_a_step_sees_what_was_changed_since_the_last():
    """Settings that are NumPy's numbers become Python's, for workers and files."""
    one, two = (make_trainer(threads=threads, lr=0.01, dtype=np.float64) for threads in (1, 2))
    for name, plain, numpys in [
            ("lr", 0.25, np.float32(0.25)), ("weight_decay", 0.125, np.float64(0.125)),
            ("betas", (0.5, 0.75), (np.float32(0.5), np.float64(0.75))),
            ("eps", 0.5, np.float16(0.5)), ("steps", 50, np.uint8(50))]:
        for trainer, value in ((one, plain), (two, numpys)):
            setattr(trainer.optimizer, name, value)
            trainer.model.params.E[0] += 0.25
            trainer.step(IDS, IDS)
        np.testing.assert_allclose(two.model.params.flat, one.model.params.flat,
                                   rtol=1e-9, atol=1e-9)
    assert repr(two.optimizer.check()) == repr(one.optimizer.check())
    for change in [{"layer_norm_eps": 1.0}, {"n_head": 1}]:
        for trainer in one, two:
            trainer.model.config = replace(trainer.model.config, **change)
        assert two.step(IDS, IDS) == pytest.approx(one.step(IDS, IDS), rel=1e-9)


def test_another_model_or_optimizer_gets_workers_of_its_own():
    trainer, other = make_trainer(threads=2), make_trainer(seed=1)
    for model in (trainer.model, other.model):
        team = trainer.team()
        assert trainer.team() is team
        trainer.model, trainer.optimizer = model, SGD(model.params, 0.1)
        assert trainer.team() is not team
        before = model.params.flat.copy()
        _, norm = trainer.step(IDS, IDS)
        moved = np.linalg.norm(model.params.flat - before)
        assert moved == pytest.approx(0.1 * min(1, norm), rel=1e-4)
    trainer.threads = 3
    assert len(trainer.team().members) == 3


@forks
def test_after_a_worker_was_killed_the_next_step_has_new_ones():
    trainer, undisturbed = make_trainer(threads=3), make_trainer(threads=3)
    os.kill(trainer.team().pids[0], signal.SIGKILL)
    with pytest.raises(RuntimeError, match="ended without an answer"):
        trainer.step(IDS, IDS)
    assert trainer.step(IDS, IDS) == undisturbed.step(IDS, IDS)
    assert (trainer.model.params.flat == undisturbed.model.params.flat).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="another allocator")
def test_a_step_takes_no_new_memory_from_the_system():
    model = GPT(GPTConfig(vocab_size=50, block_size=64, n_layer=2, n_head=2, n_embd=64), 0)
    trainer = Trainer(model, AdamW(model.params), threads=1)
    ids = np.random.default_rng(0).integers(0, 50, (8, 64))
    faults = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        trainer.step(ids, ids)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    # the step's arrays are more than 10 MB: 2500 pages, each a fault if it were new
    assert faults[-1] < 250


# ---- how many ------------------------------------------------------------------------------------

def test_without_a_debugger_there_is_a_thread_for_each_core_that_may_be_used(capsys, monkeypatch):
    if hasattr(os, "sched_getaffinity"):
        assert parallel.cores() == len(os.sched_getaffinity(0))
    for cores in (1, 32, 64):
        monkeypatch.setattr(parallel, "cores", lambda: cores)
        assert parallel.worker_count(None) == min(cores, 32)
        assert parallel.worker_count(64) == 64
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("attach", DEBUGGERS)
def test_under_a_debugger_there_is_one_unless_more_are_asked_for_and_it_says_so_once(
        attach, capsys):
    parallel.say_once.cache_clear()
    detach = attach([])
    try:
        found = [parallel.worker_count(threads) for threads in (None, None, 3)]
    finally:
        detach()
    assert found == [1, 1, 3]
    assert capsys.readouterr().err.count("A debugger is attached, so one thread does all") == 1
