"""Workers, as processes and as threads: the same results, whatever happens to one of them."""
import gc
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.training import memory, parallel
from minigpt_np.training.blas import openblas
from minigpt_np.training.optim import SGD, AdamW
from minigpt_np.training.trainer import Trainer

forks = pytest.mark.skipif(not memory.FORKS, reason="processes are not forked here")
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
        get_threads, _ = openblas()
        return get_threads and get_threads()

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


# ---- a team ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_each_member_does_its_part_and_keeps_what_it_knows(kind, n):
    team, board = team_of(kind, n)
    assert len(team) == n and team.alive
    first = team.call("write", 1, 2)
    second = team.call_each("write", [(10 * i,) for i in range(n)])
    assert [r[:2] for r in first] == [(i, 1) for i in range(n)]
    assert [r[:2] for r in second] == [(i, 2) for i in range(n)]
    assert [r[3] for r in second] == [(10 * i,) for i in range(n)]
    assert board.tolist() == [3 + 10 * i for i in range(n)]
    pids = [r[2] for r in first]
    assert pids[0] == os.getpid() and pids == [r[2] for r in second]
    assert len(set(pids)) == (n if kind is parallel.Processes else 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", [0, 1, 2])
def test_what_a_member_raises_is_raised(kind, who):
    team, _ = team_of(kind, 3)
    with pytest.raises(ZeroDivisionError, match="mine"):
        team.call("fail", who, ZeroDivisionError("mine"))
    assert team.alive == (kind is parallel.Threads)
    if not team.alive:
        with pytest.raises(RuntimeError, match="the workers have ended"):
            team.call("write")


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
def test_an_error_in_a_process_tells_where():
    team, _ = team_of(parallel.Processes, 2)
    with pytest.raises(KeyError) as caught:
        team.call("fail", 1, KeyError("x"))
    assert "in fail" in str(caught.value.__cause__) and "raise error" in str(caught.value.__cause__)
    team, _ = team_of(parallel.Processes, 2)
    with pytest.raises(Exception, match="pickle|local object"):     # Python 3.13 names the object instead
        team.call("cannot_be_sent")


BREAKPOINTS = """if True:
    import os, pdb, sys
    from minigpt_np.training import parallel

    class Member:
        def __init__(self, name):
            self.name = name

        def stop(self, how):
            if self.name:
                breakpoint() if how == "breakpoint" else pdb.set_trace()

        def read(self, who):
            return (os.read(0, 9), sys.stdin.read()) if who == self.name else None

    for how in ("breakpoint", "set_trace"):
        try:
            parallel.Processes([Member(0), Member(1)]).call("stop", how)
        except RuntimeError as error:
            print(error)
    team = parallel.Processes([Member(0), Member(1)])
    print(team.call("read", 1)[1], team.call("read", 0)[0])
    os.environ["PYTHONBREAKPOINT"] = "0"        # by which breakpoint() does nothing
    print(parallel.Processes([Member(0), Member(1)]).call("stop", "breakpoint"))
"""


@forks
def test_a_breakpoint_in_a_process_is_an_error_that_says_what_to_do_and_takes_nothing_from_the_keyboard():
    done = subprocess.run([sys.executable, "-c", BREAKPOINTS], input="for the parent\n", capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(Path(parallel.__file__).parents[2])})
    assert done.returncode == 0 and "(Pdb)" not in done.stdout and done.stderr == "", done.stdout + done.stderr
    one, other, read, nothing = done.stdout.splitlines()
    assert one == other and "a breakpoint was reached in a worker process" in one and "threads=1" in one
    assert read == "(b'', '') (b'for the p', 'arent\\n')" and nothing == "[None, None]"


@forks
def test_no_line_is_traced_in_a_process():
    class Traced:
        def tracer(self):
            return sys.gettrace()

    def tracer(*_):
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        here, there = parallel.Processes([Traced(), Traced()]).call("tracer")
    finally:
        sys.settrace(before)
    assert here is tracer and there is None


@forks
@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="Python 3.12+")
def test_no_line_is_monitored_in_a_process():
    """Neither of all functions, nor of one with a breakpoint of its own."""
    monitoring, lines = sys.monitoring, []

    class Monitored:
        def lines(self):
            before = len(lines)
            also_watched()
            return len(lines) > before

    def also_watched():
        return 1

    LINE = monitoring.events.LINE
    monitoring.use_tool_id(monitoring.DEBUGGER_ID, "test")
    monitoring.register_callback(monitoring.DEBUGGER_ID, LINE, lambda *where: lines.append(where))
    try:
        for watch in (lambda events: monitoring.set_local_events(monitoring.DEBUGGER_ID, also_watched.__code__, events),
                      lambda events: monitoring.set_events(monitoring.DEBUGGER_ID, events)):
            watch(LINE)
            assert parallel.Processes([Monitored(), Monitored()]).call("lines") == [True, False]
            watch(0)
    finally:
        monitoring.register_callback(monitoring.DEBUGGER_ID, LINE, None)
        monitoring.free_tool_id(monitoring.DEBUGGER_ID)


