"""demos/exercises/check.py as a learner and a teacher see it: what it prints, writes, survives and
refuses."""
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import check
import learners
from checker import files, show, training, verdict
from checker.cases import random_case
from checker.exercises import EXERCISES as ALL
from checker.files import NAMES
from checker.teaching import LESSONS, predicted, typed_number

EXERCISES = Path(check.__file__).resolve().parent


@pytest.fixture(autouse=True)
def few_examples(monkeypatch):
    """Few small inputs, enough to see what is said."""
    monkeypatch.setattr(verdict, "EXAMPLES", 5)
    monkeypatch.setattr(verdict, "EXAMPLES_OF_MANY", 2)


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


def told(name, answer):
    """What is said about an answer that is examined in this process."""
    text = "\n".join(show.verdict_lines(check.TABLE[name], learners.verdict_on(name, answer)))
    assert all(len(line) <= 102 for line in text.splitlines()), text
    return text


def plain(*names, **changes):
    """Plain right answers to these exercises, and some with a text in them changed: name=(old,
    new)."""
    found = {name: learners.plain(name) for name in names}
    for name, (old, new) in changes.items():
        assert old in learners.plain(name)
        found[name] = learners.plain(name).replace(old, new, 1)
    return found


# ---- what is said --------------------------------------------------------------------------------

def test_the_overview_says_which_are_done(folder, capsys):
    learners.write(folder, **plain("linear", lookup=("np.add.at(dE, ids, dx)", "dE[ids] += dx")))
    status, text = printed(capsys, folder)
    rows = {line.split()[1]: line for line in text.splitlines() if line[:3].strip().isdigit()}
    assert "Next: open slope.py" in text and text.count("--watch") == 1
    assert status == 1 and tuple(rows) == NAMES and [int(line[:3]) for line
                                                     in rows.values()] == [*range(13)]
    assert rows["linear"].endswith(" done") and rows["lookup"].endswith(" wrong")
    assert all(rows[name].endswith("not written yet") for name in NAMES if name not
               in ("linear", "lookup"))


def test_all_done_is_exit_status_0(folder, capsys, monkeypatch):
    monkeypatch.setattr(check, "EXERCISES", ALL[:4])
    learners.write(folder, **plain(*NAMES[:4]))
    status, text = printed(capsys, folder)
    assert status == 0 and "All done" in text and "Next" not in text


def test_the_smallest_input_is_printed_by_name_number_or_file(folder, capsys):
    learners.write(folder, **plain("linear", lookup=("np.add.at(dE, ids, dx)", "dE[ids] += dx")))
    status, text = printed(capsys, folder, "lookup")
    assert status == 1 and "ids (1, 2)    [[0 0]]" in text and "dE expected" in text and "loses repeated ids" in text
    assert [check.named(name).name for name
            in ("2", "lookup.py", str(folder / "lookup.py"))] == ["lookup"] * 3
    status, text = printed(capsys, folder, "linear", "lookup")
    assert status == 1 and "linear: done." in text and "lookup: wrong." in text
    status, text = printed(capsys, folder, "1")
    assert status == 0 and "yours, linear.py" in text and "the package's, minigpt_np/layers/l" in text


def test_of_a_learners_error_only_the_own_line_is_shown(folder, capsys):
    learners.write(folder, **plain(lookup=("np.add.at(dE, ids, dx)", "np.add.at(dE, ids + 9, dx)")))
    status, text = printed(capsys, folder, "lookup")
    assert status == 1 and "np.add.at(dE, ids + 9, dx)" in text and "IndexError" in text
    assert "Traceback" not in text and "site-packages" not in text


def test_of_factors_that_do_not_fit_it_says_what_fits(folder, capsys):
    learners.write(folder, **plain(linear=("dy @ W.T", "W @ dy")))
    status, text = printed(capsys, folder, "linear")
    assert status == 1 and "ValueError: matmul" in text and "takes as many columns of A as B has rows" in text


