"""Names of scores, losses, tokenizers and estimators, in the spellings that people use."""

from __future__ import annotations

import pytest

from bpb_harness.claim.methods import METHODS, method_in
from bpb_harness.claim.names import is_score_name, same_estimator, stem, the_one, tokenizers_in, vocabulary_of


@pytest.mark.parametrize(
    "name", ["val_bpb", "BPB", "bits_per_byte", "Bits per byte", "val_bits_per_byte_exact", "final (no XSA) bpb"]
)
def test_scores(name: str) -> None:
    assert is_score_name(name)


@pytest.mark.parametrize("word", ["delta", "gap", "improved", "std", "se", "target", "baseline", "record"])
@pytest.mark.parametrize("name", ["{}_bpb", "bits_per_byte_{}", "bits per byte {}"])
def test_numbers_beside_a_score_that_are_none(word: str, name: str) -> None:
    assert not is_score_name(name.format(word))
    assert not is_score_name(name.format(word.upper()))


@pytest.mark.parametrize("name", ["", "loss", "perplexity", "bits per token", "bits_per", "byte"])
def test_names_of_other_things(name: str) -> None:
    assert not is_score_name(name)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("val_bpb", "val"), ("VAL_BPB", "val"), ("val_loss", "val"), ("val_var_bpb", "val_var"), ("bpb", "")),
        *(("val_bits_per_byte", "val"), ("val_bpb_exact", "val"), ("exact_val_loss", "val"), ("loss", "")),
        *(("bpb ema", "ema"), ("_val _bpb_ ", "val")),
    ],
)
def test_the_estimators_part_of_a_name(name: str, part: str) -> None:
    assert stem(name) == part


@pytest.mark.parametrize(
    ("loss", "score", "one"),
    [
        *(("val_loss", "val_bpb", True), ("val_loss", "val_bits_per_byte", True), ("loss", "val_var_bpb", True)),
        *(("val_loss", "bpb", True), ("val_loss", "val_var_bpb", False), ("pll_loss", "val_bpb", False)),
        *(("val_loss_exact", "val_bpb", True), ("val_loss", "final_val_bpb", False)),
        *(("vl", "bpb", True), ("vl", "val_bpb", True), ("vl", "val_var_bpb", False)),
    ],
)
def test_which_loss_and_score_are_of_one_estimator(loss: str, score: str, one: bool) -> None:
    assert same_estimator(loss, score) is one
    assert same_estimator(loss.upper(), score) is one


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fineweb_1024_bpe.model", ("sp1024",)),
        ("data/FINEWEB10B_SP8192/", ("sp8192",)),
        ("SP-4096, sp_4096 and sp 512", ("sp4096", "sp512")),
        ("gasp1024 sp12 sp1234567 xsp512", ()),
        ("byte-level", ("byte",)),
        ("Byte level", ("byte",)),
        ("byte260 after sp1024", ("sp1024", "byte")),
        ("bytes, megabyte260, byte2600", ()),
        ("", ()),
    ],
)
def test_tokenizers(text: str, found: tuple[str, ...]) -> None:
    assert tokenizers_in(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("./d/fineweb10B_sp8192_lossless_caps_caseops_v1/x.bin", ("sp8192-caseops",)),
        ("tokenizers/fineweb_8192_bpe_case_fold_v2.model of SP8192", ("sp8192-casefold", "sp8192")),
        ("fineweb10B_sp8192_plain_v2 and, apart from it, caseops", ("sp8192",)),
        ("sp1024 caseops", ("sp1024",)),
        ("sp1024-lowercase", ("sp1024-lowercase",)),
    ],
)
def test_a_vocabulary_for_a_text_spelt_otherwise_is_a_variant(text: str, found: tuple[str, ...]) -> None:
    assert tokenizers_in(text) == found


def test_a_variant_is_meant_where_it_is_left_out() -> None:
    assert the_one(["sp8192", "sp8192-caseops", "sp8192"]) == "sp8192-caseops"
    assert the_one(["sp8192", "sp1024-caseops"]) is None
    assert the_one(["sp8192-casefold", "sp8192-caseops"]) is None


@pytest.mark.parametrize(
    ("name", "pieces"),
    [("sp8192", 8192), ("sp8192-caseops", 8192), ("byte", None), ("sp8192 other", None), (None, None)],
)
def test_the_pieces_of_a_vocabulary(name: str | None, pieces: int | None) -> None:
    assert vocabulary_of(name) == pieces


def test_the_one_of_several_mentions() -> None:
    assert the_one(["a", "a"]) == the_one(iter("a")) == "a"
    assert the_one(["a", "b"]) is None
    assert the_one([]) is None


@pytest.mark.parametrize(
    ("text", "method"),
    [
        *(("nelbo_k256", "mc"), ("Monte-Carlo", "mc"), ("montecarlo ELBO", "mc"), ("continuous time", "mc")),
        *(("discrete", "discrete"), ("val_var_bpb", "discrete"), ("VARIATIONAL", "discrete"), ("var_bpb", "discrete")),
        *(("l2r", "chain"), ("left-to-right", "chain"), ("chain rule", "chain"), ("conf_order", "chain")),
        *(("autoregressive", "ar"), ("causal", "ar"), ("AR", "ar"), ("sliding window", None), ("earlier", None)),
        *(("pll_bpb", "pseudo-likelihood"), ("pseudo log-likelihood", "pseudo-likelihood"), ("two-pass", "two-pass")),
        *(("pseudo-log-likelihood by Monte Carlo", "pseudo-likelihood"), ("two_pass nelbo", "two-pass")),
        *((None, None), ("", None), ("val_bpb", None)),
    ],
)
def test_methods(text: str | None, method: str | None) -> None:
    assert method_in(text) == method
    assert method is None or method in METHODS


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("no pseudo-likelihood, nelbo", "mc"),
        ("not two-pass", None),
        ("never pll", None),
        ("without two pass discrete", "discrete"),
        ("a bound by two pass sampling of nelbo", "mc"),
        ("one two pass bound of six", "two-pass"),
    ],
)
def test_prose_and_denials_name_no_method_that_voids_a_score(text: str, method: str | None) -> None:
    assert method_in(text) == method
