"""Score first, adapt after: test-time training on text that has been paid for (MATHS.md, section 13).

A text is cut into chunks (``chunks``). Chunk k is scored by the state that the chunks before it have left; only then
its tokens, and nothing else of the text, are handed to what learns (``learner``): the harness's own stochastic gradient
descent (``sgd``, its loss in ``loss``), or the network's method ``adapt`` (``own``).
"""