def test_what_is_printed_on_the_smallest_input_is_shown(folder, capsys):
    learners.write(folder, **plain(gelu=("return dy *", "print('x is', x)\n    return -dy *")))
    status, text = printed(capsys, folder, "gelu")
    assert status == 1 and "gelu printed on this input:\n  x is [" in text and "wrong sign" in text


@pytest.mark.parametrize("name, old, new, first", [
    ("block", "gelu.backward(dactive, hidden)", "dactive", "✗ dhidden "),
    ("block", "layernorm.backward(da2, x2,", "layernorm.backward(da2, x,", "✗ x there"),
    ("block", "dx2 = dy + dmlp", "dx2 = dmlp", "✗ dx2 "),
    ("block", "[rows(dq), rows(dk)", "[rows(dk), rows(dq)", "✗ dqkv "),
    ("block", 'layernorm.backward(da2, x2, w["gain2"]', 'layernorm.backward(da2, x2, w["gain1"]',
     "✗ gain there"),
    ("model", "targets.ravel()", 'targets.ravel("F")', "✗ targets there"),
    ("model", "reshape(B, T, D), ids", "reshape(T, B, D).swapaxes(0, 1), ids", "✗ dx0 "),
])
def test_of_what_is_made_of_others_every_gradient_on_the_way_is_marked(monkeypatch, name, old, new,
                                                                       first):
    monkeypatch.setattr(verdict.Search, "smallest", lambda search: random_case(search.exercise, 0))
    text = told(name, *plain(**{name: (old, new)}).values())
    assert "--debug prints it" in text and "\n  w[" not in text
    marks = [line.strip() for line in text.splitlines() if line.startswith(("  ✓", "  ✗", "  ·"))]
    wrong = next(i for i, line in enumerate(marks) if line[0] == "✗")
    assert wrong > 0 and all(line[0] in "✓·" for line in marks[:wrong])
    assert marks[wrong].startswith(first.strip())


def test_what_it_is_made_of_comes_first(folder, capsys):
    learners.write(folder, **plain("gelu", "layernorm", "causal", "block",
                                   linear=("dy @ W.T", "2 * dy @ W.T")))
    assert "It is made of linear: get that right first." in printed(capsys, folder, "block")[1]
    files.reset("linear", folder)
    assert "It is up to you: linear.py, `backward`." in printed(capsys, folder, "block")[1]


# ---- whatever an answer does ---------------------------------------------------------------------

GELU = "return dy * ((1 + t) / 2 + x * (1 - t * t) / 2 * du)"


@pytest.mark.parametrize("name, old, new, sentence", [
    ("gelu", "return dy", "while True:\n        pass\n    return dy",
     "was still computing after 1 s"),
    ("gelu", "return dy", "import time\n    time.sleep(99)\n    return dy",
     "does it sleep, or wait"),
    ("gelu", "return dy", "import os\n    os._exit(3)\n    return dy",
     "ended in the middle of the question, with exit status 3"),
    ("gelu", "return dy", "import os\n    os.kill(os.getpid(), 9)\n    return dy",
     "in the middle of the question, by signal 9"),
    ("gelu", "return dy", "breakpoint()\n    return dy", "There is no keyboard here"),
    ("gelu", "return dy", "input()\n    return dy", "There is no keyboard here"),
    ("gelu", "    return dy", "    return dy +",
     "return dy + * ((1 + t) / 2 + x * (1 - t * t) / 2 * du) SyntaxError: invalid syntax (gelu.py,"),
    ("gelu", "def backward", "1 / 0\n\n\ndef backward",
     "gelu.py raised an error. gelu.py, line 20: 1 / 0"),
])
def test_whatever_an_answer_does_is_told_in_a_sentence(folder, capsys, monkeypatch, name, old, new,
                                                       sentence):
    monkeypatch.setattr(verdict, "CALL_SECONDS", 1)
    monkeypatch.setattr(verdict, "WAIT_SECONDS", 1 if "sleep" in new else 60)
    learners.write(folder, **plain(**{name: (old, new)}))
    status, text = printed(capsys, folder, name)
    assert status == 1 and sentence in " ".join(text.split())


