"""Checks of the scripts behind a score: read as data, analysed by their syntax tree, never executed.

frontend/    reading: text out of files, logs and self-extracting wrappers (source), its tree, which scripts of a batch
             share (trees), what Python 3.12 writes for every Python (newer_strings), and calls in other words put
             plainly (plain_calls); names and their definitions (scopes, index); what a name refers to and a call means
             (program, options); one way through expressions (walker), and what was worked out of them (answers);
             literals that may be printed (printable); the size that a log states (code_size); what many ask of a node
             (nodes), and answers that are worked out once (once)
domains/     what expressions stand for, a walker each: numbers (values, and what of them is asked of the environment:
             environment), products (algebra), what cancels in them (cancel), what is added to a count and when
             (changed), bytes of single tokens (pieces, byte_counts; of whose vocabulary: own_vocabulary), what a value
             is computed from (trace), how much of a text it has been (extent), where the score is reported (sinks); and
             what the checks share: analysis, weight, masks (masked_where, masked_mean, ranked, hidden_at_random,
             in_evaluation), what they hide (hiding, embedded, hidden_text), what a loss is of (plain_loss), which
             dimension is the sequence (sequence_axis), what is one value of many along it (reductions), which of them
             heads have (layout), which of values side by side are taken (taken_out), the calls that come to a node
             (ways), what is made of a value behind it (handed_back), layers that are called out of a list (layers),
             what a tensor was at first (roots), whether a network is causal (causal), functions that are handed over
             (handed_over), what logs show of them (shown_in_logs; of their calls: called_in_logs), of tests
             (switches_in_logs), of a loop's rounds (printed_passes, rounds_in_logs; of passes, by a README too:
             passes_of_run; whether they go on learning: rounds_that_learn, put_back; whose sum is left: kept_sums;
             whether steps learn: idle_steps, other_networks), of scores (printed_scores) and of what did not come
             (always_printed, not_in_logs), whether they are logs of the script (log_of_script), what else tells of the
             run (said_of_run), at which rounds and with how many decimals lines are printed (printed_lines), trained
             weights on their way to a score (carried), statistics that become weights (gathered), what is fitted to a
             window (fitted_window), to several at once (shared_fit) or to a part of the text (share_learnt), the
             networks of a function (networks), and what is read back from packed files into them (packed_states,
             written_files)
checks/      one file a check
running/     what may run, if the user says so, in limited processes: the byte table (run_byte_table, table_function,
             lifted_tables), scoring functions on an oracle network (run_scoring, scoring_function, lifted_loops,
             network_core, scored_texts), what estimators return there (known_means, neighbours, measured), findings
             (judged_scores, weighing), the processes (limited, limited_process, scoring_process)
check        all checks; findings
followed     what of the scripts was not followed
codes        their codes
context      what the record says
"""

from bpb_harness.auditing.script.check import ReadOnce, check_scripts, check_source
from bpb_harness.auditing.script.context import LoggedScore, ScriptContext
from bpb_harness.auditing.script.domains.printed_lines import PrintedLine, Rounds, printed_lines
from bpb_harness.auditing.script.frontend.code_size import foreign_code_size, stated_code_sizes, told_code_size
from bpb_harness.auditing.script.frontend.printable import Printable
from bpb_harness.auditing.script.frontend.source import SourceText, decode_source, extract_embedded
from bpb_harness.auditing.script.frontend.trees import Lease
from bpb_harness.auditing.script.frontend.trees import parse as parsed_source

__all__ = [
    "Lease",
    "LoggedScore",
    "Printable",
    "PrintedLine",
    "ReadOnce",
    "Rounds",
    "ScriptContext",
    "SourceText",
    "check_scripts",
    "check_source",
    "decode_source",
    "extract_embedded",
    "foreign_code_size",
    "parsed_source",
    "printed_lines",
    "stated_code_sizes",
    "told_code_size",
]
