"""Which of several systems is better on one text, by how much, and how sure that is.

systems.py     what is compared: scores in memory, files of scores, checkpoints
same_text.py   whether two scores are of the same text, and their costs unit by unit
mask_error.py  how far a difference may be off because masks were sampled
text_error.py  how far it would move on other text of the same kind; p; Holm's correction
verdict.py     what follows: bound against bound, bound against exact, exact against exact
result.py      the numbers and their sentences
tables.py      as text, Markdown and LaTeX
contest.py     runs from several seeds by the contest's rule
compare.py     all of it in order
"""
