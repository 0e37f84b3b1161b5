"""The codes of script checks: the upper half of each block, so that they never meet those of record checks."""

from __future__ import annotations

from bpb_harness.findings import Severity, register

_REFUTES, _WARNS, _INFORMS = Severity.REFUTES, Severity.WARNS, Severity.INFORMS

# A table, a code a row: name, code, slug, what it does to the verdict, what it means.
# fmt: off

# bytes: the denominator
CONSTANT_BYTES = register("BPB150", "script-constant-bytes-per-token", _REFUTES,
    "the script divides by tokens times a constant, not by the bytes of the text")
SPACE_TWICE = register("BPB151", "script-space-counted-twice", _REFUTES,
    "the byte table holds a piece's leading space and the loop adds it again")
WRONG_MARKER = register("BPB152", "script-wrong-space-marker", _REFUTES,
    "the byte table looks for another character than U+2581, so that the marker itself is counted as three bytes")
SPACE_NEVER = register("BPB153", "script-space-never-counted", _REFUTES,
    "the space that a piece starts with is never counted")
BYTE_SPELLING = register("BPB154", "script-byte-pieces-by-spelling", _REFUTES,
    "byte pieces count by their spelling <0xXX>, not as one byte")
DECODED_SINGLY = register("BPB155", "script-bytes-by-decoding-single-ids", _WARNS,
    "ids are decoded one by one: a leading space is stripped and a byte piece becomes U+FFFD, three bytes")
SPECIAL_COUNTED = register("BPB156", "script-special-tokens-counted", _WARNS,
    "control tokens count by their spelling, though they spell nothing")
TABLE_DIFFERS = register("BPB157", "script-byte-table-differs", _REFUTES,
    "the script's byte table, run alone, is not the official one")
TABLE_AGREES = register("BPB158", "script-byte-table-agrees", Severity.CONFIRMS,
    "the script's byte table, run alone, is the official one")
TABLE_NOT_RUN = register("BPB159", "script-byte-table-not-run", _INFORMS,
    "the script's byte table could not be extracted or run alone")
MEAN_OF_RATIOS = register("BPB160", "script-mean-of-ratios", _REFUTES,
    "the score is a mean of ratios per window, not a ratio of sums")
NARROW_SUM = register("BPB161", "script-bytes-summed-in-16-bits", _REFUTES,
    "bytes are summed in a 16-bit type, which overflows")
BYTES_READ = register("BPB162", "script-bytes-by-the-rule", _INFORMS,
    "the byte-counting code, followed for four example tokens, follows the official rule")
BYTES_RUN_WRONG = register("BPB163", "script-counts-other-bytes", _REFUTES,
    "the script's scoring function, run on a short text, divides by another number than the bytes of that text")
BYTES_RUN_RIGHT = register("BPB164", "script-counts-the-bytes", Severity.CONFIRMS,
    "the script's scoring function, run on a short text, divides by the bytes of that text")
CHARACTERS = register("BPB165", "script-characters-counted", _WARNS,
    "the script counts the characters of a piece, not its bytes")
TEXT_CHANGED = register("BPB166", "script-changes-the-text", _WARNS,
    "the text is changed before it is made tokens, in a way that cannot be undone: the score is one of another text")
SCALED_BITS = register("BPB167", "script-scales-the-bits", _REFUTES,
    "the bits are multiplied or divided by a constant that is no unit, beside the bytes that are counted")
TRAINING_FILE = register("BPB168", "script-scores-training-files", _WARNS,
    "the tokens that are scored are read from files of the training split")

# bound and estimator: the numerator
WEIGHT_DSIGMA = register("BPB250", "script-weight-dsigma", _REFUTES,
    "the evaluation weighs by dsigma where dsigma/expm1(sigma) belongs: 1/(1-t) instead of 1/t")
WEIGHT_TWICE = register("BPB251", "script-weight-applied-twice", _REFUTES,
    "the evaluation applies the weight 1/t twice")
WEIGHT_AND_COUNT = register("BPB252", "script-weight-and-masked-count", _REFUTES,
    "the evaluation divides by the number of masked tokens and weighs by 1/t as well")
WEIGHT_EPSILON = register("BPB253", "script-epsilon-in-weight", _WARNS,
    "an epsilon or a clamp inside the weight bends it at low mask rates")
WEIGHT_UNKNOWN = register("BPB254", "script-weight-does-not-fit-masks", _WARNS,
    "the evaluation's weight is not the one that belongs to its mask rate")
BOUNDARY_FREE = register("BPB255", "script-special-tokens-never-masked", _REFUTES,
    "document boundaries are never masked, and the score leaves out what they would cost")
PRIOR_MISSING = register("BPB256", "script-prior-missing", _REFUTES,
    "alpha(1) > 0 and no prior term: tokens still visible at t = 1 are free")
RATES_CUT = register("BPB257", "script-mask-rates-cut", _REFUTES,
    "the mask rates do not span (0, 1]: part of the integral is left out")
BOTH_ENDS = register("BPB258", "script-equal-weights-both-ends", _WARNS,
    "equal weights on a grid that holds both of its end points")
