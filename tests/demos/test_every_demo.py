"""What holds for all of them."""
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
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


def test_help_without_docstrings():
    """-OO leaves no __doc__ to take a description from."""
    demos = sorted(str(path) for path in (ROOT / "demos").glob("*.py") if path.name != "one_page.py")  # it has no options
    run = subprocess.run([sys.executable, "-OO", "-c", HELP, *demos], capture_output=True, text=True,
                         env={"PYTHONPATH": f"{ROOT}:{ROOT / 'demos'}", "LC_ALL": "C"})
    assert json.loads(run.stdout) == dict.fromkeys(demos, 0), run.stderr
