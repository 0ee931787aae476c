"""demos/one_matrix.py: its instruments measure what they say; what must hold exactly does; the text is its numbers'."""
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import one_matrix as demo
from findings import cost, e_alone, likelihood, magnitude, tie_done_wrong, why_output
from findings.summary import BEGIN, BLOCK, END, lead, with_block
from lib import instruments, lab as laboratory
from lib.lab import TIED, UNTIED, Gradient, Kind, Lab, Probe, Settings, Task
from minigpt_np import GPT, AdamW, BPETokenizer, GPTConfig
from minigpt_np.parameters import count
from strategies import assert_bits, assert_same, cases, examples, with_large_weights, normal, seeds

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "demos" / "findings" / "numbers.json"
EPS = np.finfo(np.float64).eps
SIZES = Settings(layers=1, heads=2, width=8, block=8, batch=4, steps=12, vocab_size=0)
SMALL = ["--vocab-size", "0", "--layers", "1", "--heads", "2", "--width", "8", "--block", "8", "--batch", "4",
         "--steps", "12", "--threads", "1"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("she sells sea shells by the sea shore; the shells she sells are surely seashells. " * 12)
    return str(path)


@pytest.fixture(scope="module")
def lab(text):
    return Lab(replace(SIZES, text=text), seeds=(0, 1))


# ---- training ------------------------------------------------------------------------------------

@given(cases(tie_embeddings=True), st.floats(0, 10), st.floats(0, 10), st.booleans())
def test_the_two_contributions_add_up_and_are_weighed(case, a, b, early):
    """What each use adds to dE, kept apart, is together the tied model's own gradient."""
    model, ids, targets = case.model, case.ids, case.targets
    expected = model.backward(model.forward(ids, targets)[2])
    gradient = Gradient(model, TIED)
    loss = gradient.take(ids, targets)
    lookup, logits = gradient.apart.E.copy(), gradient.apart.head.copy()
    size = np.abs(lookup).max() + np.abs(logits).max()
    assert loss == model.forward(ids, targets)[1]
    assert_same(lookup + logits, expected.E, scale=size)
    assert_same(gradient.total.flat, expected.flat, scale=size + np.abs(expected.flat).max())
    assert not lookup[np.setdiff1d(np.arange(model.config.vocab_size), ids)].any()

    weighed = Gradient(model, Kind("weighed", lookup=a, logits=b, early=early))
    weighed.take(ids, targets, early=True)
    assert_same(weighed.total.E, a * lookup + b * logits, scale=10 * size)
    weighed.take(ids, targets, early=False)
    assert_same(weighed.total.E, lookup + logits if early else a * lookup + b * logits, scale=10 * size)
    assert weighed.scale == gradient.scale                      # the clipping is the true gradient's


@given(cases(tie_embeddings=True, norm="pre"), st.integers(1, 4))
def test_adams_step_is_the_sum_of_what_each_use_is_responsible_for(case, steps):
    model = case.model
    optimizer, gradient = AdamW(model.params, 0.01, weight_decay=0), Gradient(model, TIED)
    probe = Probe(model, optimizer)
    begin = model.params.E.copy()
    for _ in range(steps):
        gradient.take(case.ids, case.targets)
        before = model.params.E.copy()
        optimizer.step(gradient.total, 0.01, gradient.scale)
        assume(np.abs(model.params.E - before).max() > 1e-6)    # V = 1: no gradient, no step
        found = probe.take(gradient, 0.01, before, True)
    # The step is a difference of weights of order 1: it is known to their eps, in units of its own size.
    rounding = 64 * EPS * np.abs(model.params.E).max() / np.abs(model.params.E - before).max()
    assert found["error"] <= rounding * np.sqrt(before.size) + 1e-9
    assert abs(found["lookup share"] + found["logits share"] - 1) <= rounding * before.size + 1e-9
    moved = probe.moved.sum(axis=0)
    assert np.abs(moved - (model.params.E - begin)).max() <= 1e-12


def test_runs_are_trained_once_and_runs_of_a_seed_see_the_same_batches(lab, monkeypatch):
    first = lab.runs(TIED)
    assert [run.seed for run in first] == [0, 1]
    again = laboratory.train(Task(lab, TIED, 0, lab.rate_of(TIED)))
    assert_bits(again.losses, first[0].losses)                  # same seed, same bits
    assert first[0].losses[0] != first[1].losses[0]
    monkeypatch.setattr(laboratory, "train", None)
    assert lab.runs(TIED)[0] is first[0]


def test_processes_train_the_same_and_a_folder_keeps_it(lab, tmp_path, monkeypatch):
    other = Lab(lab.settings, lab.seeds, processes=2, folder=tmp_path)
    runs = other.runs(TIED)
    for run, expected in zip(runs, lab.runs(TIED)):
        assert_bits(run.model.params.flat, expected.model.params.flat)
    monkeypatch.setattr(laboratory, "train", None)
    for run, expected in zip(Lab(lab.settings, lab.seeds, folder=tmp_path).runs(TIED), runs):
        assert_bits(run.model.params.flat, expected.model.params.flat)
        assert run.loss == expected.loss and run.losses.tolist() == expected.losses.tolist()
        for group in ("snapshots", "probes"):
            found, before = getattr(run, group), getattr(expected, group)
            assert found.keys() == before.keys()
            assert all((found[name] == before[name]).all() for name in found)


def test_a_kept_run_is_found_only_for_the_very_same_task(lab):
    names = {Task(one, kind, seed, rate).name
             for one in (lab, Lab(replace(lab.settings, steps=13), lab.seeds)) for kind in (TIED, UNTIED, cost.FEWER)
             for seed in (0, 1) for rate in (1e-3, 2e-3)}
    assert len(names) == 2 * 3 * 2 * 2


def test_snapshots_begin_before_the_first_step_and_end_with_the_loss(lab):
    for run in lab.runs(TIED):
        assert run.snapshots["steps"][0] == 0 and run.snapshots["steps"][-1] == lab.settings.steps
        assert run.snapshots["loss"][-1] == run.loss
        assert_bits(run.snapshots["E"][-1], run.model.params.E)
        assert run.probes["steps"][0] == 1 and run.probes["steps"][-1] == lab.settings.steps
        assert (run.probes["logits rows"] == 1).all() and (run.probes["lookup rows"] < 1).all()


@pytest.mark.parametrize("branch", e_alone.BRANCHES)
def test_of_one_branch_the_other_stays_silent(lab, branch):
    model = lab.runs(e_alone.one_branch(branch, True))[0].model
    for name, part in instruments.sublayers(model.params):
        assert np.any(part.W) == np.any(part.b) == (name == branch)


def test_two_copies_start_equal_and_drift_and_one_matrix_stays_one(lab):
    copies, moments = lab.runs(tie_done_wrong.COPIES)[0], lab.runs(tie_done_wrong.MOMENTS)[0]
    assert 0 < copies.drift[0] < copies.drift[-1]
    assert_bits(moments.model.params.E, moments.model.params.head)
    tied = lab.runs(TIED)[0]
    assert copies.losses[0] == moments.losses[0] == pytest.approx(tied.losses[0], rel=1e-6)     # float32
    assert copies.losses[1] != moments.losses[1]
    assert tie_done_wrong.fed_alike(lab) == 0


def test_equal_parameters_are_as_equal_as_the_heads_allow(lab):
    small, tied = lab.config(cost.FEWER), count(lab.config(TIED))
    assert not small.tie_embeddings
    others = [replace(small, n_embd=D) for D in range(2, lab.settings.width + 1, 2)]
    assert abs(count(small) - tied) == min(abs(count(other) - tied) for other in others)


def test_a_piece_is_read_as_often_as_it_says(lab):
    per_step = lab.settings.batch * lab.settings.block
    for reading, epochs in cost.EPOCHS.items():
        kind = cost.often(TIED, reading)
        read = lab.steps(kind) * per_step
        assert len(lab.piece(kind)) <= len(lab.training)
        assert read / len(lab.piece(kind)) == pytest.approx(epochs, rel=0.05)
    longer = replace(TIED, epochs=20, longer=True)
    assert len(lab.piece(longer)) == pytest.approx(len(lab.training), abs=per_step / 20)
    assert lab.steps(longer) * per_step == pytest.approx(20 * len(lab.training), abs=per_step)


class Valley:
    """Stands for a lab whose runs end at a loss that is least at one learning rate."""
    def __init__(self, bottoms):
        self.bottoms = bottoms

    def losses_at(self, pairs):
        assert len(set(pairs)) == len(pairs)                    # nothing is trained twice
        return {(kind, rate): abs(np.log(rate / self.bottoms[kind])) for kind, rate in pairs}


@given(st.fixed_dictionaries({TIED: st.floats(1e-5, 10), UNTIED: st.floats(1e-5, 10)}))
def test_the_sweep_goes_to_the_bottom_or_to_its_end(bottoms):
    rates = laboratory.sweep(Valley(bottoms), list(bottoms), start=4e-3, least=2.5e-4, most=0.512)
    for kind, bottom in bottoms.items():
        found = rates[kind.name]
        if 2.5e-4 <= bottom <= 0.512:
            assert abs(np.log2(found["best"] / bottom)) <= 0.5 + 1e-9
        else:
            assert found["best"] in (2.5e-4, 0.512)
        assert found["best"] in map(float, found["tried"])


# ---- instruments ---------------------------------------------------------------------------------

@given(cases(norm="pre"))
def test_the_last_point_of_the_lens_is_the_models_output_and_the_others_smaller_models(case):
    """After block k the lens is the model of the first k blocks, made another way."""
    model, ids, targets = case.model, case.ids, case.targets
    assume((ids != targets)[targets >= 0].any())
    weights = model.params.flat.copy()
    found = instruments.lens(model, ids, targets)
    assert_bits(model.params.flat, weights)
    for k in range(model.config.n_layer + 1):
        small = GPT(replace(model.config, n_layer=k), dtype=np.float64)
        for name, array in small.params.named().items():
            array[...] = model.params.named()[name]
        loss = small.forward(ids, targets)[1]
        assert found["loss"][2 * k] == pytest.approx(loss, rel=1e-9, abs=1e-9)
    assert len(instruments.points(model.params)) == len(found["loss"]) == 2 * model.config.n_layer + 1


@given(cases(norm="pre", n_layer=2), st.integers(0, 3))
def test_undoing_is_the_model_without_that_sublayer(case, k):
    model = case.model
    base = model.forward(case.ids, case.targets)[1]
    costs = instruments.undoing(model, case.ids, case.targets)
    without = model.untied()
    _, part = instruments.sublayers(without.params)[k]
    part.W[...] = part.b[...] = 0
    assert costs[k] == pytest.approx(without.forward(case.ids, case.targets)[1] - base, rel=1e-9, abs=1e-9)


def test_what_was_silenced_speaks_again_whatever_happens():
    model = with_large_weights(GPTConfig(5, 4, 2, 1, 4), 0)
    weights = model.params.flat.copy()
    with pytest.raises(KeyError), instruments.silenced(model.params, [0, 3]):
        assert np.count_nonzero(weights != model.params.flat) == 4 * 4 + 4 + 16 * 4 + 4
        raise KeyError
    assert_bits(model.params.flat, weights)


@given(seeds, st.integers(3, 9), st.integers(1, 5))
def test_symmetric_shares(seed, V, D):
    E, other = normal(seed, 2, V, D)
    rows, columns = normal(seed + 1, 2, V)
    either = E @ other.T
    assert instruments.symmetric_share(E @ E.T) == pytest.approx(1, abs=1e-9)
    assert instruments.symmetric_share(either - either.T) == pytest.approx(0, abs=1e-9)
    share = instruments.symmetric_share(either)
    assert 0 <= share <= 1
    assert instruments.symmetric_share(either.T) == pytest.approx(share)
    assert instruments.symmetric_share(either + rows + columns[:, None]) == pytest.approx(share, abs=1e-9)


@given(cases(n_layer=0, norm="pre", tie_embeddings=True, vocab_size=5))
def test_without_a_block_tied_scores_are_symmetric_but_for_the_rows_lengths(case):
    """scores[u, v] = (gain · x̂_u) · E_v with x̂_u = (E_u - mean) / s_u if P is 0: times s_u, and for a constant, symmetric."""
    model = case.model
    model.params.P[...] = 0
    E = model.params.E
    E -= E.mean(axis=1, keepdims=True)
    s = np.sqrt((E * E).mean(axis=1) + model.config.layer_norm_eps)
    scores = (instruments.after_one(model) - E @ model.params.norm.bias) * s[:, None]
    assert instruments.symmetric_share(scores) == pytest.approx(1, abs=1e-6)


def test_independent_numbers_are_half_symmetric():
    """200 draws of 20 x 20: the mean share is 1/2 + 1/(2·19) to within 5 of its standard deviations."""
    shares = [instruments.symmetric_share(normal(seed, 20, 20)) for seed in range(200)]
    # Of (n-1)² dimensions that are left with means taken out, n(n-1)/2 are symmetric.
    expected = (19 * 20 / 2) / 19 ** 2
    assert abs(np.mean(shares) - expected) < 5 * np.std(shares) / np.sqrt(200)


@examples(0.5)
@given(seeds, st.integers(2, 8), st.integers(1, 4))
def test_the_best_penalty_is_the_one_that_leaving_each_out_finds(seed, more, D):
    """ridge's leave-one-out residuals need no refitting; here each is refitted.

    With D + 1 rows or fewer, those left fit exactly whatever the penalty, if it is small: there is no best one.
    """
    n = D + more
    X, y = normal(seed, n, D), normal(seed + 1, n)
    w, c = instruments.ridge(X, y)
    first, last = np.linalg.svd((X - X.mean(axis=0)).T @ (X - X.mean(axis=0)), compute_uv=False)[[0, -1]]

    def fitted(X, y, penalty):
        centred = X - X.mean(axis=0)
        w = np.linalg.solve(centred.T @ centred + penalty * np.eye(D), centred.T @ (y - y.mean()))
        return w, y.mean() - X.mean(axis=0) @ w

    # Centring by the mean of all is part of the rule; so is it of each refit's penalty, but for the intercept,
    # which is free: then leaving i out is exact.
    errors = []
    for penalty in first * 10.0 ** np.arange(-8, 2, 0.5):
        left = 0.0
        for i in range(n):
            inside = np.arange(n) != i
            u, k = fitted(X[inside], y[inside], penalty)
            left += (y[i] - X[i] @ u - k) ** 2
        errors.append(left)
    penalty = first * 10.0 ** np.arange(-8, 2, 0.5)[int(np.argmin(errors))]
    expected = fitted(X, y, penalty)
    condition = (first + penalty) / (last + penalty)        # of the equations that `fitted` solves
    assert_same(X @ w + c, X @ expected[0] + expected[1], scale=(np.abs(y).max() + 1) * condition)


@given(seeds, st.integers(20, 40), st.integers(1, 4))
def test_what_is_linear_is_predicted_and_what_is_dealt_out_is_not(seed, n, D):
    X, w = normal(seed, n, D), normal(seed + 1, D)
    assume(np.abs(w).max() > 0.1)
    assert instruments.predicted_share(X, X @ w + 3) > 1 - 1e-6
    found = instruments.frequency(X, X @ w + 3, w)
    assert found["bias"] == pytest.approx(1) and found["shuffled"] < found["best direction"]


@given(cases(norm="pre", vocab_size=5), st.integers(0, 4))
def test_surgery_by_1_changes_nothing_and_at_the_output_is_arithmetic(case, token):
    model, ids, targets = case.model, case.ids, case.targets
    D = model.config.n_embd
    steps = {"first": normal(case.seed, D) / 8, "second": normal(case.seed + 1, D) / 8}
    factors = (1 / 5, 1, 5)
    found = instruments.operate(model, ids, targets, [token], steps, factors)
    assert set(found) == {"first, both", "first, output", "first, input", "second, output"}
    for one in found.values():
        assert one["ratio"][1, 0] == 1
        assert all(value == 0 or np.isnan(value) for what in ("next", "elsewhere", "read") for value in one[what][1])
    # At the output only the token's own logit changes, by log r · (h · step); h is what the head is given.
    apart = model.untied()
    logits, _, cache = apart.forward(ids, targets)
    plain = np.exp(instruments.log_probabilities(apart, ids, targets))
    apart.params.head[token] += np.log(5) * steps["second"]
    after = np.exp(instruments.log_probabilities(apart, ids, targets))
    assert found["second, output"]["ratio"][2, 0] == pytest.approx(after[:, token].mean() / plain[:, token].mean(), rel=1e-9)
    others = np.arange(5) != token
    assert np.allclose(after[:, others] / after[:, others].sum(axis=1, keepdims=True),
                       plain[:, others] / plain[:, others].sum(axis=1, keepdims=True), atol=1e-9)


@given(seeds, st.integers(8, 20), st.integers(2, 4))
def test_the_directions_do_what_they_are_for(seed, n, D):
    rows, bias = normal(seed, n, D), normal(seed + 1, D)
    y = rows @ normal(seed + 2, D) + normal(seed + 3, n)
    w, _ = instruments.ridge(rows, y)
    found = instruments.direction_for(rows, y, bias)
    assert found["best direction"] @ w == pytest.approx(1) and found["bias"] @ bias == pytest.approx(1)
    assert np.linalg.norm(found["random"]) == pytest.approx(np.linalg.norm(found["best direction"]))


@given(cases(norm="pre"))
def test_magnitude_by_1_changes_nothing_and_at_the_output_no_guess(case):
    found = instruments.magnitude(case.model, case.ids, case.targets)
    one = instruments.SCALES.index(1)
    loss = case.model.forward(case.ids, case.targets)[1]
    for side in found.values():
        assert side["guesses"][one] == 0 and side["loss"][one] == pytest.approx(loss, rel=1e-9, abs=1e-9)
    assert not any(found["head on the output"]["guesses"])      # powers of 2: exact


def test_random_cosines_vary_as_much_as_it_says():
    """2000 draws of rows of fixed lengths: their cosines' standard deviation is known to 1/sqrt(4000); 5 of those."""
    rng = np.random.default_rng(0)
    lengths = rng.exponential(size=(2, 6, 1))
    found = []
    for _ in range(2000):
        a, b = rng.normal(size=(2, 6, 4))
        a, b = (x * size / np.linalg.norm(x, axis=1, keepdims=True) for x, size in zip((a, b), lengths))
        found.append(np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b)))
    expected = laboratory.compare_contributions(a, b)["random cosine"]
    assert abs(np.std(found) / expected - 1) < 5 / np.sqrt(4000)