LAST_STEP_DROPPED = register("BPB259", "script-last-step-dropped", _REFUTES,
    "the steps stop before t = 1: the most expensive step is left out")
CLEANER_END = register("BPB260", "script-cleaner-end-of-step", _REFUTES,
    "each step is scored at its cleaner end, which gives no bound")
OTHER_SCHEDULE = register("BPB261", "script-weight-of-another-schedule", _REFUTES,
    "the weight belongs to another schedule than the masks")
MASK_IS_TOKEN = register("BPB262", "script-mask-id-in-vocabulary", _WARNS,
    "the mask id is an ordinary entry of the vocabulary")
SINGLE_RATE = register("BPB264", "script-single-mask-rate", _REFUTES,
    "a pseudo-log-likelihood at a single mask rate is no code length")
TWO_PASSES = register("BPB265", "script-two-passes-condition-on-each-other", _REFUTES,
    "two passes each predict the tokens that the other one shows: no decoder can do that")
JOINT_PRICE = register("BPB268", "script-joint-price", _REFUTES,
    "masked tokens are priced jointly under the weight of tokens priced one by one: no bound and no code length")
HASHED_COUNTS = register("BPB267", "script-hashed-counts", _WARNS,
    "counts of hashed contexts, looked up for the target alone, stand for a probability: they do not add up to 1")
SCORE_RUN_RIGHT = register("BPB269", "script-computes-the-score", Severity.CONFIRMS,
    "the script's scoring function, run on networks whose score is known, computes a bound or the exact code length")
SCORE_RUN_WRONG = register("BPB270", "script-computes-no-bound", _REFUTES,
    "the script's scoring function, run on networks whose bound is known, computes something else, a known mistake")
SCORE_NOT_RUN = register("BPB271", "script-score-not-run", _INFORMS,
    "a scoring function could not be run alone, or what it returned is not understood: nothing follows")
LAST_PASS = register("BPB272", "script-scores-the-last-pass", _WARNS,
    "the text is trained on in several passes, and the score is the sum of the last one or of the best: it does not "
    "pay for what they learn of it")
LEARNS_FIRST = register("BPB273", "script-learns-before-it-scores", _WARNS,
    "the script trains on the text that it scores, or makes weights of its statistics, before it scores it")
EXPERT_WITHOUT_TARGET = register("BPB274", "script-mixes-a-price-without-target", _WARNS,
    "a price that does not depend on the token is mixed with prices that do: the mixture adds up to more than 1")
CHOSEN_BY_TARGET = register("BPB275", "script-price-chosen-by-target", _WARNS,
    "which price a token pays is decided by the prices of that very token: such prices do not add up to 1")
HINT_BY_CLASS = register("BPB276", "script-guess-let-through-by-its-token", _WARNS,
    "a guess of a token counts only where that very token is of some class: the prices add up to more than 1")
CHOSEN_BY_TEXT = register("BPB277", "script-chosen-by-scored-text", _INFORMS,
    "settings or weights were chosen by their score on the scored text itself: a decoder has to be told the choice")
LOOKS_AHEAD = register("BPB278", "script-looks-ahead", _WARNS,
    "a causal network is told at each place a mean, attention or the like over the whole window: over the target too")
UNPACKED_WEIGHTS = register("BPB279", "script-scores-unpacked-weights", _WARNS,
    "the claimed score is of other weights than the packed ones, in a run that packs and reads back: of trained ones, "
    "or of what each process packed for itself")
NO_CODE_LENGTH = register("BPB283", "script-loss-is-no-code-length", _REFUTES,
    "what is scored is not what all tokens cost: the loss is scaled by a constant, or a token is left out of it")
WEIGHED_LOSS = register("BPB284", "script-loss-is-weighed", _REFUTES,
    "the loss that is scored weighs tokens by their place in the window, or by what they cost: it is no code length")

# sampling and coverage
SUBSET = register("BPB350", "script-scores-a-subset", _WARNS,
    "only the first windows are scored, and the result is called validation")
CONSTANT_TOTAL = register("BPB355", "script-constant-total", _INFORMS,
    "the script divides by, or prints, a constant number of the whole text: that shows nothing of what was scored")
HALF_EVEN = register("BPB354", "script-counts-rounded-half-even", _WARNS,
    "numbers of masked tokens are rounded half to even, not uniform")

# the log beside it
LOG_LACKS = register("BPB450", "script-prints-what-log-lacks", _WARNS,
    "the log lacks a line that the script prints in every run, between two that it holds")

# reading
NOT_READ = register("BPB950", "script-not-read", _INFORMS, "a script could not be read or parsed")
READ_IN_PART = register("BPB952", "script-read-in-part", _INFORMS,
    "the analysis of a script reached its limit: a part was not looked at")
WITH_SETTINGS = register("BPB953", "script-read-with-settings", _INFORMS,
    "a script was read with settings of the README's commands, or of the log, in place of its own defaults")
NOT_FOLLOWED = register("BPB954", "script-not-followed", _INFORMS,
    "a part of the way from the text to the score was not followed in the scripts: nothing follows from silence")
UNWRAPPED = register("BPB951", "script-self-extracting", _INFORMS, "a self-extracting script was decoded as data")
# fmt: on
