"""The second look: some of what was summed is scored again by a fresh process that has only the checkpoint.

A process that scores a network has the text in its memory, and the network runs inside it. What a network finds there,
or leaves there between two calls, the checks of its behaviour may miss. So a second process is started beside scoring.
It builds the network again, in an empty folder, without the text. When the score is known, its hash chooses some of the
masked windows that went into it. The fresh process gets them one at a time, without the tokens behind the masks; it
holds what the network says before it learns what was to be predicted; and what comes out must be what was summed.

``questions``: what is asked, and when two answers are the same. ``answering``: how a network is asked.
``fresh_process``: the process. ``asking``: its other end. ``waiting``: it is started before it is needed, and so before
torch is imported; nothing is imported here for that.
"""
