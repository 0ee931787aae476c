"""What check.py is made of, in the order in which to read it. (Here are spoilers.)

files       a learner's files, and the templates they begin as
exercises   the table: what goes in, what comes out, how large the inputs are
cases       inputs, and whether gradients are right for them
answers     what a learner's function returns for one input, and what is wrong with that
mistakes    which known mistake it is
steps       of a block or a model: every gradient on the way back
verdict     all of this about one file, in a process of its own, with the smallest input
show        the same as lines of text
teaching    the questions and the hints
training    the end, where the learner's backward passes train a GPT
"""
