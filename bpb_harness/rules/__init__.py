"""What a contest adds to the arithmetic of an audit: packs of rules, as data.

pack.py           RulePack and its parts
packs/*.toml      the packs that are shipped, each fact with its source
format.py         what may stand in a pack's file
pack_file.py      a file to a RulePack
choice.py         which pack a record is held against
denominators.py   known bytes per token
byte_factors.py   by what byte bugs multiply the bytes of a text
"""

from bpb_harness.rules.choice import Candidates, Rules, candidates_of, rules_for
from bpb_harness.rules.pack import NO_PACK, RulePack
from bpb_harness.rules.pack_file import pack_of, read_pack, shipped_names, shipped_pack

__all__ = [
    "NO_PACK",
    "Candidates",
    "RulePack",
    "Rules",
    "candidates_of",
    "pack_of",
    "read_pack",
    "rules_for",
    "shipped_names",
    "shipped_pack",
]
