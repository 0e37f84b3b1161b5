"""The codes of the checks that read records; the checks of scripts register theirs beside themselves.

docs/audit.md prints this table, and a test holds the two together.
"""

from bpb_harness.findings import Severity, register

_REFUTES, _WARNS, _INFORMS, _CONFIRMS = Severity.REFUTES, Severity.WARNS, Severity.INFORMS, Severity.CONFIRMS

# A table, a code a row: name, code, slug, what it does to the verdict, what it means.
# fmt: off

# Bytes: the denominator.
BYTES_RIGHT = register("BPB101", "bytes-right", _CONFIRMS,
    "The record divides by the bytes per token that its tokenizer has on the split.")
BYTES_BUG = register("BPB102", "known-byte-bug", _REFUTES,
    "The record divides by a number of bytes that a known counting bug produces.")
BYTES_CONSTANT = register("BPB103", "constant-bytes-per-token", _REFUTES,
    "The bits were divided by a constant number of bytes per token.")
BYTES_OFF = register("BPB104", "bytes-off", _WARNS, "The bytes per token are not those of the split.")
BYTES_WRONG = register("BPB105", "bytes-wrong", _REFUTES,
    "The bytes per token cannot be those of the split that the record names.")
BYTES_UNKNOWN = register("BPB106", "bytes-uncheckable", _WARNS,
    "The bytes per token cannot be checked: nothing beside the score gives them, or no table has those of its text.")
NATS_AS_BITS = register("BPB107", "nats-as-bits", _REFUTES, "Nats were given as bits, or divided by ln 2 twice.")
PER_TOKEN_AS_PER_BYTE = register("BPB108", "per-token-as-per-byte", _REFUTES,
    "Bits per token were given as bits per byte.")
BYTES_STATED = register("BPB109", "stated-bytes-per-token", _WARNS,
    "A stated number of bytes per token is not the tokenizer's.")
SPLIT_LOADED = register("BPB110", "whole-split-loaded", _CONFIRMS,
    "The log loads the whole split, whose bytes are known exactly.")
BYTES_COARSE = register("BPB111", "bytes-too-coarse", _INFORMS,
    "The right bytes per token are among those that the printed digits allow, which are too few to tell.")
TEXT_FOLDED = register("BPB112", "text-folded", _WARNS,
    "The text was changed in a way that cannot be undone before it was scored: the score leaves out what was lost.")
BYTE_PERPLEXITY = register("BPB113", "byte-perplexity", _WARNS,
    "A perplexity per byte beside the score is not 2 to the power of it.")
BYTES_BESIDE = register("BPB114", "bytes-right-beside", _CONFIRMS,
    "The score's own line prints no loss; the other lines of its run divide by the right number of bytes.")
BYTES_CONTRADICT = register("BPB115", "stated-bytes-contradict", _WARNS,
    "Loss, score and bytes per token, which the record states all three, contradict each other.")
BYTES_NOT_QUITE = register("BPB117", "bytes-not-quite", _WARNS,
    "The bytes per token are nearly the split's, and off by more than any evaluation of all of it can be.")

OLDER_TEXT = register("BPB118", "older-text", _INFORMS,
    "The score is of an older export of the split, which is another text than the split is now.")

# Bound and estimator: the numerator.
NOT_A_CODE = register("BPB201", "pseudo-likelihood", _REFUTES,
    "A pseudo-log-likelihood at one mask rate is not the length of any code.")
RANGE_CUT = register("BPB202", "mask-rates-cut", _REFUTES,
    "The mask rates do not span (0, 1]: a part of the bound is missing.")
NOT_DECODABLE = register("BPB203", "two-pass", _REFUTES,
    "Two passes condition on each other: nothing could decode such a code.")
WEIGHT_TWICE = register("BPB204", "weight-twice", _REFUTES, "The weight 1/t was applied twice: not the ELBO.")
TOKENS_UNPAID = register("BPB205", "tokens-left-out", _REFUTES,
    "Some tokens are never masked, and the score leaves out what they cost.")
TWO_ESTIMATORS = register("BPB206", "two-estimators", _INFORMS,
    "Loss and score come from two estimators, and their gap is compatible with the one that T steps cost.")
TWO_ESTIMATORS_UNCLEAR = register("BPB207", "two-estimators-unclear", _WARNS,
    "Loss and score come from two estimators; the byte count cannot be read off them.")
STEPS_SLOPE = register("BPB208", "steps-table-slope", _WARNS,
    "A table over T changes faster than log2 V / (2 T) allows.")
