"""Checks of the scripts behind a score: read as data, analysed by their syntax tree, never executed.

source            text out of files, logs and self-extracting wrappers
program           scopes, definitions, which function a call means
values            numbers that expressions stand for
algebra           the reported score as products of factors
analysis          the scores, and the masks behind them
pieces            what byte-counting code makes of single tokens
byte_constants    tokens times a constant
byte_tables       tables and the loops that use them
weights           the weight against the mask rate
mask_rates        single rates, cut ranges, dropped ends, the prior
special_tokens    boundaries that are never masked
procedure         passes that condition on each other
noise             seeds and hashes
precision         16-bit sums, half precision, means of ratios
coverage          subsets, samplers, settings against the record
run_byte_table    the one thing that may run, if the user says so
check             all of them; findings
"""

from bpb_harness.auditing.script.check import check_scripts, check_source
from bpb_harness.auditing.script.context import ScriptContext
from bpb_harness.auditing.script.source import SourceText, decode_source, extract_embedded

__all__ = ["ScriptContext", "SourceText", "check_scripts", "check_source", "decode_source", "extract_embedded"]
