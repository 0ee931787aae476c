"""demos/exercises/check.py as a learner and a teacher see it: what it prints, writes, survives and
refuses."""
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

import check
import learners
from checker import files, show, training, verdict
from checker.cases import near, small_cases
from checker.exercises import EXERCISES as ALL
from checker.exercises import TABLE
from checker.files import NAMES
from learners import changed
from learners.right import OTHER_STYLES

EXERCISES = Path(check.__file__).resolve().parent
LOST = changed("lookup", "np.add.at(dE, ids, dx)", "dE[ids] += dx")


@pytest.fixture(autouse=True)
def no_learners_module_stays():
    with patch.dict(sys.modules), patch.object(sys, "path", [*sys.path]):
        yield


@pytest.fixture
def folder(tmp_path):
    """A learner's folder, all as it was given."""
    files.start(tmp_path)
    return tmp_path


def printed(capsys, folder, *arguments):
    status = check.main([*arguments, "--folder", str(folder)])
    text = capsys.readouterr().out
    assert all(len(line) <= 102 for line in text.splitlines()), text
    return status, text


def told(name, *edits):
    """What is said about an answer that is examined in this process."""
    found = learners.verdict_on(name, changed(name, *edits))
    return "\n".join(show.verdict_lines(found))


def plain(*names):
    return {name: learners.PLAIN[name] for name in names}


def states(text):
    """name -> state, of the lines of an overview."""
    return {line.split()[1]: line[20:36].strip() for line in text.splitlines()
            if line[:3].strip().isdigit()}


# ---- what is said --------------------------------------------------------------------------------