# ---- counts and words ----------------------------------------------------------------------------

def test_counts_of_pairs_and_their_loss(lab):
    pairs = e_alone.pair_counts(lab.training, lab.V)
    assert pairs.sum() == len(lab.training) - 1
    u, v = lab.training[3:5]
    assert pairs[u, v] == sum((a, b) == (u, v) for a, b in zip(lab.training, lab.training[1:]))
    unigram, bigram = e_alone.count_losses(lab)
    assert 0 < bigram < unigram < np.log(lab.V)                 # a text that repeats itself
    # Without what frequency alone gives, a table that frequency alone made holds nothing.
    assert np.abs(e_alone.surprise(np.outer([1, 2, 3], [4, 2, 2]) * 6)).max() == pytest.approx(0)


def test_plain_numbers_survive_json():
    value = {1: np.float32(1 / 3), "a": [np.int64(2), np.nan, np.bool_(True), None], "b": np.array([[1.0, 2.5]])}
    found = laboratory.plain(value)
    assert found == {"1": 0.33333, "a": [2, None, True, None], "b": [[1.0, 2.5]]}
    assert json.loads(json.dumps(found)) == found == laboratory.plain(found)


# ---- the whole -----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """A run of every part at tiny size: (printed text, folder of what it wrote)."""
    folder = tmp_path_factory.mktemp("whole")
    readme = folder / "README.md"
    readme.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    arguments = [*SMALL, "--seeds", "2", "--text", text, "--json", str(folder / "numbers.json"), "--html", str(folder / "page.html"),
                 "--markdown", str(folder / "long.md"), "--readme", str(readme)]
    return arguments, folder


