"""Debugger support: a debugger can stop only in the main process."""
import bdb
import os
import sys

BREAKPOINT = ("a breakpoint was reached in a worker process, where a debugger cannot stop; "
              "with threads=1 (a demo's --threads 1) everything runs in this process")


def debugger_attached():
    """Whether something traces this thread line by line: pdb, an editor's debugger."""
    monitoring = getattr(sys, "monitoring", None)           # Python 3.12+
    by_monitoring = monitoring and monitoring.get_tool(monitoring.DEBUGGER_ID)
    return sys.gettrace() is not None or bool(by_monitoring)


def detach_debugger():
    """In a worker process: no line is traced, breakpoints raise RuntimeError, stdin is empty."""
    sys.settrace(None)
    monitoring = getattr(sys, "monitoring", None)
    if monitoring and monitoring.get_tool(monitoring.DEBUGGER_ID):
        for event in filter(None, vars(monitoring.events).values()):    # of all code or one's
            monitoring.register_callback(monitoring.DEBUGGER_ID, event, None)
    bdb.Bdb.set_trace = refuse_breakpoint               # pdb.set_trace()
    if os.environ.get("PYTHONBREAKPOINT") != "0":       # by which breakpoint() does nothing
        sys.breakpointhook = refuse_breakpoint
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdin = open(0, closefd=False)


def refuse_breakpoint(*_, **__):
    raise RuntimeError(BREAKPOINT)
