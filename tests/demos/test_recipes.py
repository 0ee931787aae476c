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
README, DEMOS, LAUNCH = ((ROOT / name).read_text(encoding="utf-8") for name in
                         ("README.md", "demos/README.md", ".vscode/launch.json"))
RECIPES = dict(re.findall(r"    python -m pdb (.+)\n((?:    .+\n)+)", README + DEMOS))
CONFIGURATIONS = {one["name"]: one for one in json.loads(LAUNCH)["configurations"]}


def pdb(arguments, commands):
    """What `python -m pdb` prints when these commands are typed."""
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "HOME": os.devnull}
    done = subprocess.run([sys.executable, "-m", "pdb", *arguments], cwd=ROOT, text=True,
                          input="\n".join(commands) + "\n", capture_output=True, encoding="utf-8",
                          env=os.environ | environment)
    assert "***" not in done.stdout and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("program", RECIPES)
def test_a_recipe_typed_literally_shows_what_it_says(program):
    """Under each command stand some of the lines that pdb answers with, in their order."""
    session = RECIPES[program].replace("\n    ", "\n").split("(Pdb) ")[1:]
    commands = [part.splitlines()[0] for part in session]
    output = pdb(program.split(), commands)
    answers = output.split("(Pdb) ")[1:]
    assert len(answers) == len(commands), output
    for part, answer in zip(session, answers):
        command, *said = part.splitlines()
        rest = iter(answer.splitlines())
        assert all(line.strip() in map(str.strip, rest) for line in said), (command, said, answer)
    assert output.count("[old: ") == RECIPES[program].count("[old: ")      # no other change of dE


def test_the_page_is_stepped_through_line_by_line():
    command, = re.findall("    python -m pdb (-c .+)\n", README)
    output = pdb(shlex.split(command), ["next", "", "", "quit"])
    lines, first = inspect.getsourcelines(one_page.loss_and_gradient)
    at = [int(n) - first for n in re.findall(r"one_page.py\((\d+)\)loss_and_gradient", output)]
    assert "E, P" in lines[2]
    assert list(dict.fromkeys(at))[:3] == [2, 3, 4]     # Python 3.12 stops twice at a comprehension


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_names_files_and_laws_that_are_there(name):
    paths = re.findall(r"\$\{workspaceFolder\}/([\w./]+)", json.dumps(CONFIGURATIONS[name]))
    paths += [f"minigpt_np/{layer}" for layer in re.findall(r"layers/\w+\.py", name)]
    assert paths and all((ROOT / path).is_file() for path in paths)
    if CONFIGURATIONS[name].get("module") == "pytest":
        _, expression, _ = CONFIGURATIONS[name]["args"]
        layer, law = expression.split(" and ")
        source = (ROOT / paths[0]).read_text(encoding="utf-8")
        assert len(re.findall(rf"def test_\w*{law}", source)) == 1 and layer in LAYERS
