"""The parameter-golf contest's records that grew from its baseline, as :mod:`bpb_harness.adapters.golf_gpt` loads them.

What their files do not hold comes from the user, by name or as a preset (``settings.py``); tensors that are stacked
into banks are taken apart (``banks.py``); ``network.py`` is the forward pass.
"""

from __future__ import annotations

from bpb_harness.adapters.golf_record.banks import is_banked
from bpb_harness.adapters.golf_record.network import RecordGpt
from bpb_harness.adapters.golf_record.settings import PRESETS, RecordSettings, is_record

__all__ = ["PRESETS", "RecordGpt", "RecordSettings", "is_banked", "is_record"]
