"""The exercises as pytest's tests, one each, for whatever runs pytest and reads what it says.

    python -m pytest demos/exercises/grade.py
    EXERCISES_FOLDER=answers python -m pytest demos/exercises/grade.py --junitxml=grades.xml

A failure's message is what check.py prints: the smallest input, expected and given, the mistake's
name.
"""
import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from checker import files, show      # noqa: E402
from checker.verdict import verdicts      # noqa: E402

FOLDER = Path(os.environ.get("EXERCISES_FOLDER", files.HERE))
if not FOLDER.is_dir():
    pytest.exit(f"EXERCISES_FOLDER: {FOLDER} given, expected an existing folder", returncode=2)


@pytest.mark.parametrize("name", files.NAMES)
def test_exercise(name):
    found, = verdicts([name], FOLDER)
    if not found.done:
        pytest.fail("\n".join(show.verdict_lines(found)), pytrace=False)
