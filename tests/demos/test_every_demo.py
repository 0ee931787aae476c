"""What holds for all of them."""
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_OPTIONS = {"one_page.py", "clock.py"}
DEMOS = sorted(path for path in (ROOT / "demos").glob("*.py") if path.name not in WITHOUT_OPTIONS)
HELP = """
import contextlib, io, json, runpy, sys
statuses = {}
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_path(path, run_name="__main__")
    except BaseException as error:
        statuses[path] = error.code if isinstance(error, SystemExit) else repr(error)
print(json.dumps(statuses))
"""


@pytest.mark.parametrize("demo", [*DEMOS, ROOT / "demos" / "exercises" / "check.py"], ids=lambda path: path.stem)
def test_help_fits_80_columns(demo, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", [str(demo), "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(demo), run_name="__main__")
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and text.count("\n") > 10
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_help_without_docstrings():
    """-OO leaves no __doc__ to take a description from."""
    demos = [str(path) for path in DEMOS]
    run = subprocess.run([sys.executable, "-OO", "-c", HELP, *demos], capture_output=True, text=True,
                         env={"PYTHONPATH": f"{ROOT}:{ROOT / 'demos'}", "LC_ALL": "C"})
    assert json.loads(run.stdout) == dict.fromkeys(demos, 0), run.stderr
