"""demos/one_matrix.py: kinds of tie and instruments are what they say; the text is its numbers'."""
import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import one_matrix as demo
from findings import analysis, counts, kinds, ledger, report, runs
from findings.figures import figures
from findings.kinds import Kind, Model, Stepper
from findings.ledger import PERMUTED, TIED, with_b
from findings.runs import Laboratory, Settings, Task
from findings.subject import GENERATED, Subject
from findings.tables import FREQUENCY, SAME, SHARING, TABLES, TOTAL, WITH_B, terms
from lib import instruments
from minigpt_np import GPT, AdamW, BPETokenizer, GPTConfig
from minigpt_np.gradcheck import check
from strategies import assert_bits, assert_same, cases, ids_arrays, seeds, with_large_weights

pre_norm = cases(norm="pre", tie_embeddings=True)


def model_of(case, kind=TIED, seed=0):
    counts = np.arange(1, case.model.config.vocab_size + 1)
    return Model(kind, case.model, counts, np.log(counts / counts.sum()), seed)


def gradients(model, ids, targets):
    """grads (untied Parameters), gradients of M and bias, loss."""
    _, loss, cache = model.forward(ids, targets)
    return *model.backward(cache), loss


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("she sells sea shells by the sea shore; the shells she sells are shells. " * 25)
    return str(path)


@pytest.fixture(scope="module")
def settings(file):
    return Settings(heads=2, width=8, block=8, batch=4, steps=6, vocab_size=0, source=file)


# ---- kinds of tie --------------------------------------------------------------------------------

@given(pre_norm)
def test_the_tied_kind_is_the_packages_model_and_its_contributions_add_up(case):
    grads, _, loss = gradients(model_of(case), case.ids, case.targets)
    assert loss == case.model.forward(case.ids, case.targets)[1]
    expected = case.model.backward(case.model.forward(case.ids, case.targets)[2])
    lookup, logits = instruments.contributions_of(case.model, case.ids, case.targets)
    assert_bits(grads.E, lookup)
    assert_bits(grads.head, logits)
    scale = np.abs(grads.E).max() + np.abs(grads.head).max()
    assert_same(grads.E + grads.head, expected.E, scale=scale)


@given(pre_norm, seeds)
def test_a_permutation_that_moves_nothing_is_the_tie_and_a_bias_of_0_changes_nothing(case, seed):
    tied, permuted, biased = (model_of(case, kind, seed) for kind in (TIED, PERMUTED, with_b(TIED)))
    permuted.pi, biased.bias = np.arange(len(permuted.pi)), 0 * biased.bias
    permuted.tie()
    found = [gradients(model, case.ids, case.targets) for model in (tied, permuted, biased)]
    for grads, _, loss in found[1:]:
        assert loss == found[0][2]
        assert_bits(grads.flat, found[0][0].flat)


@given(pre_norm, seeds)
def test_permuted_looks_up_another_tokens_row_and_b_is_added_to_the_logits(case, seed):
    model = model_of(case, with_b(PERMUTED), seed)
    expected = case.model.forward(model.pi[case.ids])[0] + model.bias
    assert_same(model.forward(case.ids)[0], expected, scale=1 + np.abs(expected).max())


@pytest.mark.parametrize("lookup, bias", [
    ("permuted", "frequency"), ("like frequency", "shuffled"), ("scaled", "learned"),
    ("matrix", "none"), ("symmetric matrix", "learned")])