@forks
def test_processes_use_one_blas_thread_each():
    team, _ = team_of(parallel.Processes, 3)
    assert team.call("blas")[1:] in ([1, 1], [None, None])


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

    program = ("import time; from test_parallel import *; team, _ = team_of(parallel.Processes, 3); "
               "other, _ = team_of(parallel.Processes, 2); print(*team.pids, *other.pids, flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=os.path.dirname(__file__)) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
        assert len(pids) == 3 and all(map(gone, pids))


def test_what_is_not_shared_is_for_threads():
    board, shareable = memory.zeros(3, np.float32), Parameters(config()).flat
    assert board.tolist() == [0, 0, 0] and board.dtype == np.float32
    members = [Member(i, board) for i in range(2)]
    assert type(parallel.team(members, [shareable])) is (parallel.Processes if memory.FORKS else parallel.Threads)
    assert type(parallel.team(members, [shareable, np.zeros(9)])) is parallel.Threads       # not a page of its own
    assert type(parallel.team(members[:1], [])) is parallel.Threads                         # alone: plain calls


# ---- a trainer's -------------------------------------------------------------------------------------

def config(tie=True):
    return GPTConfig(vocab_size=7, block_size=4, n_layer=2, n_head=2, n_embd=4, tie_embeddings=tie)


def trainer_of(kind=AdamW, tie=True, **options):
    model = GPT(config(tie), 0, np.float64)
    return Trainer(model, kind(model.params, 0.01), **options)


IDS = np.random.default_rng(0).integers(0, 7, (5, 4))


@given(threads=st.integers(1, 4), micro_batches=st.integers(1, 2),
       processes=st.booleans(), tie=st.booleans(), kind=st.sampled_from([AdamW, SGD]))
def test_workers_of_every_kind_take_the_same_step(threads, micro_batches, processes, tie, kind):
    """Processes or threads: alone and together, the same to rounding."""
    alone = trainer_of(kind, tie, threads=1, micro_batches=micro_batches)
    expected = [alone.step(IDS, IDS) for _ in range(3)]
    before = memory.FORKS
    memory.FORKS = before and processes
    try:
        runs = []
        for _ in range(2):
            trainer = trainer_of(kind, tie, threads=threads, micro_batches=micro_batches)
            runs.append([trainer.step(IDS, IDS) for _ in range(3)])
            if threads > 1:
                assert type(trainer.team()) is (parallel.Processes if memory.FORKS else parallel.Threads)
    finally:
        memory.FORKS = before
    np.testing.assert_allclose(runs[0], expected, rtol=1e-12)
    # AdamW divides by sqrt(v), so a gradient near 0 counts as much as a large one
    np.testing.assert_allclose(trainer.model.params.flat, alone.model.params.flat, rtol=1e-9, atol=1e-9)
    assert runs[0] == runs[1]


def test_a_step_sees_what_was_changed_since_the_last():
    one, two = trainer_of(threads=1), trainer_of(threads=2)
    for change in ({}, {"lr": 0.1}, {"weight_decay": 0.5}, {"betas": (0.5, 0.6)}, {"eps": 0.1}, {"steps": 50}):
        for trainer in (one, two):
            vars(trainer.optimizer).update(change)
            trainer.model.params.E[0] += 0.25
            trainer.step(IDS, IDS)
        np.testing.assert_allclose(two.model.params.flat, one.model.params.flat, rtol=1e-9, atol=1e-9)


def test_another_model_or_optimizer_gets_workers_of_its_own():
    trainer = trainer_of(threads=2)
    for model in (trainer.model, GPT(config(), 1, np.float64)):
        team = trainer.team()
        assert trainer.team() is team
        trainer.model, trainer.optimizer = model, SGD(model.params, 0.1)
        assert trainer.team() is not team
        before = model.params.flat.copy()
        _, norm = trainer.step(IDS, IDS)
        moved = np.linalg.norm(model.params.flat - before)
        assert moved == pytest.approx(0.1 * min(1, norm), rel=1e-4)
    trainer.threads = 3
    assert len(trainer.team()) == 3


@forks
def test_after_a_worker_was_killed_the_next_step_has_new_ones():
    trainer, undisturbed = trainer_of(threads=3), trainer_of(threads=3)
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

@pytest.fixture
def says_it_again():
    parallel.say_once.cache_clear()
    yield
    parallel.say_once.cache_clear()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not say which cores may be used")
def test_without_a_debugger_there_is_a_thread_for_each_core_that_may_be_used(capsys):
    assert parallel.cores() == len(os.sched_getaffinity(0)) and parallel.worker_count(3) == 3
    assert parallel.worker_count(None) == min(32, parallel.cores())
    assert capsys.readouterr().err == ""


def test_there_are_more_than_32_workers_only_when_asked_for(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 64)
    assert parallel.worker_count(None) == 32 and parallel.worker_count(64) == 64


def test_under_a_debugger_there_is_one_unless_more_are_asked_for_and_it_says_so_once(capsys, says_it_again):
    sys.settrace(lambda *_: None)
    try:
        found = parallel.worker_count(None), parallel.worker_count(None), parallel.worker_count(3)
    finally:
        sys.settrace(None)
    assert found == (1, 1, 3)
    assert capsys.readouterr().err.count("A debugger is attached, so one thread does all the work") == 1


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="Python 3.12 has it")
def test_a_debugger_that_monitors_is_one_too(says_it_again):
    sys.monitoring.use_tool_id(sys.monitoring.DEBUGGER_ID, "a debugger")
    try:
        assert parallel.worker_count(None) == 1
    finally:
        sys.monitoring.free_tool_id(sys.monitoring.DEBUGGER_ID)
