"""Which mistake is it? A mistake is named only where the learner's numbers are its numbers, case after case."""
from itertools import permutations

import numpy as np

from .answers import RTOL, Fault, answer, fault, near
from .cases import random_case
from .exercises import Part
from .mistakes import general

WIDE_PROBES = 16        # inputs that "right wherever X = 1" has to hold on; half as many for each larger size
NEARLY = 1e-3           # of the largest number: an error so small is one of rounding, of a step, of a constant


def diagnosis(exercise, function, smallest, found):
    """Texts about the mistakes that are seen by the learner's numbers; empty if none is known."""
    answers = Answers(exercise, function, smallest)
    names = found.names or answers.names
    if not names:
        return []
    if text := in_another_order(answers):
        return [text]
    whole = next((m for m in exercise.mistakes if m.of == "all" and is_whole(m, answers)), None)
    if whole:
        return [whole.text]
    texts, usual = [], [] if isinstance(exercise, Part) else general(exercise.letters)
    for name in names:
        possible = [m for m in [*exercise.mistakes, *usual] if m.of in (name, "*")]
        mistake = next((m for m in possible if has(m, name, answers)), None)
        if mistake is not None:
            text = mistake.text.format(name=name)
            texts.append(f"{name}: {text}" if mistake.of == "*" else text)
    texts = list(dict.fromkeys(texts))
    return texts[:3] or only_where(exercise, function, names) or nearly_right(answers, names)


class Answers:
    """The learner's answers to the smallest case and to the probes: (case, gradients by name), made when asked for."""

    def __init__(self, exercise, function, smallest):
        self.exercise, self.function, self.smallest, self.found = exercise, function, smallest, []
        self.seeds = iter(range(exercise.probes))

    def __iter__(self):
        yield from self.found
        while (case := self.next_case()) is not None:
            given = answer(case, self.function)
            if not isinstance(given, Fault):
                self.found.append((case, given))
                yield case, given

    def next_case(self):
        if self.smallest is not None:
            case, self.smallest = self.smallest, None
            return case
        seed = next(self.seeds, None)
        return None if seed is None else random_case(self.exercise, seed)

    @property
    def names(self):
        return next((list(given) for _, given in self), [])


def has(mistake, name, answers):
    """Whether the gradients called `name` are the mistake's, all of them, and not by being right."""
    distinct = 0
    for case, given in answers:
        right = case.expected([name])[name]
        try:
            with np.errstate(all="ignore"):
                wrong = wrong_gradient(mistake, case, right)
        except (ValueError, IndexError):        # shapes for which the mistake is an error as well
            return False
        if not near(given[name], wrong):
            return False
        distinct += not near(right, wrong)
    return distinct >= answers.exercise.distinct


def wrong_gradient(mistake, case, right):
    if mistake.factor is not None:
        return right * mistake.factor(case.sizes)
    before = [] if case.before is None else [case.before.copy()]
    return np.asarray(mistake.formula(right, case.dout, *case.inputs.values(), *before))


def is_whole(mistake, answers):
    """Whether all gradients are the mistake's, the wrong and the right ones."""
    distinct = 0
    for case, given in answers:
        wrong, right = mistake.answer(case), case.expected()
        if not all(near(given[name], wrong[name]) for name in given):
            return False
        distinct += not all(near(right[name], wrong[name]) for name in given)
    return distinct >= answers.exercise.distinct


def in_another_order(answers):
    """A sentence, if what is returned is right but not in the order it should be in."""
    names = answers.names
    if isinstance(answers.exercise, Part) or not 2 <= len(names) <= 3:
        return ""
    orders = [order for order in permutations(names) if list(order) != names]
    distinct = 0
    for case, given in answers:
        right = case.expected()
        orders = [order for order in orders if all(near(given[a], right[b]) for a, b in zip(names, order))]
        if not orders:
            return ""
        distinct += any(not near(given[name], right[name]) for name in names)
    if distinct < answers.exercise.distinct:
        return ""
    returned = ", ".join(orders[0])
    return f"Each is right, but not in its place: backward returned {returned}; expected {', '.join(names)}."


def only_where(exercise, function, names):
    """Texts for the sizes (sequences, rows, heads, ...) of which it takes two to go wrong.

    Said only where the gradients in question are not zero anyway at size 1, and of many inputs.
    """
    def right_at(letter, size):
        for seed in range(WIDE_PROBES):
            case = random_case(exercise, seed, small=1, **{letter: size})
            if fault(case, function):
                return False
            right = case.expected()
            if not any(np.abs(right[name]).max() > 1e-6 for name in names if name in right):
                return False
        return True

    def wrong_at(letter, size):
        return all(fault(random_case(exercise, seed, **{letter: size}), function) for seed in range(WIDE_PROBES // 2))

    def right_up_to(letter, most):
        """The largest size below `most` up to which it is right and from which on it is wrong; 0 if there is none."""
        up_to = next((size - 1 for size in range(1, most + 1) if not right_at(letter, size)), most)
        return up_to if 0 < up_to < most and all(wrong_at(letter, size) for size in range(up_to + 1, most + 1)) else 0

    largest = {letter: most for letter, (_, most) in exercise.sizes.items()}
    possible = [letter for letter in exercise.letters
                if exercise.sizes[letter][0] == 1 < largest[letter] and exercise.is_telling(largest | {letter: 1})]
    limits = {letter: right_up_to(letter, largest[letter]) for letter in possible}
    return [f"It is right wherever {letter} {'=' if limit == 1 else '<='} {limit}, and wrong where {letter} > {limit}."
            for letter, limit in limits.items() if limit]


def nearly_right(answers, names):
    """A text, if all wrong numbers are right to three digits at least, on every input: something is rounded."""
    errors = []
    for case, given in answers:
        right = case.expected(names)
        pairs = [(given[name], right[name]) for name in names]
        if any(a.shape != b.shape or a.dtype.kind != "f" for a, b in pairs):
            return []
        errors.append(max(np.abs(a - b).max() / max(1, np.abs(b).max()) for a, b in pairs))
        if not errors[-1] < NEARLY:
            return []
    if sum(error > RTOL for error in errors) < answers.exercise.distinct:
        return []
    digits = int(-np.log10(max(errors)))
    return [f"It is right to {digits} digits or more, and not to all: is something rounded on the way "
            "(float32, np.round), is a small constant not the one given, or is this a difference with a step, where "
            "the derivative is asked for?"]