@pytest.fixture(scope="module")
def numbers(whole):
    arguments, folder = whole
    assert demo.main(arguments) == 0
    return json.loads((folder / "numbers.json").read_text(encoding="utf-8"))


def test_every_part_is_measured_and_what_must_hold_exactly_does(whole, numbers):
    found = numbers["findings"]
    assert list(found) == [str(n) for n in demo.FINDINGS]
    # One validation loss, wherever it is told.
    tied = found["1"]["models"]["1"]["tied"]
    assert [run["loss"] for run in tied] == found["7"]["loss"]["tied"] == found["8"]["kinds"]["tied"]["loss"]
    assert found["4"]["when"]["throughout"]["loss"][why_output.FACTORS.index(1)] == found["3"]["loss"]["both"]
    assert found["3"]["loss"]["the logits' alone"] == found["4"]["when"]["throughout"]["loss"][0]
    # The contributions' shares add up to the step.
    probes = found["3"]["probes"]
    for a, b in (("lookup share", "logits share"), ("lookup share so far", "logits share so far")):
        assert np.allclose(np.add(probes[a], probes[b]), 1, atol=1e-3)      # float32 weights, 5 digits
    # Scaled, or moved, by 1: nothing.
    for side in found["6"]["sides"].values():
        assert all(row[magnitude.SCALES.index(1)] == 0 for row in side["guesses"])
    for one in found["5"]["surgery"].values():
        assert all(ratio == 1 for run in one["ratio"] for ratio in run[likelihood.FACTORS.index(1)])
    assert found["7"]["fed alike"] == 0
    assert max(np.ravel(found["6"]["sides"]["head on the output"]["guesses"])) == 0


