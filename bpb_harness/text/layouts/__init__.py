"""Ways to lay spans over a text, one a file; each gives :class:`bpb_harness.text.spans.Spans`.

cut.py        pieces that lie end to end: what the others are made of
windows.py    nothing before a window is visible; or its own first tokens are, and are not paid for
stride.py     each span sees as much of the text before it as fits
blocks.py     within a window, each block sees all blocks before it
documents.py  any of these, within each document
answers.py    each answer sees its prompt, as much of it as fits
"""
