"""The READMEs' recipes for pdb, typed literally; .vscode's configurations."""
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import one_page
from layer_strategies import LAYERS

ROOT = Path(__file__).resolve().parents[2]
README, DEMOS = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "demos/README.md"))
RECIPES = re.findall(r"    python -m pdb (.+)\n((?:    .+\n)+)", README + DEMOS)
CONFIGURATIONS = json.loads((ROOT / ".vscode" / "launch.json").read_text(encoding="utf-8"))["configurations"]


# ---- the READMEs ---------------------------------------------------------------------------------

@pytest.mark.parametrize("program, session", RECIPES, ids=[program.split()[0] for program, _ in RECIPES])
def test_a_recipe_typed_literally_shows_what_it_says(program, session):
    """Under each command stand some of the lines that pdb answers with, in their order."""
    lines = [line.removeprefix("    ") for line in session.splitlines()]
    commands = [line.removeprefix("(Pdb) ") for line in lines if line.startswith("(Pdb) ")]
    done = subprocess.run(
        [sys.executable, "-m", "pdb", *program.split()], input="\n".join(commands) + "\n", capture_output=True,
        text=True, encoding="utf-8", cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "HOME": os.devnull})
    answers = [answer.splitlines() for answer in done.stdout.split("(Pdb) ")[1:]]
    assert len(answers) == len(commands), done.stdout
    assert "***" not in done.stdout and "Traceback" not in done.stderr, done.stdout + done.stderr
    expected = "\n".join(lines).split("(Pdb) ")[1:]
    for command, said, answer in zip(commands, expected, answers):
        rest = iter(answer)
        for line in said.splitlines()[1:]:
            assert any(line == other for other in rest), f"after {command!r}, expected {line!r} in {answer}"
    assert done.stdout.count("[old: ") == session.count("[old: ")          # what is displayed changes nowhere else


def test_the_page_is_stepped_through_line_by_line():
    command, = re.findall("    (python -m pdb -c .+)\n", README)
    _, *arguments = shlex.split(command)
    done = subprocess.run([sys.executable, *arguments], input="next\n\n\nquit\n", capture_output=True, text=True,
                          encoding="utf-8", cwd=ROOT,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "HOME": os.devnull})
    lines, first = inspect.getsourcelines(one_page.loss_and_gradient)
    at = [int(number) - first for number in re.findall(r"one_page.py\((\d+)\)loss_and_gradient", done.stdout)]
    assert list(dict.fromkeys(at))[:3] == [2, 3, 4] and "E, P" in lines[2]      # Python 3.12 stops twice at a comprehension


# ---- Visual Studio Code --------------------------------------------------------------------------

@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=[c["name"].split(" (")[0] for c in CONFIGURATIONS])
def test_a_configuration_names_files_and_laws_that_are_there(configuration):
    paths = re.findall(r"\$\{workspaceFolder\}/([\w./]+)", json.dumps(configuration))
    paths += [f"minigpt_np/{name}" for name in re.findall(r"layers/\w+\.py", configuration["name"])]
    assert paths and all((ROOT / path).is_file() for path in paths)
    if configuration.get("module") == "pytest":
        _, expression, _ = configuration["args"]
        layer, law = expression.split(" and ")
        source = (ROOT / paths[0]).read_text(encoding="utf-8")
        assert len(re.findall(rf"def test_\w*{law}", source)) == 1 and layer in LAYERS
