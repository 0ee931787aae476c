"""What the READMEs say can be run, runs; what they point to is there."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = [ROOT / room for room in ("demos", "minigpt_np", "tests")]
READMES = sorted(path.relative_to(ROOT) for path in [
    ROOT / "README.md", *(path for room in ROOMS for path in room.rglob("README.md"))])


@pytest.mark.parametrize("path", READMES, ids=str)
def test_every_link_and_every_test_that_is_named_is_there(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (ROOT / path.parent / target).exists(), target
    for file in re.findall(r"(?:tests|demos|minigpt_np)/[\w/]+\.py", text):
        assert (ROOT / file).exists(), file
    files = (ROOT / "tests").rglob("test_*.py")
    tests = "".join(file.read_text(encoding="utf-8") for file in files)
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in tests, name


def test_the_python_that_needs_nothing_else_runs():
    """From top to bottom, as in a notebook."""
    namespace = {}
    for path in READMES:
        text = (ROOT / path).read_text(encoding="utf-8")
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            if not re.search("FOLDER|CLONE|import torch|IPython", code):
                exec(compile(code, str(path), "exec"), namespace)
    assert {"check", "draw", "trainer"} <= namespace.keys()


def test_every_file_of_the_package_is_in_the_readme_s_tree():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree, = re.findall(r"```\n(minigpt_np/.*?)```", text, re.DOTALL)
    core = [*(ROOT / "minigpt_np").glob("*.py"), *(ROOT / "minigpt_np" / "layers").glob("*.py")]
    missing = {path.name for path in core if path.name not in tree}
    assert missing == {"__init__.py"}
