"""What is worth printing of a network that is scored all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final


@final
@dataclass(frozen=True)
class ContractFinding:
    """Something worth printing that does not make the score meaningless.

    Attributes:
        code: stable name, such as "contract.mask-mass".
        message: one line.
        evidence: numbers and positions.
    """

    code: str
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
