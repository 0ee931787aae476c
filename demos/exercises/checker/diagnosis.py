"""Which mistake is it? A mistake is named only where the learner's numbers are its numbers, case after case."""
from itertools import permutations

import numpy as np

from .answers import Fault, answer, fault, near
from .cases import random_case
from .exercises import Part
from .mistakes import general

WIDE_PROBES = 16        # inputs that "right wherever X = 1" has to hold on, and as many where it is wrong


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
    return texts[:3] or only_where(exercise, function, names)


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
    return f"Each is right, but not in its place: backward returned {', '.join(orders[0])}; expected {', '.join(names)}."


def only_where(exercise, function, names):
    """Texts for the sizes (sequences, rows, heads, ...) of which it takes two to go wrong.

    Said only where the gradients in question are not zero anyway at size 1, and of many inputs.
    """
    def right_at_one(letter):
        for seed in range(WIDE_PROBES):
            case = random_case(exercise, seed, small=1, **{letter: 1})
            if fault(case, function):
                return False
            right = case.expected()
            if not any(np.abs(right[name]).max() > 1e-6 for name in names if name in right):
                return False
        return True

    def wrong_at_two(letter, most):
        return all(fault(random_case(exercise, seed, **{letter: most}), function) for seed in range(WIDE_PROBES))

    largest = {letter: most for letter, (_, most) in exercise.sizes.items()}
    possible = [letter for letter in exercise.letters
                if exercise.sizes[letter][0] == 1 < largest[letter] and exercise.is_telling(largest | {letter: 1})]
    return [f"It is right wherever {letter} = 1, and wrong where {letter} > 1." for letter in possible
            if right_at_one(letter) and wrong_at_two(letter, largest[letter])]