def test_what_is_written_is_told_by_the_numbers_alone(whole, numbers, capsys, tmp_path):
    _, folder = whole
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "long.md", "numbers.json", "page.html"]
    assert demo.main(["--from", str(folder / "numbers.json"), "--html", str(tmp_path / "page.html")]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "page.html").read_bytes() == (folder / "page.html").read_bytes()
    assert all(len(line) <= 80 for line in printed.split("\n"))
    assert "nan" not in printed.replace("nats", "").replace("dominan", "")
    assert (folder / "README.md").read_text(encoding="utf-8") == with_block(f"before\n{BEGIN}\n{END}\nafter\n", numbers)
    # The answer comes first, each finding in a claim and a number; then the details in the same order.
    claims = [module.answer(numbers["findings"][str(n)])[0] for n, module in demo.FINDINGS.items()]
    flat = " ".join(printed.split())
    at = [flat.index(claim) for claim in claims]
    assert at == sorted(at) and all(flat.count(claim) == 2 for claim in claims)


def test_parts_can_be_chosen(capsys, text):
    assert demo.main([*SMALL, "--seeds", "1", "--lr", "0.01", "--steps", "10", "--text", text, "--part", "6"]) == 0
    printed = capsys.readouterr().out
    assert "learning rate 0.01" in printed and "Magnitude" in printed and "E alone cannot" not in printed


