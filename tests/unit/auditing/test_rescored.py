"""What of a result of the harness a claim is held against."""

from __future__ import annotations

from typing import Any

import pytest

from bpb_harness.auditing import Recomputed


class _Signature:
    def __init__(self, text: str, **settings: Any) -> None:
        self._text = text
        vars(self).update(settings)

    def __str__(self) -> str:
        return self._text


class _Result:
    bits_per_byte, mc_stderr, corpus_stderr, relation = 1.25, 0.01, 0.02, "~<="

    def __init__(self, signature: _Signature) -> None:
        self.signature = signature


def test_the_settings_are_those_of_the_signature() -> None:
    signature = _Signature(
        "bpb|windows:[0:96/500]|x", method="discrete", num_steps="128", context_length="1024", data="tiny_val@12345678"
    )
    assert Recomputed.of(_Result(signature)) == Recomputed(
        bits_per_byte=1.25,
        mc_stderr=0.01,
        corpus_stderr=0.02,
        relation="~<=",
        signature="bpb|windows:[0:96/500]|x",
        method="discrete",
        num_steps=128,
        context_length=1024,
        num_windows=96,
        data_name="tiny_val",
    )


@pytest.mark.parametrize("settings", [{}, {"num_steps": None, "context_length": "document", "data": None}])
def test_what_a_signature_does_not_say_is_not_known(settings: dict[str, Any]) -> None:
    assert Recomputed.of(_Result(_Signature("bpb|windows:500", **settings))) == Recomputed(
        bits_per_byte=1.25, mc_stderr=0.01, corpus_stderr=0.02, relation="~<=", signature="bpb|windows:500"
    )