@pytest.mark.parametrize("name, old, new, sentence", [
    ("gelu", "return dy", "dy", "backward returned None, expected dx: is there a return?"),
    ("gelu", "return dy", "yield dy", "dx is a generator"),
    ("gelu", "return dy", "exit()\n    return dy", "SystemExit"),
    ("gelu", "return dy", "raise KeyboardInterrupt\n    return dy", "KeyboardInterrupt"),
    ("gelu", GELU, "return dy.sum", "dx is a builtin_function_or_method, expected an array"),
    ("gelu", "return dy", "return 1j * dy", "dx holds complex128"),
    ("gelu", "return dy", "return x[..., None] * dy[..., None]", "dx has shape"),
    ("gelu", "return dy", "x += 1\n    return dy", "backward changed its argument x"),
    ("gelu", "return dy *", "global kept\n    kept = globals().get('kept', 0) + 1\n    return kept "
                            "* dy *",
     "does not always give the same answer"),
    ("gelu", "return dy *", "memo = globals().setdefault('memo', {})\n    return "
                            "memo.setdefault(x.shape, dy) *", "wrong"),
    ("gelu", "(dy, x)", "(dy)", "takes 1 positional argument but 2 were given"),
    ("gelu", "def backward(dy, x):", "backward = 3\n\n\ndef other(dy, x):", "not callable"),
    ("slope", "    for i in range(len(x)):\n",
     "    for i in range(len(x)):\n        x[i] = x[i] + 1e-5 - 1e-5\n",
     "keep the number itself, and put that back"),
    ("linear", "return dx, dW, db", "return dx, dW",
     "backward returned a tuple of 2, expected dx, dW, db"),
    ("linear", "return dx, dW, db", "return dx, dW, None",
     "db is None, expected an array of shape"),
    ("linear", "return dx, dW, db", "return dx, [[1, 2], [3]], db", "dW is a list of 2, expected an array"),
    ("linear", "return dx, dW, db", "return dx, dW.astype('f4'), db", "dW holds float32"),
    ("causal", "return dq, dk, dv", "return np.stack([dq, dk, dv])",
     "backward returned one array of shape (3,"),
    ("lookup", "np.zeros_like(E)", "np.zeros_like(E, dtype=ids.dtype)", "dE holds int64"),
    ("block", "return dx, dw", "return dx, {}",
     "dw is a dict of nothing, expected a dict of gain1, bias1"),
    ("model", "return dp", "return {**dp, 'blocks': 0}",
     'dp["blocks"] is a int, expected a list of'),
    ("tied", "dE += dlogits.T @ h", "dlogits *= 2\n    dE += dlogits.T @ h",
     "backward changed its argument dlogits"),
    ("slope", "return 3 * x * x - 2", "return None",
     "derivative returned None, expected derivative"),
    ("slope", "max(1, np.abs(right).max())\n", "max(1, np.abs(right).max()) and 'yes'\n", "agrees"),
])
def test_invalid_return_values_are_explained(name, old, new, sentence):
    text = told(name, *plain(**{name: (old, new)}).values())
    assert re.match(rf"{name}: wrong(, in `\w+`)?\.\n", text) and sentence in " ".join(text.split())


