"""``--ttt own``: the network's method ``adapt`` gets the tokens of each chunk once they are paid for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from bpb_harness.adaptation.ordinary import make_ordinary
from bpb_harness.errors import HarnessError, UsageError
from bpb_harness.network_call import refusing_exits


@final
class OwnAdaptation:
    """Hands tokens over; what the network does with them is its own.

    Args:
        model: a network with a method ``adapt(tokens)``: (n,) int64 on its device, a copy of its own.

    Raises:
        UsageError: if it has none.
    """

    can_undo: ClassVar[bool] = False

    def __init__(self, model: Any) -> None:
        self._model, self._adapt = model, getattr(model, "adapt", None)
        if not callable(self._adapt):
            raise UsageError(
                "--ttt own", seen="a network without a method adapt(tokens)",
                expected="one that learns by itself, from --model FILE.py:LOADER or in memory",
                hint="pass --ttt sgd, the harness's own loop",
            )  # fmt: skip

    def rehearse(self, token: int) -> list[str]:  # noqa: ARG002  # as the protocol has it
        """Nothing: what it would learn cannot be taken from it."""
        return []

    def learn(self, tokens: Tensor, chunk: int, num_chunks: int) -> None:
        """Hand them over, with gradients enabled."""
        del num_chunks
        make_ordinary(self._model)
        with torch.inference_mode(False), torch.enable_grad():
            try:
                with refusing_exits(f"adapt(tokens), at chunk {chunk},"):
                    self._adapt(tokens.clone())  # type: ignore[misc]
            except HarnessError:
                raise
            except Exception as error:  # code that is not ours fails in many ways
                seen = f"{type(error).__name__}: {error}"
                raise UsageError(f"adapt(tokens) failed at chunk {chunk}", seen=seen) from error

    def undo(self) -> None:
        """Nothing: only the network knows what it changed."""

    def state(self) -> dict[str, Tensor]:
        """Refused where settings are checked: what a network changes may lie anywhere."""
        raise AssertionError

    def load_state(self, state: Mapping[str, Tensor]) -> None:  # noqa: ARG002  # as the protocol has it
        """As :meth:`state`."""
        raise AssertionError
