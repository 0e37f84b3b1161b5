"""Checks of the scripts behind a score: read as data, analysed by their syntax tree, never executed.

frontend/    reading: text out of files, logs and self-extracting wrappers (source), its tree, which scripts of a batch
             share (trees), what Python 3.12 writes for every Python (newer_strings), and calls in other words put
             plainly (plain_calls); names and their definitions (scopes, index); what a name refers to and a call means
             (program, options); one way through expressions (walker), and what was worked out of them (answers);
             literals that may be printed (printable); the size that a log states (code_size); what many ask of a node
             (nodes), and answers that are worked out once (once)
domains/     what expressions stand for, a question a file, whose first line says which:
             - values and where they go (values, environment, trace, extent, handed_back, handed_on, handed_over, ways,
               written_files)
             - products and sums of a score (sinks, algebra, cancel, scaling, changed, weight, reductions, kept_sums,
               added_beside)
             - the bytes of tokens (pieces, byte_counts, divisors, changed_tables, own_vocabulary, losses_of_text)
             - which tokens are scored, and their prices (scored_tokens, token_prices, plain_loss, taken_out, skipped,
               dealt_out, bearing)
             - masks (masked_where, masked_mean, ranked, hidden_at_random, in_evaluation, hiding, embedded, hidden_text)
             - networks and their layers (networks, other_networks, layers, layout, roots, causal, sequence_axis)
             - what is learnt, and with which weights a score is made (fitted_window, shared_fit, share_learnt,
               idle_steps, rounds_that_learn, put_back, gathered, carried, packed_states)
             - what logs and a README show of it (shown_in_logs, called_in_logs, switches_in_logs, rounds_in_logs,
               passes_of_run, printed_lines, printed_passes, printed_scores, always_printed, not_in_logs, log_of_script,
               said_of_run, mixer_in_logs)
             - what the checks share (analysis)
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