def test_full_searches_rates_and_lengths_and_sizes(text, tmp_path, monkeypatch):
    for name, value in (("LONGER", (2,)), ("SIZES", ((0, 4),)), ("RATES", (2e-3, 4e-3))):
        monkeypatch.setattr(cost, name, value)
    monkeypatch.setattr(demo, "sweep", lambda lab, kinds: laboratory.sweep(lab, kinds, 4e-3, 4e-3, 8e-3))
    path = tmp_path / "numbers.json"
    assert demo.main([*SMALL, "--seeds", "2", "--full-seeds", "1", "--text", text, "--part", "8", "--full", "--json", str(path)]) == 0
    numbers = json.loads(path.read_text(encoding="utf-8"))
    full = numbers["findings"]["8"]["full"]
    assert set(full["lengths"]["2"]["tied"]["tried"]) == {"0.002", "0.004"}
    assert [size["D"] for size in full["sizes"]] == [4] and full["seeds"] == [0]
    assert all(one["seconds"] > 0 for name, one in numbers["rates"].items() if name in ("tied", "untied"))


# ---- what is committed ---------------------------------------------------------------------------

def test_the_readme_and_the_long_form_are_those_of_the_committed_numbers():
    numbers = demo.read_numbers(COMMITTED)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == with_block(text, numbers), "run the command in README.md's comment"
    long = (ROOT / "demos" / "findings" / "README.md").read_text(encoding="utf-8")
    assert long == demo.tell(numbers).markdown()
    block = BLOCK.search(text).group()
    assert block.count("\n- **") == 5 and len(re.findall(r"\.\s", block)) <= 12              # sentences