@pytest.mark.parametrize("name, old, new, sentence", [
    ("linear", "dx = dy", "dy *= 1.0\n    dx = dy", ""),
    ("linear", "dW = x.T @ dy", "dW = np.round(x.T @ dy, 8)", "right for numbers of one decimal"),
    ("gelu", "return dy *", "return dy.ravel('K').reshape(dy.shape) *",
     "right for arrays that lie in memory as new"),
    ("gelu", "dy * ((1 + t) / 2 +", "dy * (forward(x) / x +", "right where no number is 0"),
    ("gelu", "t = np.tanh(C * (x + A * x * x * x))",
     "e = np.exp(2 * C * (x + A * x * x * x))\n    t = (e - 1) / (e + 1)",
     "does an exp overflow"),
    ("cross_entropy", "logits - logits.max(axis=1, keepdims=True)", "logits",
     "does an exp overflow"),
    ("layernorm", "(centred * centred).mean(axis=1, keepdims=True)",
     "(x * x).mean(axis=1, keepdims=True) - x.mean(axis=1, keepdims=True) ** 2",
     "right for rows near 0"),
    ("layernorm", "+ EPS)", "+ EPS * (np.ptp(x, axis=1, keepdims=True) > 0))",
     "where a row's numbers differ"),
    ("model", "return dp", "dp['P'] = dp['P'] * len(p['blocks'] or [0, 0]) / max(1, "
                           "len(p['blocks']))\n    return dp",
     ""),
])
def test_what_is_said_of_an_edge_case_is_what_it_is(name, old, new, sentence):
    """Of one that writes where it may not, nothing is said of its zeros: the numbers have no part
    in it."""
    text = " ".join(told(name, *plain(**{name: (old, new)}).values()).split())
    assert text.startswith(f"{name}: wrong")
    assert text.count("It is right") == bool(sentence) and sentence in text


def test_what_a_file_sets_for_numpy_is_its_own(folder, capsys):
    learners.write(folder,
                   cross_entropy="np.seterr(all='raise')\n" + learners.plain("cross_entropy"))
    assert printed(capsys, folder, "cross_entropy")[0] == 0


def test_the_overview_survives_them_all(folder, capsys, monkeypatch):
    monkeypatch.setattr(verdict, "CALL_SECONDS", 1)
    learners.write(folder,
                   **plain("layernorm", linear=("dx = dy", "import os; os._exit(1)\n    dx = dy"),
                                   logits=("dh = ", "exit()\n    dh = "),
                                   tied=("h = ", "breakpoint()\n    h = ")))
    (folder / "centring.py").write_text("while True: pass\n", encoding="utf-8")
    (folder / "softmax.py").write_text("def backward(dw, z):\n  return\n", encoding="utf-8")
    (folder / "causal.py").unlink()
    status, text = printed(capsys, folder)
    states = {line.split()[1]: line for line in text.splitlines() if line[:3].strip().isdigit()}
    assert status == 1 and states[
            "layernorm"].endswith("done") and states["causal"].endswith("not written yet")
    assert all(states[name].endswith(" wrong") for name
               in ("linear", "logits", "tied", "centring", "softmax"))


def test_an_edited_forward_is_seen(folder, capsys):
    learners.write(folder, **plain("gelu"))
    path = folder / "gelu.py"
    given = path.read_text(encoding="utf-8")
    path.write_text(given.replace("x * (1 + np.tanh(u)) / 2", "x"), encoding="utf-8")
    status, text = printed(capsys, folder, "gelu")
    assert status == 1 and "forward in gelu.py is not as it was given" in text and "gelu --reset" in text
    for old, new, seen in [("    u = C", "    # mine\n\n    u = C", False),
                           ("def forward", "def onward", True)]:
        path.write_text(given.replace(old, new, 1), encoding="utf-8")
        assert files.has_another_forward("gelu", folder) == seen


# ---- options -------------------------------------------------------------------------------------

def test_reset_gives_the_file_back_and_keeps_the_learners(folder, capsys):
    learners.write(folder, **plain("gelu"))
    mine = (folder / "gelu.py").read_text(encoding="utf-8")
    assert "yours is now gelu.py.old" in printed(capsys, folder, "--reset", "gelu")[1]
    assert (folder / "gelu.py").read_bytes() == (files.TEMPLATES / "gelu.py").read_bytes()
    assert (folder / "gelu.py.old").read_text(encoding="utf-8") == mine
    printed(capsys, folder, "--reset", "6")
    assert (folder / "gelu.py.old").read_text(encoding="utf-8") == mine
    (folder / "model.py").unlink()
    printed(capsys, folder, "--reset", "model")
    assert (folder / "model.py").exists()


