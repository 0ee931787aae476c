"""What holds for all of them."""
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[2] / "demos"
PROGRAMS = [path for path in sorted(DEMOS.glob("*.py"))
            if path.name not in ("one_page.py", "clock.py")]            # those have no options


@pytest.mark.parametrize("optimize", [0, 2], ids=["python", "python -OO"])
@pytest.mark.parametrize("path", [*PROGRAMS, DEMOS / "exercises" / "check.py"],
                         ids=lambda path: path.stem)
def test_help_fits_80_columns_and_needs_no_docstrings(path, optimize, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    program = compile(path.read_text(encoding="utf-8"), str(path), "exec", optimize=optimize)
    with pytest.raises(SystemExit) as stopped:
        exec(program, {"__name__": "__main__", "__file__": str(path)})
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and text.count("\n") > 5
    assert [line for line in text.splitlines() if len(line) > 80] == []
