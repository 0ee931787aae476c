"""README's answer, at most a dozen sentences, from the numbers alone; and where in README they stand."""
import re

import numpy as np

from findings import cost, e_alone, likelihood, turning_point, who_moves_e, why_output
from lib.charts import spread
from lib.report import wrapped

BEGIN = "<!-- one_matrix: rendered by python demos/one_matrix.py --from demos/findings/numbers.json --readme README.md -->"
END = "<!-- one_matrix: end -->"
BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)


def with_block(text, sentences):
    """The text with its marked block renewed. Raises ValueError if it has none, or several."""
    if len(BLOCK.findall(text)) != 1:
        raise ValueError(f"--readme: expected a file with one block from {BEGIN!r} to {END!r}")
    body = "\n".join(line for sentence in sentences for line in wrapped(sentence, columns=120))
    return BLOCK.sub(lambda _: f"{BEGIN}\n{body}\n{END}", text)


def sentences(numbers):
    """numbers with all findings -> texts of one sentence each."""
    one, two, three, four, five, _, _, eight = (numbers["findings"][str(n)] for n in range(1, 9))
    return [*about_E_alone(one), *about_turning(two), *about_gradients(three, four), *about_likelihood(five), *about_cost(eight)]


def about_E_alone(n):
    gap = e_alone.gaps(n)
    alone = {branch: gap[f"1, {name}"] for branch, name in e_alone.BRANCHES.items()}
    column = e_alone.column
    return [
        "E alone cannot do both jobs: without a block the score of v after u is a product of two rows of E, "
        f"{spread(100 * column(n, '0', 'tied', 'symmetric'), 0)}% symmetric where the text's counts of two tokens are "
        f"{100 * n['text']['symmetric']:.0f}%, and the loss stays at {spread(column(n, '0', 'tied', 'loss'), 2)} nats, where two matrices reach "
        f"{spread(column(n, '0', 'untied', 'loss'), 2)} and those counts {n['text']['bigram loss']:.2f}.",
        f"With a block's MLP alone the gap between one matrix and two is {spread(alone['mlp'], 2)} instead of {spread(gap['0'], 2)} nats, with its "
        f"attention alone {spread(alone['attention'], 2)}, with all of a block {spread(gap['1'], 2)}"
        + (": the MLP undoes the tie, and what attention adds to the gap is a cost of another kind." if np.all(alone["mlp"] < gap["0"] / 2)
           and np.all(gap["1"] > alone["mlp"]) else ".")]


def about_turning(n):
    name, model = turning_point.of(n, True)
    turn = turning_point.turns(model)
    ahead = spread(100 * np.array(model["read ahead"])[:, 0], 0)
    if turn is None:
        return [f"The stream has the token read ahead of the one to come at {ahead}% of positions behind the lookup, and does not turn ({name})."]
    where, share = turn
    return [f"The stream begins as the token read (ahead of the one to come at {ahead}% of positions), and {turning_point.named(model, where)} "
            f"does {spread(100 * share, 0)}% of turning it, which costs {spread(turning_point.cost_of(model, where), 2)} nats to undo ({name})."]


def about_gradients(three, four):
    ratio, moved = who_moves_e.ratios(three), np.array(three["probes"]["lookup share so far"])[:, -1]
    one = why_output.FACTORS.index(1)
    output, into = (why_output.values(four, "throughout", end) for end in ("output", "input"))
    loss, early = (why_output.values(four, when, "loss")[which] for when, which in (("throughout", one), ("early only", -1)))
    nearer, turned = np.all(output[one] > into[one]), np.all(into[-1] > output[-1])
    lasts = np.all(why_output.values(four, "early only", "input")[-1] > why_output.values(four, "early only", "output")[-1])
    z = np.abs(np.array(three["probes"]["cosine"]) / np.array(three["probes"]["random cosine"]))
    return [
        f"What E holds is {'the output' if nearer else 'not plainly the output'}'s: the cosines of its rows have a rank correlation of "
        f"{spread(output[one], 2)} with those of an untied model's output matrix, and of {spread(into[one], 2)} with its input matrix's.",
        f"{'That is because the' if turned else 'The'} logits move it: the lookup's gradient falls to {spread(ratio.min(axis=1), 3)} of the logits' by step "
        f"{who_moves_e.steps_at(three, ratio.argmin(axis=1))}, and though it is {spread(ratio[:, -1], 2)} times as large in the end, its share "
        f"of the way that E has gone is {spread(100 * moved, 0)}%.",
        f"Multiplied by ten, that gradient {'turns' if turned else 'does not turn'} E into an input matrix ({spread(output[-1], 2)} and "
        f"{spread(into[-1], 2)}); multiplied so in the first {100 * four['EARLY']:.0f}% of the steps only, it {'does, too' if lasts else 'does not'}, "
        f"and the loss changes by {spread(early - loss)} nats.",
        f"The two are not quite at right angles: their cosine is more than two random standard deviations from 0 at "
        f"{spread(100 * np.mean(z > 2, axis=1), 0)}% of the steps."]


def about_likelihood(n):
    best = np.array(n["R2"]["tied E"]["best direction"])
    output, into = (n["surgery"][f"best direction, {end}"] for end in ("output", "input"))
    return [
        f"Frequency is a direction of E, which predicts {spread(100 * best, 0)}% of the log frequency of tokens that it was not fitted to "
        f"(the length of a row: {spread(100 * np.array(n['R2']['tied E']['norm']), 0)}%), nine tenths of it by step {likelihood.learnt(n)}.",
        f"A row moved along it to make its token 20 times as likely makes it {spread(likelihood.attained(output, 20), 1)} times as likely at the "
        f"output and {spread(likelihood.attained(into, 20), 2)} times at the input."]


def about_cost(n):
    differences, won = cost.comparisons(n), cost.wins(n)
    return [
        f"Tying costs {spread(differences['equal steps and width'])} nats at equal steps and {spread(differences['equal parameters'])} at equal parameters, each "
        "kind at its best learning rate.",
        (f"It wins in {len(won)} of {len(differences)} comparisons, {cost.wins_in_words(n)}" if won else f"It wins in none of {len(differences)} comparisons")
        + f"; searched: {cost.searched(n)}."]