def test_the_answer_in_a_sentence_is_given_only_where_the_numbers_bear_it_out():
    numbers = demo.read_numbers(COMMITTED)
    assert demo.tell(numbers).text().split("\n")[3].startswith(lead(numbers)[:40])
    like = numbers["findings"]["4"]["when"]["throughout"]
    like["output"], like["input"] = like["input"], like["output"]
    assert lead(numbers) == ""
    assert demo.tell(numbers).text().split("\n")[3].startswith(numbers["about"]["source"])


def test_the_committed_sweep_has_the_best_rate_of_every_kind():
    rates = laboratory.committed()["rates"]
    for n, module in demo.FINDINGS.items():
        for kind in module.kinds(Settings()):
            if not kind.same_time:
                one = rates[kind.name]
                assert min(one["tried"], key=one["tried"].get) == f"{one['best']:g}"


# ---- any model -----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model's folder with a tokenizer, as GPT-2's is."""
    path = tmp_path_factory.mktemp("gpt")
    tokenizer = BPETokenizer.train("she sells sea shells by the sea shore " * 9, 270)
    tokenizer.save(path)
    with_large_weights(GPTConfig(tokenizer.vocab_size, 8, 2, 2, 8), 3, np.float32).save_pretrained(path)
    return path


@pytest.mark.parametrize("given_text", [True, False])
def test_any_model_is_looked_at(capsys, folder, text, tmp_path, given_text):
    arguments = ["--text", text] if given_text else ["--start", "5"]
    assert demo.main(["--model", str(folder), *arguments, "--json", str(tmp_path / "numbers.json")]) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))["findings"]
    assert list(found) == [str(n) for n in demo.ON_ANY_MODEL]
    assert "L = 2, tied" in printed and "What does not follow" in printed
    assert all(len(line) <= 80 for line in printed.split("\n") if str(folder) not in line)