def test_the_gradient_of_every_kind_is_that_of_its_loss(lookup, bias):
    gpt, counts = with_large_weights(GPTConfig(5, 3, 1, 1, 3), 5), np.arange(1, 6)
    model = Model(Kind("", lookup=lookup, bias=bias), gpt, counts, np.log(counts / 15), 3)
    rng = np.random.default_rng(0)
    for array in model.learned.values():
        array += 0.3 * rng.normal(size=array.shape)
    if lookup == "symmetric matrix":
        model.M[...] += model.M.T.copy()
    ids, targets = rng.integers(0, 5, (2, 2, 3))

    def loss():
        kept = model.M.copy()
        if lookup == "symmetric matrix":        # the perturbed M, as if all of it were learned
            model.M[...] = (kept + kept.T) / 2
        model.tie()
        model.M[...] = kept
        return model.forward(ids, targets)[1]

    loss()
    grads, others, _ = gradients(model, ids, targets)
    params = model.params
    found = check(loss, {"head": params.head, **model.learned},
                  {"head": grads.E + grads.head, **others})
    assert found, found


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), seeds, st.sampled_from([8, None]))
def test_permutations_are_one_to_one_and_like_frequencies_stay_together(counts, seed, size):
    counts, V = np.array(counts), len(counts)
    pi = kinds.permutation(counts, size or V, np.random.default_rng(seed))
    assert sorted(pi) == list(range(V))
    assert V == 1 or size or (pi != np.arange(V)).all()
    if size and V > size:
        place = np.argsort(np.argsort(-counts, kind="stable"))
        assert (place // size == place[pi] // size).all()


# ---- the optimizer -------------------------------------------------------------------------------

def stepped(case, kind=TIED, ratio=1):
    """The Model after a step on the case, the Stepper, and E as it was."""
    model = model_of(case, kind)
    start, stepper = model.params.head.copy(), Stepper(model, 0.01, ratio)
    grads, others, _ = gradients(model, case.ids, case.targets)
    stepper.step(grads, others, 0.01)
    return model, stepper, start


@given(pre_norm)
def test_a_step_is_adamws_and_a_ratio_multiplies_that_of_E(case):
    once, _, start = stepped(case)
    fast, _, _ = stepped(case, ratio=3)
    assert_same(fast.params.head - start, 3 * (once.params.head - start),
                scale=1 + np.abs(start).max())
    assert_bits(fast.params.P, once.params.P)
    both = Kind("", lookup="matrix", bias="learned")
    slow, fast = (stepped(case, both, ratio)[0] for ratio in (1, 3))
    assert_same(fast.bias, 3 * slow.bias, scale=1)                  # as E's and head's; not M's
    assert_bits(fast.M, slow.M)

    gradient = case.model.backward(case.model.forward(case.ids, case.targets)[2])
    norm = float(np.sqrt(np.sum(gradient.flat ** 2)))
    AdamW(case.model.params, 0.01, weight_decay=0).step(
        gradient, 0.01, kinds.clip_factor(norm, kinds.CLIP))
    for name, expected in case.model.untied().params.arrays.items():
        # A step of 0.01 m/sqrt(v) is known as well as its gradient: if that is rounding, not at all
        g = gradient.arrays["E" if name == "head" else name]
        sure = np.abs(g) > 1e-9 * np.abs(gradient.flat).max()
        assert_same(once.params.arrays[name][sure], expected[sure])


@given(pre_norm)
def test_two_pairs_of_moments_add_the_steps_that_two_matrices_would_take(case):
    model, stepper, start = stepped(case, Kind("", optimizer="two moments"))
    m, v = stepper.adam.m, stepper.adam.v
    both = [0.01 * stepper.quotient(m.E, v.E), 0.01 * stepper.quotient(m.head, v.head)]
    assert_same(model.params.E, start - both[0] - both[1], scale=1 + np.abs(start).max())
    assert_bits(model.params.E, model.params.head)


@given(pre_norm)
def test_coupled_adam_divides_every_row_by_the_same(case):
    model, stepper, start = stepped(case, Kind("", optimizer="coupled"))
    m, v = stepper.adam.m.head, stepper.adam.v.head
    expected = start - 0.01 * stepper.quotient(m, np.broadcast_to(v.mean(axis=0), v.shape))
    assert_same(model.params.head, expected, scale=1 + np.abs(start).max())


@pytest.mark.parametrize("kind", [TIED, with_b(PERMUTED), Kind("", factor=10)])
def test_the_two_movements_add_up_to_Es_way(settings, kind):
    task = Task(settings, kind, 1, 0.01, 4)
    run = runs.train(task)
    way = run.model.params.head.astype(float) - runs.new_model(task).params.head
    error = np.abs(run.moved.sum(axis=0) - way).max()
    # In float32 a step rounds E, then its difference, times the ratio of 4, then E again; and
    # m / sqrt(v) by some eps of itself: 16 eps of the larger one, in each of 6 steps.
    sizes = np.abs(run.model.params.head).max() + np.abs(run.moved).max()
    assert error <= 6 * 16 * np.finfo(np.float32).eps * sizes
    shares, others = (analysis.shares(moved, task.text.log_p)
                      for moved in (run.moved, run.moved[::-1]))
    for name in ("whole", "shift out", "frequency out"):
        assert shares[f"{name}, share"] + others[f"{name}, share"] == pytest.approx(1)
        a, b, cosine = (shares[f"{name}, {what}"] for what in ("lookup", "logits", "cosine"))
        assert shares[f"{name}, share"] == pytest.approx(a * a + a * b * cosine)


def test_an_alignment_is_corrected_for_the_noise_of_both_sides():
    """Rows that are the same but for each run's noise: raw well below 1, corrected near it.

    Of noise alone nothing can be corrected.
    """
    rng = np.random.default_rng(0)
    rows, log_p, tokens = rng.normal(size=(80, 12)), rng.normal(size=80), np.arange(80)

    def some(rows=rows):
        noisy = rng.normal(size=(5, 2, 80, 12)) * 0.7 + rows
        return [SimpleNamespace(model=SimpleNamespace(params=SimpleNamespace(E=E, head=head)))
                for E, head in noisy]

    found = analysis.alignments(some(), some(), log_p, tokens)
    for name in ("with input", "with output"):
        raw, corrected = np.mean(found[name]), np.mean(found[f"{name}, corrected"])
        assert raw < 0.8 and abs(corrected - 1) < (1 - raw) / 4
        for pair in ((some(), some(0)), (some(0), some())):
            nothing = analysis.alignments(*pair, log_p, tokens)[f"{name}, corrected"]
            assert nothing is None and report.said(nothing) == "-"


# ---- texts and runs ------------------------------------------------------------------------------

@given(seeds, st.integers(2, 6))
def test_a_chain_from_symmetric_counts_goes_both_ways_alike(seed, V):
    C = np.random.default_rng(seed).integers(1, 9, (V, V))
    ids = counts.markov_chain(C + C.T, 1000, seed)
    # Of n steps each pair's share is known to about 1/sqrt(n); 8 of these.
    expected = (C + C.T) / (C + C.T).sum()
    assert np.abs(counts.pair_counts(ids, V) / len(ids) - expected).max() < 8 / np.sqrt(1000)


def test_same_seed_same_bits_in_any_process_and_kept_in_a_folder(settings, tmp_path, monkeypatch):
    tasks = [Task(settings, kind, 1, 0.01, 1)
             for kind in (TIED, Kind("learned", bias="learned"))]
    alone = [runs.train(task) for task in tasks]
    with Laboratory(tmp_path, 2) as lab:
        lab.runs(tasks)
    monkeypatch.setattr(runs, "train", None)
    for first, kept in zip(alone, Laboratory(tmp_path).runs(tasks)):
        assert_bits(first.model.params.flat, kept.model.params.flat)
        assert (first.loss, first.fit) == (kept.loss, kept.fit)
        assert_bits(first.moved, kept.moved)
        for name, array in first.model.learned.items():
            assert_bits(array, kept.model.learned[name])
    changes = {}, {"rate": 0.02}, {"ratio": 4}, {"settings": replace(settings, steps=7)}
    paths = {lab.path(replace(task, **change)) for task in tasks for change in changes}
    assert len(paths) == len(changes) * len(tasks)


@given(st.integers(-3, 8), st.sampled_from([1, 4]))
def test_the_search_finds_the_least_loss_or_the_end_of_its_range(bottom, ratio):
    def trained(tasks):
        return [SimpleNamespace(task=task, loss=abs(np.log2(task.rate) - bottom)
                                + (task.ratio != ratio)) for task in tasks]

    found = ledger.search(SimpleNamespace(runs=trained), None, TIED, (1, 2, 4, 8, 16), (1, 4), 2)
    assert (found["rate"], found["ratio"]) == (2.0 ** np.clip(bottom, -2, 6), ratio)


# ---- instruments ---------------------------------------------------------------------------------

@given(pre_norm)
def test_the_ladders_last_rung_is_the_output_and_its_others_smaller_models(case):
    model, ids, targets = case.model, case.ids, case.targets
    found = instruments.ladder(model, ids, targets)
    assert found == instruments.ladder(instruments.read_with(model, model.params.E), ids, targets)
    assert len(instruments.rungs(model.params)) == len(found["loss"])
    scale = 1 + np.abs(found["loss"]).max()
    assert_same(found["loss"][-1], model.forward(ids, targets)[1], scale=scale)
    for k in range(model.config.n_layer + 1):
        small = GPT(replace(model.config, n_layer=k), dtype=np.float64)
        for name, array in small.params.arrays.items():
            array[...] = model.params.arrays[name]
        assert_same(found["loss"][2 * k], small.forward(ids, targets)[1], scale=scale)


@given(pre_norm, st.sampled_from([1 / 20, 0.9, 20]))
def test_moving_a_row_along_h_bar_does_what_the_slope_says(case, r):
    """Against a forward pass with the row moved."""
    model, ids = case.model.untied(), case.ids
    logits, _, cache = model.forward(ids)
    h = cache.logits.h
    mean_h = h.mean(axis=0)
    if not mean_h @ mean_h > 1e-3:
        return
    a = h @ mean_h / (mean_h @ mean_h)
    before = np.exp(instruments.log_softmax(logits.reshape(len(h), -1)))[:, :1]
    model.params.head[0] += np.log(r) * mean_h / (mean_h @ mean_h)
    after = np.exp(instruments.log_softmax(model.forward(ids)[0].reshape(len(h), -1)))[:, 0]
    assert_same(instruments.slope(before, a, [r]) * np.log(r), np.log(after.mean() / before.mean()),
                scale=1 + np.abs(a).max() * 3)


def test_lengths_are_of_centred_rows_and_signed():
    rows = np.arange(1, 9)[:, None] * np.array([[1.0, -1.0]]) * np.array([1, -1] * 4)[:, None]
    properties = {"log frequency": np.arange(8.0),
                  "other": -np.arange(8.0) ** 3 + np.array([0, 9] * 4)}
    found = instruments.length_correlations(rows, np.arange(8), properties)
    assert found["log frequency"] > 0.9 and found["other"] < -0.5
    shifted = instruments.length_correlations(rows + 7, np.arange(8), properties)
    assert shifted == pytest.approx(found)


@given(ids_arrays(1, 60, 5))
def test_counts_of_swaps_and_repeats(ids):
    C = counts.pair_counts(ids.ravel(), 5)
    assert C.sum() == ids.size - 1
    both = [(u, v) for u in range(5) for v in range(u) if C[u, v] and C[v, u]]
    swaps = [C[u, u] * C[v, v] < C[u, v] * C[v, u] for u, v in both]
    found = counts.swaps(C)
    assert found == np.mean(swaps) if both else np.isnan(found)


def test_what_a_token_tells_is_nothing_in_a_shuffled_text_and_all_in_a_cycle():
    cycle = np.tile(np.arange(4), 300)
    np.testing.assert_allclose(counts.tells(cycle, 4), np.log(4), atol=0.02)
    shuffled = np.random.default_rng(3).permutation(cycle)
    assert np.abs(counts.tells(shuffled, 4)).max() < 0.02


def test_fifths_of_the_text_by_frequency():
    found = counts.fifths(np.array([1.0, 2, 3, 4]), np.array([3, 2, 0, 0]),
                          np.array([80, 10, 5, 5]))     # 5, 10, 20 and 100% from the rarest up
    assert found == [1.5, 0, 0, 0, 3.5]


# ---- what is told --------------------------------------------------------------------------------

COMMITTED = json.loads(demo.COMMITTED.read_text(encoding="utf-8"))


def test_the_ledgers_terms_add_up():
    for name in ledger.LEDGER:
        found = terms(COMMITTED["ledger"][name])
        for b in ("", WITH_B):
            np.testing.assert_allclose(found[TOTAL + b], found[SHARING + b] + found[SAME + b],
                                       atol=1e-12)
        np.testing.assert_allclose(found[TOTAL], found[TOTAL + WITH_B] + found[FREQUENCY],
                                   atol=1e-12)


def test_the_findings_their_figures_and_the_readmes_table_are_rendered(monkeypatch, tmp_path):
    found, readme = tmp_path / "findings", tmp_path / "README.md"
    found.mkdir()
    shutil.copy(demo.FINDINGS / "template.md", found)
    shutil.copy(demo.README, readme)
    expected = {readme: demo.README, **{found / name: demo.FINDINGS / name
                                        for name in ("README.md", *figures(COMMITTED))}}
    monkeypatch.setattr(demo, "FINDINGS", found)
    monkeypatch.setattr(demo, "README", readme)
    readme.write_text(re.sub(r"(?m)^\| tied .*$", "old", readme.read_text("utf-8")), "utf-8")
    assert demo.main(["--render"]) == 0
    for written, committed in expected.items():
        assert written.read_text("utf-8") == committed.read_text("utf-8"), committed
    for name in figures(COMMITTED):
        assert f"({name})" in (found / "README.md").read_text("utf-8")


def test_a_field_of_the_template_that_is_no_number_is_named():
    with pytest.raises(ValueError, match="ledger.x: not among the numbers"):
        report.render("{{ledger.pieces.tied.loss - ledger.x}}", COMMITTED, TABLES)


def test_what_each_option_trains_and_at_which_rates(monkeypatch):
    def asked(*options):
        return demo.measure(demo.parse([*options, "--threads", "1"]))

    monkeypatch.setattr(ledger, "measure", lambda lab, section, found, rates: (section, rates))
    monkeypatch.setattr(demo, "numbers_of", lambda found: found)
    rates, sections = COMMITTED["rates"], ledger.SECTIONS
    assert asked() == {name: (one, rates[name]) for name, one in sections.items() if not one.full}
    assert asked("--full") == {name: (one, None) for name, one in sections.items()}
    quick = asked("--quick")
    assert quick.keys() == {"pieces", "two blocks"} and quick["pieces"][1] == rates["pieces"]
    assert all((one.seeds, one.settings.steps) == (2, 100) for one, _ in quick.values())


def test_quick_measures_and_tells(capsys, monkeypatch, settings, tmp_path):
    names = ("width", "heads", "block", "steps", "vocab_size", "source")
    monkeypatch.setattr(demo, "QUICK", {name: getattr(settings, name) for name in names})
    assert demo.main(["--quick", "--threads", "1", "--out", str(tmp_path / "numbers.json")]) == 0
    printed = capsys.readouterr().out
    assert "tied minus untied" in printed and "MLP 2" in printed
    for title in ("nats a token  +pieces", "tied minus untied  +pieces", "E's displacement in"):
        assert re.search(rf"{title}[, ]+{settings.steps} steps", printed), title
    assert list(json.loads((tmp_path / "numbers.json").read_text())["ledger"]) == ["pieces"]


# ---- any model -----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model's folder with a tokenizer, as GPT-2's is; in its folder "untied" the same untied."""
    path = tmp_path_factory.mktemp("gpt")
    tokenizer = BPETokenizer.train("she sells sea shells by the sea shore " * 9, 270)
    model = with_large_weights(GPTConfig(tokenizer.vocab_size, 8, 2, 2, 8), 3, np.float32)
    for folder, saved in ((path, model), (path / "untied", model.untied())):
        saved.save_pretrained(folder)
        tokenizer.save(folder)
        fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        fields |= {"bos_token_id": 5, "eos_token_id": 97}
        (folder / "config.json").write_text(json.dumps(fields))
    return path


@pytest.mark.parametrize("tied", [True, False])
def test_any_model_is_looked_at(capsys, folder, file, tied):
    text = [] if tied else ["--text", file]                         # without, the model generates
    assert demo.main(["--model", str(folder if tied else folder / "untied"), *text]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("MLP 2", "silenced", "E·h̄", "correlation of a row's length", "both contrib",
                  "one matrix E," if tied else "E and head apart,"):
        assert words in printed
    assert tied != ("head: token read ahead" in printed)


def test_generated_sequences_are_cut_at_their_end(folder):
    subject = Subject(folder)
    assert subject.counts[5] >= GENERATED and (subject.ids[:, 0] == 5).all()
    for ids, targets in zip(subject.ids, subject.targets):
        end = np.flatnonzero(targets == 97)
        if len(end):
            assert len(end) == 1 and (targets[end[0] + 1:] == -1).all()
        assert (targets[:-1] == ids[1:])[targets[:-1] >= 0].all()
    assert subject.counts.sum() == sum(1 + np.sum(t >= 0) for t in subject.targets)


# ---- bad input -----------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments", [
    ["--threads", "0"], ["--text", "x"], ["--out", "nowhere/x.json"], ["--quick", "--full"]])
def test_bad_options_end_with_a_message(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        demo.main(arguments)
    assert stopped.value.code == 2 and "error: " in capsys.readouterr().err


def test_a_short_text_and_a_model_that_cannot_begin_one_are_refused(folder, tmp_path):
    (tmp_path / "short.txt").write_text("she sells")
    with pytest.raises(ValueError, match="expected more than the block"):
        demo.main(["--model", str(folder), "--text", str(tmp_path / "short.txt")])
    GPT(GPTConfig(5, 4, 1, 1, 2)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="bos_token_id None given"):
        Subject(tmp_path)