STEPS_LAW = register("BPB209", "steps-table-law", _INFORMS, "A table over T, held against the 1/T law.")
PAIR_IMPOSSIBLE = register("BPB210", "impossible-pair", _WARNS,
    "A Monte-Carlo and a discrete value of one model that cannot both be right.")
APPROXIMATE = register("BPB211", "approximate-estimator", _WARNS, "The record's estimator is no bound by its own name.")
WEIGHT_WRONG = register("BPB212", "wrong-weight", _REFUTES,
    "The stated weight is not the one that belongs to the stated mask rate.")
PROSE_VOIDS = register("BPB213", "readme-voids-score", _WARNS,
    "The record says plainly of its score what would void it; nothing else in it shows whether that is so.")
JOINT_PRICE = register("BPB214", "joint-price", _REFUTES,
    "Masked tokens are priced jointly under the weight of tokens priced one by one: no bound and no code length.")
LEARNT_BEFORE = register("BPB215", "learnt-before-scored", _WARNS,
    "The log shows that something was trained or fitted before the score: if on the scored text, the score does not "
    "pay for what was learnt of it.")
HINT_GATED = register("BPB216", "hint-gated", _WARNS,
    "Log or README tell of hints that are let through by where words begin: if the scored token decides that, the "
    "probabilities of all tokens add up to more than 1.")
TWO_ORDERS = register("BPB217", "two-orders", _WARNS,
    "The log makes hints in the order of the text and scores documents by length, trained on what was scored: no order "
    "remains in which it could be decoded.")
TEXT_STORED = register("BPB218", "text-stored", _WARNS,
    "The log tells of tokens that are stored beside the network: of the scored text, they cost nothing in the score.")

# Sampling, coverage, errors.
SLICE = register("BPB301", "slice", _WARNS, "Only a part of the split was scored.")
SLICE_INFERRED = register("BPB302", "slice-inferred", _WARNS,
    "The bytes per token are those of a part of the split, which the record does not say.")
SLICE_WITH_FULL = register("BPB303", "slice-beside-full", _INFORMS,
    "The score is a slice's, and the full split's score is published beside it.")
NO_ERROR = register("BPB304", "no-standard-error", _INFORMS, "One seed or one draw, and no standard error.")
BEST_SEED = register("BPB305", "best-seed", _INFORMS, "The score is the best of several seeds, not their mean.")

# The record against itself.
IN_LOG = register("BPB401", "found-in-log", _CONFIRMS, "The claimed score is in the logs.")
NO_LOG = register("BPB402", "no-log", _WARNS, "No log prints a score that the claimed one could be held against.")
NOT_IN_LOG = register("BPB403", "not-in-log", _WARNS, "The claimed score is in none of the logs.")
LOG_CONTRADICTS = register("BPB404", "log-contradicts", _REFUTES,
    "The log line with the very same loss prints another score.")
OTHER_LOGS_FAULTY = register("BPB405", "faulty-logs-beside", _INFORMS,
    "Logs in the folder, not the claim's own, show a byte-count bug.")
SEEDS_CONTRADICT = register("BPB406", "seeds-contradict", _WARNS,
    "Scores that the record lists for its seeds do not give the claimed one, or are not those of its logs.")
TABLE_CONTRADICTS = register("BPB407", "scores-contradict", _WARNS,
    "Two files of the record give different scores: submission.json and README, or a table and a log.")
SPREAD_CONTRADICTS = register("BPB408", "spread-contradicts", _INFORMS,
    "The published spread is not that of the seeds.")
NO_CLAIM = register("BPB409", "no-claim", _WARNS, "The record does not say which score it claims.")
UNOFFICIAL = register("BPB410", "says-unofficial", _WARNS, "The record says itself that this is no official score.")
SIBLING_IN_LOG = register("BPB411", "sibling-in-log", _CONFIRMS,
    "The claim is the mean of its seeds, and another score of one of these runs is in the log.")
LOSS_IN_LOG = register("BPB412", "loss-in-log", _CONFIRMS,
    "The log's loss, divided by the right bytes, is the claimed score; its own score is not.")
NOT_FINAL = register("BPB413", "not-the-final-score", _WARNS,
    "The claimed score is one from before the end; the log ends with a worse one.")
BEYOND_PLAIN = register("BPB414", "far-below-own-validation", _WARNS,
    "The claimed score is below the network's own validation score in the same log by more than nearly all "
    "public runs gain.")
