"""The findings of one_matrix.py, one a file: a claim, a control that could refute it, what was measured.

Each has
    kinds(settings)     the kinds of run (lib/lab.py) that it needs
    measure(lab)        -> its numbers, plain data: everything that is told comes from them alone
    answer(numbers)     -> its claim in a sentence, and the number it stands on
    tell(numbers, report)   the details
and those that work on any model
    examine(subject)    -> their numbers for one that is not trained here
"""
