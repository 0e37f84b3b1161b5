"""Checks of the scripts behind a score: read as data, analysed by their syntax tree, never executed.

frontend/               reading: imports nothing of the rooms below
    source              text out of files, logs and self-extracting wrappers
    scopes, index       names and their definitions; one walk that notes what stands where
    program             which definition a name refers to, which function a call means
    options             what a command line is known to have given
    walker              one way through expressions, and one step back: names, parameters, attributes, calls, elements
domains/                what expressions stand for: a walker each, which says what several origins come to together
    values              numbers: arithmetic, comparisons, branches, loops as grids; all origins agree
    algebra             the reported score as products of factors; origins are summands
    cancel              what is the same above and below the line; the only origin
    pieces              what byte-counting code makes of single tokens: statements, strings
    byte_counts         the bytes that a denominator holds for one token; what is assigned and added
    trace               what a value is computed from: every origin, one step or all the way
    sinks               where the score is reported
    analysis            the scores, and the masks behind them
    weight              the weight of a scored term at each mask rate
    hiding, hidden_text whether a draw chooses tokens; the text whose tokens it hides
checks/                 one file a check
    byte_constants      tokens times a constant
    byte_tables         tables and the loops that use them
    weights             the weight against the mask rate
    mask_rates          single rates, cut ranges, dropped ends, the prior
    special_tokens      boundaries that are never masked
    two_passes          passes that condition on each other
    joint_prices        several tokens that have one price
    last_pass           text that is learnt before it is scored
    hashed_counts       counts of hashed contexts
    rounded_counts      numbers of masked tokens that are rounded
    means_of_ratios     scores of windows that are averaged
    coverage            subsets
running/                what may run, if the user says so, in limited processes
    run_byte_table      the byte table, entry by entry
    table_function      cut out of the script
    run_scoring         scoring functions, on an oracle network
    scoring_function    cut out of the script, with what makes their arguments
    network_core        the oracle in the place of the script's network
    scored_texts        what they are run on
    known_means         what estimators return there, right and wrong
    measured            what they did return, against all of these
    judged_scores       findings
    weighing            against what was read
    limited, limited_process, scoring_process    the processes
check                   all checks; findings
codes, context          their codes; what the record says
"""

from bpb_harness.auditing.script.check import check_scripts, check_source
from bpb_harness.auditing.script.context import ScriptContext
from bpb_harness.auditing.script.frontend.source import SourceText, decode_source, extract_embedded

__all__ = ["ScriptContext", "SourceText", "check_scripts", "check_source", "decode_source", "extract_embedded"]
