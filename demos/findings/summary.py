"""README's answer, ten sentences or so in five points, from the numbers alone; and where in README they stand."""
import re

import numpy as np

from findings import cost, e_alone, likelihood, turning_point, who_moves_e, why_output
from lib.charts import spread
from lib.report import wrapped

BEGIN = "<!-- one_matrix: rendered by python demos/one_matrix.py --from demos/findings/numbers.json --readme README.md -->"
END = "<!-- one_matrix: end -->"
BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)


def with_block(text, numbers):
    """The text with its marked block renewed. Raises ValueError if it has none, or several."""
    if len(BLOCK.findall(text)) != 1:
        raise ValueError(f"--readme: expected a file with one block from {BEGIN!r} to {END!r}")
    answer = lead(numbers)
    first = [*wrapped(answer, columns=120), ""] if answer else []
    body = "\n".join(first + [line for point in points(numbers) for line in wrapped(point, "- ", columns=120)])
    return BLOCK.sub(lambda _: f"{BEGIN}\n{body}\n{END}", text)


def lead(numbers):
    """The answer in a sentence; none where the numbers do not bear it out in every seed."""
    one, two, four = (numbers["findings"][str(n)] for n in (1, 2, 4))
    _, model = turning_point.of(two, True)
    turn = turning_point.turns(model)
    if turn is None or not e_alone.mlp_closes(e_alone.gaps(one)) or not np.all(why_output.nearer_to_output(four)):
        return ""
    return ("E does not do both jobs alone: the logits shape it into an output matrix, and one sublayer "
            f"({turning_point.named(model, turn[0])}) turns the vector looked up in it, which encodes the token just read, into one "
            "that predicts the next.")


def points(numbers):
    """numbers with all findings -> texts of a few sentences each, what they claim in bold."""
    one, two, three, four, five, _, _, eight = (numbers["findings"][str(n)] for n in range(1, 9))
    return [e_by_itself(one), first_block(one, two), why_an_output_embedding(three, four), frequency(five), tying(eight)]


def e_by_itself(n):
    loss = [e_alone.column(n, "0", kind, "loss") for kind in ("tied", "untied")]
    return (f"**E alone {'cannot' if np.all(loss[0] > loss[1]) else 'can'}**: without a block the score of v after u is a product of "
            f"two rows of E, {spread(100 * e_alone.column(n, '0', 'tied', 'symmetric'), 0)}% symmetric, while the text's bigram counts are "
            f"{100 * n['text']['symmetric']:.0f}%. Its loss stays at {spread(loss[0], 2)} nats; that of two matrices is {spread(loss[1], 2)}.")


def first_block(n, lens):
    gap = e_alone.gaps(n)
    alone = gap[f"1, {e_alone.BRANCHES['mlp']}"]
    closes = e_alone.mlp_closes(gap)
    other = closes and np.all(gap["1"] > alone)
    return (f"**The first MLP {'undoes' if closes else 'does not undo'} the tie**: one matrix is {spread(gap['0'], 2)} nats worse than two "
            f"without a block, and {spread(alone, 2)} with an MLP alone (with a whole block {spread(gap['1'], 2)}"
            f"{', for with attention the tie has another cost' if other else ''}). {turning(lens)}")


def turning(n):
    name, model = turning_point.of(n, True)
    turn = turning_point.turns(model)
    ahead = spread(100 * np.array(model["read ahead"])[:, 0], 0)
    begins = f"With {name}, the residual stream at first spells the token read (at {ahead}% of positions), and"
    if turn is None:
        return f"{begins} does not turn."
    where, share = turn
    return f"{begins} {turning_point.named(model, where)} does {spread(100 * share, 0)}% of the turn to the next."


def why_an_output_embedding(three, four):
    ratio, moved = who_moves_e.ratios(three), np.array(three["probes"]["lookup share so far"])[:, -1]
    one = why_output.FACTORS.index(1)
    output, into = (why_output.values(four, "throughout", end) for end in ("output", "input"))
    nearer, turned = np.all(why_output.nearer_to_output(four)), np.all(into[-1] > output[-1])
    return (f"**E is {'an' if nearer else 'not plainly an'} output embedding{', because the logits move it' if turned else ''}**: the cosines of its "
            f"rows have a rank correlation of {spread(output[one], 2)} with those of an untied model's output matrix, and of {spread(into[one], 2)} with "
            f"its input matrix's. The lookup's gradient falls to {spread(ratio.min(axis=1), 3)} of the logits' by step "
            f"{who_moves_e.steps_at(three, ratio.argmin(axis=1))}, and accounts for {spread(100 * moved, 0)}% of E's whole movement. Multiplied by ten, it "
            f"{'turns' if turned else 'does not turn'} E into an input matrix ({spread(output[-1], 2)} and {spread(into[-1], 2)}).")


def frequency(n):
    best = np.array(n["R2"]["tied E"]["best direction"])
    output, into = (n["surgery"][f"best direction, {end}"] for end in ("output", "input"))
    return (f"**Frequency is a direction of E**: it predicts {spread(100 * best, 0)}% of the log frequency of tokens that it was not fitted to. "
            f"A row moved along it to make its token 20 times as likely makes it {spread(likelihood.attained(output, 20), 1)} times as likely at the "
            f"output and {spread(likelihood.attained(into, 20), 2)} times at the input.")


def tying(n):
    differences, won = cost.comparisons(n), cost.wins(n)
    equal = [differences[f"equal {what}"] for what in ("steps and width", "parameters")]
    return (f"**Tying {'costs' if all(np.all(d > 0) for d in equal) else 'can cost'}** {spread(equal[0])} nats at equal steps and {spread(equal[1])} "
            f"at equal parameters, and wins in {len(won) or 'none'} of {len(differences)} comparisons ({cost.searched(n)}).")