def test_hints_are_three_and_graded(folder, capsys):
    texts = [printed(capsys, folder, *arguments)[1] for arguments in
             (["lookup", "--hint"], ["lookup", "--hint", "2"], ["2", "--hint", "3"])]
    for n, text in enumerate(texts, 1):
        assert f"\n{n}. " in text and f"\n{n + 1}. " not in text and ("for more" in text) == (n < 3)


@pytest.mark.parametrize("name", NAMES)
def test_the_question_before_is_answered_by_computing(name, folder, capsys, monkeypatch):
    answers = iter([f"{predicted(name)}", "123", "", "a few"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    right, wrong, skipped, odd = (check.predict(check.TABLE[name]) or capsys.readouterr().out for _
                                  in range(4))
    assert LESSONS[name].question.why[:30] in " ".join(right.split())
    assert f"Yes: {predicted(name):g}." in right and f"It is {predicted(name):g}." in wrong and "It is" in odd
    assert LESSONS[name].question.why[:30] not in skipped and len(LESSONS[name].hints) == 3


def test_it_is_asked_before_the_first_line_is_written_and_not_again(folder, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    for stream in (check.sys.stdin, check.sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    assert "Before you write it" in printed(capsys, folder, "slope")[1]
    path = folder / "slope.py"
    given = path.read_text(encoding="utf-8")
    path.write_text(given.replace("raise NotImplementedError", "return 3 * x * x - 2", 1),
                    encoding="utf-8")
    text = printed(capsys, folder, "slope")[1]
    assert "Before you write it" not in text
    assert "slope: derivative: right." in text and "slope.py, `difference`" in text


def test_numbers_are_typed_as_one_likes():
    typed = {"0.25": 0.25, "1/4": 0.25, " -3 ": -3.0, "x": None, "1/0": None, "": None}
    assert {text: typed_number(text) for text in typed} == typed


def test_watch_checks_at_every_save(folder, capsys, monkeypatch):
    learners.write(folder, **plain(gelu=("return dy", "return -dy")))
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
    assert text.index("gelu: wrong.") < text.index("gelu: done.") and "Watching gelu." in text


def test_reports_for_a_teacher(folder, capsys):
    learners.write(folder, **plain("linear", lookup=("np.add.at(dE, ids, dx)", "dE[ids] += dx")))
    assert check.main(["--folder", str(folder), "--report", str(folder / "r.json")]) == 1
    report = json.loads((folder / "r.json").read_text(encoding="utf-8"))
    rows = {row["exercise"]: row for row in report["exercises"]}
    assert report["done"] == 1 and report["of"] == len(rows) == 13
    assert rows[
            "linear"]["passed"] and not rows["lookup"]["passed"] and rows["lookup"]["seconds"] > 0
    assert "loses repeated ids" in rows["lookup"]["diagnosis"][0]
    assert "1 of 13 done" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, message", [
    (["softmaxx"], "exercise: 'softmaxx' given, expected 0 to 12 or one of\nslope, linear"),
    (["13"], "exercise: '13' given"), (["--reset"], "--reset: no exercise given"),
    (["--hint"], "--hint: no exercise"),
    (["--debug", "1", "2"], "--debug: 2 exercises given, expected one"),
    (["--folder", "/no/such"], "--folder: /no/such given, which is no folder"),
])
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        check.main(arguments)


def test_without_hypothesis_it_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ValueError, match="pip install hypothesis"):
        check.main(["--folder", str(folder)])


def test_in_a_debugger_there_is_time_to_look(folder, capsys, monkeypatch):
    """Any tracer is one, as for the package: in the process of the answer, too."""
    monkeypatch.setattr(verdict, "WAIT_SECONDS", 0.01)
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
    learners.write(folder, **plain(*NAMES))
    status, text = printed(capsys, folder, "12")
    assert status == 0 and "D = 16" in text and "One curve" in text
    rows = [line.split() for line in text.splitlines() if line.strip()[:1].isdigit()
            and len(line.split()) == 4]
    assert [row[0] for row in rows] == ["0", "4"] and all(row[1] == row[2] for row in rows)
    assert float(rows[1][1]) < float(rows[0][1])


def test_it_does_not_train_before_all_is_right(folder, capsys, monkeypatch):
    learners.write(folder, **plain("lookup", "logits"))
    monkeypatch.setattr(check, "trained", lambda folder: pytest.fail("it trains"))
    assert check.all_together(folder)
    assert "It would train now, but for cross_entropy, layernorm, linear," in capsys.readouterr(
            ).out


# ---- as programs ---------------------------------------------------------------------------------

def program(*arguments, **options):
    env = dict(os.environ, PYTHONPATH=str(EXERCISES.parents[1]), **options.pop("env", {}))
    return subprocess.run([sys.executable, *map(str, arguments)], env=env, capture_output=True,
                          text=True,
                          encoding="utf-8", **options)


def test_as_a_program_it_puts_the_files_beside_itself(tmp_path):
    for name in ("exercises", "lib"):
        shutil.copytree(EXERCISES.parent / name, tmp_path / "demos" / name,
                        ignore=shutil.ignore_patterns(*(f"{name}.py" for name in NAMES)))
        if name == "exercises":
            shutil.copytree(files.TEMPLATES, tmp_path / "demos/exercises/templates",
                            dirs_exist_ok=True)
    found = program(tmp_path / "demos/exercises/check.py", "gelu", cwd=tmp_path)
    assert found.returncode == 1 and found.stderr == "" and "13 files for you to write in" in found.stdout
    assert all((tmp_path / f"demos/exercises/{name}.py").exists() for name in NAMES)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demos"]


def test_pytest_alone_grades_a_folder(folder):
    learners.write(folder, **plain("tied", lookup=("np.add.at(dE, ids, dx)", "dE[ids] += dx")))
    found = program("-m", "pytest", "-p", "no:cacheprovider", "--assert=plain", "-k",
                    "tied or lookup", EXERCISES / "grade.py",
                    cwd=EXERCISES.parents[1], env={"EXERCISES_FOLDER": str(folder)})
    assert "1 failed, 1 passed" in found.stdout and "loses repeated ids" in found.stdout
    assert "Traceback" not in found.stdout


def test_debug_stops_in_the_learners_function_on_the_smallest_input(folder):
    learners.write(folder, **plain(lookup=("np.add.at(dE, ids, dx)", "dE[ids] += dx")))
    found = program(EXERCISES / "check.py", "lookup", "--debug", "--folder", folder,
                    input="p ids.tolist()\nq\n")
    assert "[[0, 0]]" in found.stdout and "T = ids.shape[1]" in found.stdout


def test_what_is_raised_while_debugging_is_the_learners_own_line(folder, capsys, monkeypatch):
    monkeypatch.setattr("pdb.runcall", lambda function, *arguments: function(*arguments))
    status, text = printed(capsys, folder, "gelu", "--debug")
    assert status == 1 and "gelu.py, line 21:  raise NotImplementedError" in text
    (folder / "gelu.py").write_text("def backward(", encoding="utf-8")
    status, text = printed(capsys, folder, "gelu", "--debug")
    assert status == 1 and "SyntaxError" in text and "pdb" not in text


def test_solving_the_exercises_touches_nothing_that_is_tracked():
    ignored = (EXERCISES / ".gitignore").read_text(encoding="utf-8").split()
    assert "/*.py" in ignored and "!/check.py" in ignored
    tracked = {path.name for path in EXERCISES.glob("*.py")} - {f"{name}.py" for name in NAMES}
    assert tracked == {"check.py", "grade.py"}
    assert {path.stem for path in files.TEMPLATES.glob("*.py")} == set(NAMES)