def test_the_overview_says_which_are_done_on_any_terminal(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    learners.write(folder, **plain("linear"), lookup=LOST)
    (folder / "causal.py").unlink()             # the template takes its place
    status, text = printed(capsys, folder)
    assert status == 1 and "Next: open slope.py" in text and text.count("--watch") == 1
    assert states(text) == dict.fromkeys(NAMES, "not written yet") | dict(linear="done",
                                                                          lookup="wrong")
    assert all(len(line) <= 40 or "--watch" in line for line in text.splitlines()), text


def test_all_done_is_exit_status_0(folder, capsys, monkeypatch):
    monkeypatch.setattr(check, "EXERCISES", ALL[:4])
    monkeypatch.setattr(files, "NAMES", NAMES[:4])
    learners.write(folder, **plain(*NAMES[:4]))
    status, text = printed(capsys, folder)
    assert status == 0 and "All done" in text and "Next" not in text


def test_the_smallest_input_is_printed_by_name_or_file(folder, capsys):
    learners.write(folder, **plain("linear"), lookup=LOST)
    status, text = printed(capsys, folder, str(folder / "lookup.py"))
    assert status == 1 and "lookup: wrong." in text
    assert re.search(r"ids \(1, 2\) +\[\[0 0\]\]", text) and "loses repeated ids" in text
    assert re.search(r"dE expected +\[\[-0.1\]\]\n +dE given +\[\[0.1\]\]", text)
    status, text = printed(capsys, folder, "linear")
    assert status == 0 and "linear: done" in text
    assert "The package's minigpt_np.layers.linear, backward:" in text


def test_what_is_printed_on_the_smallest_input_is_shown():
    text = told("gelu", "return dy *", "print('x is', x)\n    return -dy *")
    assert "gelu printed on this input:\n  x is [[" in text and "wrong sign" in text


def test_arrays_of_other_shapes_are_not_taken_for_the_same():
    assert near(np.ones(2), np.ones(2)) and not near(np.ones(2), np.ones((1, 2)))


@pytest.mark.parametrize("name, old, new, first", [
    ("block", "gelu.backward(dactive, hidden)", "dactive", "✗ dhidden "),
    ("block", "layernorm.backward(da2, x2,", "layernorm.backward(da2, x,", '✗ dw["gain2"]'),
    ("block", "dx2 = dy + dmlp", "dx2 = dmlp", "✗ dx2 "),
    ("block", 'layernorm.backward(da2, x2, w["gain2"]', 'layernorm.backward(da2, x2, w["gain1"]',
     "✗ dx2 "),
    ("model", "targets.ravel()", 'targets.ravel("F")', "✗ dlogits "),
    ("model", "reshape(B, T, D), ids", "reshape(T, B, D).swapaxes(0, 1), ids", "✗ dx0 "),
])
def test_of_what_is_made_of_others_every_gradient_on_the_way_is_marked(monkeypatch, name, old, new,
                                                                       first):
    cases = [case for case in small_cases(TABLE[name]) if case.sizes["B"] == 2]
    monkeypatch.setattr(verdict, "smallest", lambda failed, function: next(
        case for case in cases if not verdict.judge(case, function).done))
    text = told(name, old, new)
    assert "get them right first" in text and "--debug prints it" in text
    assert "w[\"W_up\"] (" not in text
    assert text.count("  · ") == (new == "dactive")         # where gelu.backward is not called
    marks = [line.strip() for line in text.splitlines() if line.startswith(("  ✓", "  ✗"))]
    wrong = next(i for i, line in enumerate(marks) if line[0] == "✗")
    assert wrong > 0 and all(line[0] == "✓" for line in marks[:wrong])
    assert marks[wrong].startswith(first.strip())
    name = first.strip("✗ ")
    assert f"The first that is wrong is {name}" in text and f"\n  {name} expected" in text


@pytest.mark.parametrize("answer, dots", [
    (OTHER_STYLES["block, all written out"].replace("return d + da", "return da"), 8),
    (changed("block", 'linear.backward(dhidden, a2, w["W_up"], w["b_up"])',
             '(dhidden @ w["W_up"].T, a2.T @ dhidden, dhidden.sum(axis=0))',
             "dx = dx2 + dattention", "dx = dattention"), 4),
], ids=["none is called", "linear is called three times of four"])
def test_a_piece_that_is_not_called_has_no_mark(monkeypatch, answer, dots):
    monkeypatch.setattr(verdict, "smallest", lambda failed, function: failed)
    found = learners.verdict_on("block", answer)
    text = "\n".join(show.verdict_lines(found, unfolded=True))
    assert 'w["W_up"] (' in text and "· dqkv" in text and text.count("  · ") == dots
    assert '✓ dw["W_qkv"]' in text and "✗ dx " in text


def test_what_it_is_made_of_is_the_learners(folder, capsys):
    learners.write(folder, **plain("gelu", "layernorm", "causal", "block"))
    assert "It is up to you: linear.py, `backward`." in printed(capsys, folder, "block")[1]


# ---- whatever an answer does ---------------------------------------------------------------------

@pytest.mark.parametrize("old, new, sentence", [
    ("return dy", "while True:\n        pass\n    return dy", "was still running after 0.3 s"),
    ("return dy", "import os\n    os._exit(3)\n    return dy",
     "The program ended, with exit code 3"),
    ("return dy", "import pdb\n    pdb.Pdb().set_trace()       # pytest has its own breakpoint()\n"
                  "    return dy", "BdbQuit"),
    ("    return dy", "    return dy +", "SyntaxError: invalid syntax (gelu.py,"),
    ("def backward", "def backwards", "gelu.py has no function backward."),
    ("def backward", "1 / 0\n\n\ndef backward", "gelu.py raised an error. gelu.py, line 20: 1 / 0"),
])
def test_whatever_an_answer_does_is_told_in_a_sentence(folder, capsys, monkeypatch, old, new,
                                                       sentence):
    monkeypatch.setattr(verdict, "SECONDS", 0.3 if "while" in new else 60)
    learners.write(folder, gelu=changed("gelu", old, new))
    status, text = printed(capsys, folder, "gelu")
    assert status == 1 and sentence in " ".join(text.split())


@pytest.mark.parametrize("name, old, new, sentence", [
    ("gelu", "return dy", "dy", "backward returned no array dx: dx is None."),
    ("gelu", "return dy", "exit()\n    return dy", "SystemExit"),
    ("gelu", "return dy", "return 1j * dy", "dx holds complex128"),
    ("gelu", "return dy", "return x[..., None] * dy[..., None]", "dx has shape"),
    ("gelu", "return dy", "x += 1\n    return dy", "backward changed its argument x"),
    ("gelu", "return dy *", "global kept\n    kept = globals().get('kept', 0) + 1\n    return kept "
                            "* dy *",
     "does not always give the same answer"),
    ("gelu", "(dy, x)", "(dy)", "takes 1 positional argument but 2 were given"),
    ("slope", "    for i in range(len(x)):\n",
     "    for i in range(len(x)):\n        x[i] = x[i] + 1e-5 - 1e-5\n",
     "keep each number and put it back"),
    ("linear", "dy @ W.T", "W @ dy", "ValueError: matmul: Input operand 1 has a mismatch"),
    ("lookup", "np.add.at(dE, ids, dx)", "np.add.at(dE, ids + 9, dx)",
     "backward raised an error. lookup.py, line 23: IndexError:"),
    ("linear", "return dx, dW, db", "return dx, dW",
     "), expected dx, dW, db."),
    ("linear", "return dx, dW, db", "return dx, dW, db.tolist()",
     "backward returned no array db: db is ["),
    ("lookup", "np.zeros_like(E)", "np.zeros_like(E, dtype=ids.dtype)", "dE holds int64"),
    ("block", "return dx, dw", "return dx, {}",
     'backward returned no array dw["gain1"]: dw is {}.'),
    ("model", "return dp", "return {**dp, 'blocks': 0}", "dp is {'E': array("),
    ("tied", "dE += dlogits.T @ h", "dlogits *= 2\n    dE += dlogits.T @ h",
     "backward changed its argument dlogits"),
    ("slope", "return 3 * x * x - 2", "return 'x'", "derivative returned no number derivative"),
])
def test_invalid_return_values_are_explained(name, old, new, sentence, tmp_path):
    learners.write(tmp_path, **plain(name))
    sys.path.insert(0, str(tmp_path))               # as demos/exercises is: one's own are not read
    text = told(name, old, new)
    assert re.match(rf"{name}: wrong(, in `\w+`)?\.\n", text) and sentence in " ".join(text.split())
    assert "Traceback" not in text and "site-packages" not in text


# ---- options -------------------------------------------------------------------------------------

def test_reset_gives_the_file_back_and_keeps_the_learners(folder, capsys):
    learners.write(folder, **plain("gelu"))
    mine = (folder / "gelu.py").read_text(encoding="utf-8")
    assert "is now gelu.py.old" in printed(capsys, folder, "--reset", "gelu")[1]
    assert (folder / "gelu.py").read_bytes() == (files.TEMPLATES / "gelu.py").read_bytes()
    printed(capsys, folder, "--reset", "gelu")      # of a template nothing is kept
    assert (folder / "gelu.py.old").read_text(encoding="utf-8") == mine
    (folder / "model.py").unlink()
    printed(capsys, folder, "--reset", "model")
    assert (folder / "model.py").exists()


@pytest.mark.parametrize("name", NAMES)
def test_hints_are_three_and_graded(name, folder, capsys):
    for n, option in [(1, ["--hint"]), (2, ["--hint", "2"]), (3, ["--hint", "3"])]:
        text = printed(capsys, folder, name, *option)[1]
        assert f"Hint {n} of 3:" in text and f"Hint {n + 1}" not in text


def test_the_question_is_asked_before_the_first_line_is_written_and_not_again(folder, capsys,
                                                                              monkeypatch):
    answers = iter(["10", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    for stream in (check.sys.stdin, check.sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    typed, skipped = (printed(capsys, folder, "slope")[1] for _ in range(2))
    assert "Before you write it" in typed and "Before you write it" in skipped
    assert "It is 10. f'(2) =" in typed and "It is 10." not in skipped
    path = folder / "slope.py"
    given = path.read_text(encoding="utf-8")
    path.write_text(given.replace("raise NotImplementedError", "return 3 * x * x - 2", 1),
                    encoding="utf-8")
    text = printed(capsys, folder, "slope")[1]
    assert "Before you write it" not in text and "slope.py, `difference`" in text


def test_watch_checks_at_every_save(folder, capsys, monkeypatch):
    learners.write(folder, gelu=changed("gelu", "return dy", "return -dy"))
    saves = iter([lambda: learners.write(folder, **plain("gelu"))])

    def sleep(seconds):
        save = next(saves, None)
        if save is None:
            raise KeyboardInterrupt
        save()
        os.utime(folder / "gelu.py", (time.time() + 5, time.time() + 5))

    monkeypatch.setattr(check.time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        check.main(["gelu", "--watch", "--folder", str(folder)])
    text = capsys.readouterr().out
    assert text.index("gelu: wrong.") < text.index("gelu: done") and "Watching gelu." in text


def test_reports_for_a_teacher(folder, capsys):
    """Of a model, too, that is wrong on the smallest of all, which has no blocks."""
    learners.write(folder, **plain(*NAMES[1:]) | dict(
        lookup=LOST, model=changed("model", "targets.ravel()", 'targets.ravel("F")')))
    assert check.main(["--folder", str(folder), "--report", str(folder / "r.json")]) == 1
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    rows = {row["exercise"]: row for row in report["exercises"]}
    assert report["done"] == 10 and report["of"] == len(rows) == 13
    assert rows["model"]["fault"].startswith('dp["E"]'), rows["model"]
    assert rows["linear"]["passed"] and not rows["lookup"]["passed"]
    assert "loses repeated ids" in rows["lookup"]["diagnosis"][0]
    assert rows["lookup"]["fault"] == "dE is wrong." and rows["linear"]["fault"] == ""
    assert "slope.py, `derivative`" in rows["slope"]["fault"]
    assert "10 of 13 done" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, message", [
    (["softmaxx.py"], "argument exercise: invalid choice: 'softmaxx' (choose from"),
    (["--reset"], "no exercise given, expected one of slope, linear"),
    (["--hint"], "no exercise given"), (["--debug"], "no exercise given"),
    (["--folder", __file__], f"--folder: {__file__} given, expected an existing folder"),
])
def test_what_makes_no_sense_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        check.main(arguments)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_without_hypothesis_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(SystemExit, match="pip install hypothesis"):
        runpy.run_path(check.__file__)


def test_in_a_debugger_there_is_time_to_look(folder, capsys, monkeypatch):
    """Any tracer is one, as for the package: in the process of the answer, too."""
    monkeypatch.setattr(verdict, "SECONDS", 0.01)
    learners.write(folder, **plain("centring"))
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        status, text = printed(capsys, folder, "centring")
    finally:
        sys.settrace(before)
    assert status == 0, text
    assert printed(capsys, folder, "centring")[0] == 1


# ---- the end -------------------------------------------------------------------------------------

def test_the_learners_backward_passes_train_the_packages_gpt(folder, capsys, monkeypatch):
    """100 steps when it is done, 5 here."""
    monkeypatch.setattr(training, "STEPS", 5)
    monkeypatch.setattr(training, "documentation", lambda: "the quick brown fox " * 99)
    right = learners.right_piece("model").backward
    training.train_both(right)
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines() if line.strip()[:1].isdigit()]
    assert "D = 16" in text
    assert [row[0] for row in rows] == ["0", "4"] and all(float(row[3]) < 1e-9 for row in rows)
    assert float(rows[1][1]) < float(rows[0][1])
    training.train_both(lambda *arguments: (dp := right(*arguments)) | {"P": -dp["P"]})
    assert float(capsys.readouterr().out.splitlines()[-3].split()[3]) > 1e-3


def test_it_trains_once_the_model_is_right(folder, capsys, monkeypatch):
    trained = []
    monkeypatch.setattr(check, "train_both", trained.append)
    learners.write(folder, **plain(*NAMES))
    assert printed(capsys, folder, "model")[0] == 0 and len(trained) == 1


# ---- as programs ---------------------------------------------------------------------------------

def program(*arguments, **options):
    env = dict(os.environ, PYTHONPATH=str(EXERCISES.parents[1]), **options.pop("env", {}))
    return subprocess.run([sys.executable, *map(str, arguments)], env=env, capture_output=True,
                          text=True, encoding="utf-8", **options)


def test_as_a_program_it_puts_the_files_beside_itself(tmp_path):
    for name in ("exercises", "lib"):
        shutil.copytree(EXERCISES.parent / name, tmp_path / "demos" / name,
                        ignore=shutil.ignore_patterns(*(f"{name}.py" for name in NAMES)))
    shutil.copytree(files.TEMPLATES, tmp_path / "demos/exercises/templates", dirs_exist_ok=True)
    found = program(tmp_path / "demos/exercises/check.py", "gelu", cwd=tmp_path)
    assert found.returncode == 1 and found.stderr == ""
    assert "13 files for you to write in" in found.stdout
    assert all((tmp_path / f"demos/exercises/{name}.py").exists() for name in NAMES)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demos"]


def test_pytest_alone_grades_a_folder(folder):
    learners.write(folder, **plain("tied"), lookup=LOST)
    found = program("-m", "pytest", "-p", "no:cacheprovider", "--assert=plain", "-k",
                    "tied or lookup", EXERCISES / "grade.py",
                    cwd=EXERCISES.parents[1], env={"EXERCISES_FOLDER": str(folder)})
    assert "1 failed, 1 passed" in found.stdout and "loses repeated ids" in found.stdout
    assert "Traceback" not in found.stdout


def test_a_folder_that_is_not_there_is_not_graded(monkeypatch):
    monkeypatch.setenv("EXERCISES_FOLDER", __file__)
    with pytest.raises(pytest.exit.Exception, match="EXERCISES_FOLDER: .* given, expected an exis"):
        runpy.run_path(str(EXERCISES / "grade.py"))


def test_debug_stops_in_the_learners_function_on_the_smallest_input(folder, capsys, monkeypatch):
    learners.write(folder, lookup=LOST)
    monkeypatch.setattr(sys, "stdin", StringIO("p ids.tolist()\nc\n"))
    status, text = printed(capsys, folder, "lookup", "--debug")
    assert status == 1 and "[[0, 0]]" in text and "T = ids.shape[1]" in text
    (folder / "gelu.py").write_text("def backward(", encoding="utf-8")
    status, text = printed(capsys, folder, "gelu", "--debug")
    assert status == 1 and "SyntaxError" in text and "pdb" not in text


def test_solving_the_exercises_touches_nothing_that_is_tracked():
    ignored = (EXERCISES / ".gitignore").read_text(encoding="utf-8").split()
    assert "/*.py" in ignored and "!/check.py" in ignored
    tracked = {path.name for path in EXERCISES.glob("*.py")} - {f"{name}.py" for name in NAMES}
    assert tracked == {"check.py", "grade.py"}
    assert {path.stem for path in files.TEMPLATES.glob("*.py")} == set(NAMES)