def test_generated_sequences_are_cut_at_their_end(folder, tmp_path):
    from lib.subject import GENERATED, Subject
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    fields = json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) | {"bos_token_id": 5, "eos_token_id": 97}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    subject = Subject(tmp_path)
    assert subject.counts[5] >= GENERATED and (subject.ids[:, 0] == 5).all()
    for ids, targets in zip(subject.ids, subject.targets):
        end = np.flatnonzero(targets == 97)
        if len(end):
            assert len(end) == 1 and (targets[end[0] + 1:] == -1).all()
        assert (targets[:-1] == ids[1:])[targets[:-1] >= 0].all()
    assert subject.counts.sum() == sum(1 + np.sum(t >= 0) for t in subject.targets)


# ---- bad input -----------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments, message", [
    (["--part", "9"], "--part"),
    (["--seeds", "0"], "--seeds: 0 given, expected at least 1"),
    (["--vocab-size", "-1"], "--vocab-size: -1 given, expected at least 0"),
    (["--seed", "-1"], "--seed: -1 given, expected at least 0"),
    (["--lr", "0"], "--lr: 0 given, expected a positive number"),
    (["--html", "/no/such/folder/page.html"], "--html: /no/such/folder/page.html given"),
    (["--model", "x", "--part", "1"], "--part: 1 given with --model, expected of 2, 3, 5, 6"),
    (["--model", "x", "--from", "y"], "--from: given with --model"),
    (["--part", "1", "--readme", "README.md"], "--readme: given with only some findings"),
])
def test_bad_options_are_one_message_and_status_2(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        demo.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_looked_at_is_refused_before_anything_is_written(folder, tmp_path, text, monkeypatch):
    monkeypatch.setattr(laboratory, "train", None)
    page = tmp_path / "page.html"
    short, binary, rare, other = (tmp_path / name for name in ("short", "binary", "rare", "other"))
    short.write_text("ab")
    binary.write_bytes(b"\xff\xfe\xff")
    rare.write_text("".join(map(chr, range(200, 400))), encoding="utf-8")
    other.write_text("{}")
    post, bare = tmp_path / "post", tmp_path / "bare"
    with_large_weights(GPTConfig(5, 4, 1, 1, 4, norm="post"), 0, np.float32).save_pretrained(post)
    with_large_weights(GPTConfig(5, 4, 1, 1, 4), 0, np.float32).save_pretrained(bare)
    for arguments, message in [
            (["--text", str(short)], "tokens: .* given, expected more than the block"),
            (["--text", str(binary)], "not UTF-8"),
            (["--text", str(rare)], "text: .* tokens occur 10 times or more in it, expected tokens of at least 4"),
            (["--text", str(tmp_path / "none")], "No such file"),
            (["--text", text, "--heads", "3"], "n_embd: 8 given, expected a multiple of n_head = 3"),
            (["--model", str(tmp_path / "none")], "none"),
            (["--model", str(post)], "norms after the sums"),
            (["--model", str(bare)], "--start: None given, expected a token of 0 to 4"),
            (["--model", str(bare), "--start", "5"], "--start: 5 given, expected a token of 0 to 4"),
            (["--model", str(bare), "--text", text], "no tokenizer here"),
            (["--model", str(folder), "--text", str(short)], "tokens: .* given, expected more than the block"),
            (["--from", str(other)], "expected a file that --json has written"),
            (["--from", str(binary)], "expected a file that --json has written")]:
        rest = [] if arguments[0] in ("--model", "--from") else SMALL
        with pytest.raises((ValueError, OSError), match=message):
            demo.main([*rest, *arguments, "--html", str(page)])
    assert not page.exists() and not page.with_name("page.html.tmp").exists()