BELOW_ALL_KNOWN = register("BPB420", "below-all-known-scores", _WARNS,
    "The claimed score is below every one that is known to stand on that text.")

# A score's own file.
RESULT_ARITHMETIC = register("BPB415", "result-arithmetic", _REFUTES,
    "Numbers of a bpb-result file contradict each other.")
RESULT_SIGNATURE = register("BPB416", "result-signature", _REFUTES,
    "A field of a bpb-result file is not what its signature says.")
RESULT_RELATION = register("BPB417", "result-relation", _REFUTES,
    "The relation, T or K of a bpb-result file is none that its method has.")
RESULT_DOUBTFUL = register("BPB418", "result-doubtful", _WARNS,
    "A bpb-result file shows that its score is not to be trusted: no contract, below its source, a doubtful error.")
RESULT_CONSISTENT = register("BPB419", "result-consistent", _INFORMS,
    "A bpb-result file agrees with itself, which alone confirms nothing.")

LOSSES_IN_LOGS = register("BPB421", "losses-in-logs", _CONFIRMS,
    "Each log ends with a loss in nats per token, which is what is claimed.")
TOKENS_OF_RULES = register("BPB422", "tokens-of-rules", _CONFIRMS,
    "The logs say that the tokens that the rules fix were scored.")
OTHER_TOKENS = register("BPB423", "other-tokens", _WARNS,
    "The logs do not say that the tokens that the rules fix were scored.")
SUMMARY_CONTRADICTS = register("BPB424", "summary-contradicts", _WARNS,
    "What wandb kept of the run gives a score that no log prints and the record names nowhere.")
BEFORE_PACKING = register("BPB425", "before-packing", _WARNS,
    "The claimed score is not a packed network's: it stands before one was packed, or the log tells of none where the "
    "contest counts its bytes; a remark where the log prints the packed one's score too.")
NO_RUN_PRINTS = register("BPB426", "no-run-prints-this", _WARNS,
    "Lines of the logs are not as a run prints them: a clock that goes back or is too even, one packed size of several "
    "networks, another seed's losses or times, numbers left open, or, as the record says, lines put together later.")

LOG_OF_ANOTHER_SCRIPT = register("BPB427", "log-of-another-script", _WARNS,
    "The claimed score stands in a log that no script of the record can have written: too many of its lines match "
    "nothing that they print.")
LOG_HOLDS_ANOTHER = register("BPB430", "log-holds-another-script", _INFORMS,
    "The log holds the script that wrote it, and what lies beside it is another one.")
OTHER_VERSION = register("BPB431", "log-of-another-version", _INFORMS,
    "No script of the record wrote the log as it lies there: another version of it did, or one that was packed.")
UNLIKE_ITS_SCRIPT = register("BPB432", "log-unlike-its-script", _WARNS,
    "No script of the record prints the log of the claimed score as it is: lines of rounds at which none is printed, "
    "other decimals, a time shorter than one that it encloses; or, beside its size, lines that are cut off or foreign.")
UNLIKE_NETWORKS = register("BPB428", "unlike-networks", _WARNS,
    "The score is a mean over networks of other numbers of parameters.")
CUT_SHORT = register("BPB429", "search-cut-short", _WARNS,
    "The score is a candidate of a search, and the log ends in an error before the run printed a score of its own.")
# 401 to 429 are taken.
ANOTHER_RUN = register("BPB451", "readme-of-another-run", _WARNS,
    "The README gives the claimed score with another network or training than the log that prints it tells.")
VERSIONS_OF_A_MEAN = register("BPB453", "versions-of-a-mean", _INFORMS,
    "The score is a mean over runs whose logs state other sizes of the code, as several versions of the script do, or "
    "list other settings.")
SIZES_DO_NOT_ADD_UP = register("BPB459", "sizes-do-not-add-up", _WARNS,
    "A total size in the claim's log is not the sum of the sizes before it, which is what its script prints.")
TITLE_ALONE = register("BPB452", "title-alone", _WARNS,
    "The title names a technique that no program of the record has, that its commands leave switched off, or that "
    "would have begun behind the last step.")
UNREAD_SETTINGS = register("BPB456", "settings-that-nothing-reads", _INFORMS,
    "A command of the README gives its script settings that no program of the record reads.")
MODULE_ELSEWHERE = register("BPB457", "module-not-in-the-record", _INFORMS,
    "A script of the record imports a module that does not lie beside it.")
LOSS_BESIDE = register("BPB458", "loss-beside-the-score", _INFORMS,
    "The loss that the record gives beside its score is not that of the line which prints the score.")
