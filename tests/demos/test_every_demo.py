"""What holds for all of them."""
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMOS = sorted((ROOT / "demos").glob("*.py"))


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.name)
def test_help_in_the_plainest_locale_and_without_docstrings(path):
    """-OO leaves no __doc__ to take a description from; the C locale has no letters but ASCII's."""
    run = subprocess.run([sys.executable, "-OO", path, "--help"], capture_output=True,
                         env={"PYTHONPATH": str(ROOT), "LC_ALL": "C"})
    assert run.returncode == 0 and run.stderr == b""
    assert run.stdout.startswith(b"usage: ")
