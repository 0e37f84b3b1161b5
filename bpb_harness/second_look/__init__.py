"""The second look: some of what was summed is scored again by a fresh process that has only the checkpoint.

A process that scores a network has the text in its memory, and the network runs inside it. What a network finds there,
or leaves there between two calls, the checks of its behaviour may miss. So a second process is started beside scoring.
It builds the network again, in an empty folder, without the text. When the score is known, its hash chooses some of the
masked windows that went into it. The fresh process gets them one at a time, without the tokens behind the masks; it
holds what the network says before it learns what was to be predicted; and what comes out must be what was summed.

``questions``: what is asked, and when two answers are the same. ``answering``: how a network is asked.
``fresh_process``: the process. ``asking``: its other end.
"""

from __future__ import annotations

from bpb_harness.second_look.asking import AnsweringProcess, ModelSource, ask_here, start_ahead
from bpb_harness.second_look.questions import Answer, Question, require_same_answers

__all__ = ["Answer", "AnsweringProcess", "ModelSource", "Question", "ask_here", "require_same_answers", "start_ahead"]