OTHER_PARAMETERS = register("BPB512", "other-parameters", _INFORMS,
    "The number of parameters that the record states is none that the log of its score prints.")
LOG_OF_ANOTHER_SUBMISSION = register("BPB454", "log-of-another-submission", _WARNS,
    "The claimed score stands in logs that are byte for byte those of a submission that names another author, whose "
    "script wrote them: none here did.")
LOG_SHARED = register("BPB455", "log-shared", _INFORMS,
    "Logs of the claim and all scripts are byte for byte those of a submission that names another author.")

# Artifact, time and other rules of the contest: they concern the entry, not the number.
OVER_CAP = register("BPB501", "artifact-over-cap", _WARNS, "The artifact is larger than the rules allow.")
NO_SIZE = register("BPB502", "no-artifact-size", _INFORMS, "No size of the whole artifact is recognised.")
SIGNIFICANT = register("BPB503", "significant", _INFORMS,
    "The score beats the baseline by more than the rules ask for (Welch's test).")
NOT_SIGNIFICANT = register("BPB504", "not-significant", _WARNS,
    "The score is not shown to beat the baseline by what the rules ask for (Welch's test).")
SIGNIFICANCE_UNTESTABLE = register("BPB505", "significance-untestable", _WARNS,
    "The rule of significance cannot be applied: seeds, losses or the rule itself are missing.")
OVER_TIME = register("BPB506", "over-time", _WARNS, "A log prints a longer time than the rules allow.")
TARGET_SHOWN = register("BPB507", "target-shown", _INFORMS,
    "The mean over runs is shown to reach the contest's target (Student's test).")
TARGET_OPEN = register("BPB508", "target-not-shown", _WARNS,
    "The runs do not show that their mean reaches the contest's target.")
FEW_RUNS = register("BPB509", "few-runs", _WARNS, "The claim rests on fewer runs than the rules ask for.")
RULES_REMARK = register("BPB510", "rules-remark", _INFORMS, "What the rules say of every claim under them.")
SIZE_IN_NO_LOG = register("BPB511", "size-in-no-log", _INFORMS,
    "The size that the record states is none that its logs print, no mean of theirs and no sum with its code.")
OTHER_DIGEST = register("BPB514", "other-digest", _INFORMS,
    "The README gives a file of its folder a SHA-256 that is not the file's.")

# Rescoring by the harness.
RESCORED_SAME = register("BPB601", "rescored-same", _CONFIRMS, "The harness gets the same score, within the errors.")
RESCORED_DIFFERENT = register("BPB602", "rescored-different", _REFUTES,
    "The harness gets another score, far beyond the errors.")
RESCORED_UNCLEAR = register("BPB603", "rescored-unclear", _WARNS,
    "The harness has scored the checkpoint, but the two scores may not be comparable.")
PROVED = register("BPB604", "proved", _CONFIRMS,
    "Windows of the score, chosen by its hash, came back from their bits, and cost what the score says.")
PROOF_FAILS = register("BPB605", "proof-fails", _REFUTES,
    "What was to come back from the bits did not, is another text, or costs more than the score says.")
PROOF_SHORT = register("BPB606", "proof-falls-short", _INFORMS,
    "Windows came back from their bits, but something else that the claim needs is not established.")
PROOF_OTHER = register("BPB607", "proof-of-another-score", _WARNS,
    "The proof is one of another score than the claimed one.")

# Reading.
UNREADABLE = register("BPB901", "unreadable-file", _WARNS, "A file of the record cannot be read.")
REPAIRED = register("BPB902", "repaired-json", _WARNS,
    "Invalid JSON, read all the same because only one reading is possible.")
ENCODING = register("BPB903", "encoding", _INFORMS, "A byte-order mark, or text that is not UTF-8.")
UNDECODABLE = register("BPB904", "undecodable-bytes", _WARNS, "Bytes that are no text.")
TRUNCATED = register("BPB905", "large-file", _INFORMS, "A file too large to be read whole.")
AMBIGUOUS = register("BPB906", "ambiguous", _WARNS, "Two values where one belongs.")
NOT_A_NUMBER = register("BPB907", "score-not-a-number", _WARNS, "A score that is null, text, or no finite number.")
IMPLAUSIBLE = register("BPB908", "implausible-score", _WARNS, "A score that no model of text has.")
CHOICE = register("BPB909", "which-score", _INFORMS, "Which of several numbers was taken as the claim.")
