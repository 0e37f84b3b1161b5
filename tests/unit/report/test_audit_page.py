"""The page of an audit: verdict, claim, findings with severity and evidence; a hostile record stays text."""

import re

from bpb_harness.auditing import AuditReport, Verdict
from bpb_harness.auditing.verdict import Judgement
from bpb_harness.findings import CODES, Severity
from bpb_harness.report import audit_page
from tests.html_page import read_page
from tests.unit.report.test_visible import HOSTILE

SEVERITIES = (Severity.REFUTES, Severity.WARNS, Severity.CONFIRMS, Severity.INFORMS)


def report(name="pr1", verdict=Verdict.REFUTED, text="the reason", **changes) -> AuditReport:
    codes = sorted(CODES)
    findings = tuple(
        CODES[code].finding(f"{text} {place}", severity=severity, places=[f"{text}.log:9"], number=2.5, nothing=None)
        for place, (code, severity) in enumerate(zip(codes, SEVERITIES, strict=False))
    )
    corrected = 1.203 if verdict is Verdict.REFUTED else None
    missing = ("a log",) if verdict is Verdict.UNVERIFIABLE else ()
    judgement = Judgement(verdict, text, missing, corrected, f"0.9 x 1.3 ({text})" if corrected else None)
    values = {"claimed_bpb": 0.68148888, "claimed_in": f"{text}.json", "files": (f"{text}.json",), "title": text}
    return AuditReport(name, judgement, findings=findings, **(values | changes))


def page(*reports, **more):
    html = audit_page(reports, **more)
    read = read_page(html)
    read.require_self_contained()
    return read


def test_one_claim_has_all_that_the_terminal_has():
    claim = report()
    read = page(claim, command="bpb-audit pr1 --report x.html")
    for line in claim.to_text().splitlines():
        for word in line.split():
            assert word.strip("():\"'-") in read.text or word.isupper(), line
    assert "refuted The reason. verdict refuted: the right score is another one, given below" in read.text
    assert "claimed 0.68149 bits per byte, in the reason.json" in read.text
    assert "corrected 1.2030 bits per byte: 0.9 x 1.3 (the reason)" in read.text
    for severity in SEVERITIES:
        assert f" {severity.value} BPB" in read.text
    assert "places the reason.log:9 number 2.5 nothing none" in read.text
    assert all("open" in each for each in read.with_tag("details")[:4])
    assert "bpb-audit pr1 --report x.html" in read.text


def test_what_is_missing_and_what_cannot_be_corrected():
    read = page(report(verdict=Verdict.UNVERIFIABLE, claimed_bpb=None, claimed_in=None))
    assert "What would settle it a log" in read.text
    assert "corrected" not in read.text
    assert "verdict unverifiable: " in read.text
    voided = report()
    voided = AuditReport("x", Judgement(Verdict.REFUTED, "void", (), None, "none: void"), 1.0, "a", (), title=None)
    assert "corrected none: void" in page(voided).text
    assert "No findings." in page(voided).text


def test_many_claims_have_a_table_refuted_first_and_links_that_lead_there():
    reports = [report("fine", Verdict.CONFIRMED), report("open", Verdict.UNVERIFIABLE), report("wrong")]
    read = page(*reports, unread=["other"])
    assert "1 of 3 refuted 1 confirmed, 0 consistent, 1 refuted, 1 unverifiable." in read.text
    assert re.search(r"wrong the reason refuted 0.68149 1.2030 open the reason unverifiable 0.68149 - fine", read.text)
    assert [each["href"] for each in read.with_tag("a")] == ["#claim-1", "#claim-2", "#claim-3"]
    assert "1 folder or file not audited" in read.text


def test_rows_can_be_put_in_other_orders_without_a_script():
    claims = [report("b", claimed_bpb=1.5), report("A", claimed_bpb=None, verdict=Verdict.CONSISTENT),
              report("c", claimed_bpb=0.9, verdict=Verdict.UNVERIFIABLE)]  # fmt: skip
    html = audit_page(claims)
    names = re.findall(r'<td role="cell" class="text"><a[^>]*>(\w)', html)
    styles = [
        dict(part.split(":") for part in each.split(";")) for each in re.findall(r'<tr role="row" style="([^"]*)', html)
    ]
    assert names == ["b", "c", "A"]
    for key, order in (("verdict", "bcA"), ("name", "Abc"), ("claimed", "cbA")):
        assert "".join(sorted(names, key=lambda name, key=key: int(styles[names.index(name)][f"--{key}"]))) == order
        assert f"#by-{key}:checked ~ .scroll tr {{ order: var(--{key}); }}" in html
        assert f'id="by-{key}"' in html
    assert 'id="by-verdict" checked' in html
    assert "<script" not in html


def test_a_long_page_says_what_it_leaves_out():
    reports = [report(f"claim{place}", text="t") for place in range(1_003)] + [report("fine", Verdict.CONFIRMED)]
    html = audit_page(reports)
    assert len(html) < 3_000_000
    read = read_page(html)
    assert "1003 of 1004 refuted" in read.text
    assert "4 more claims are not on this page" in read.text
    assert "The findings of 900 more claims are left out" in read.text
    assert "fine" not in read.text


def test_text_of_a_hostile_record_stays_text():
    claims = [report(HOSTILE, text=HOSTILE, files=(HOSTILE,) * 100), report("b", text="y" * 100_000)]
    for html in (audit_page(claims, unread=[HOSTILE], command=HOSTILE), audit_page(claims[:1])):
        read_page(html).require_self_contained()
        assert "<script" not in html
        assert html.count("</style>") == 1
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ud800-\udfff]", html)
        assert len(html) < 200_000
        assert "60 more" in read_page(html).text
    assert "more characters)" in read_page(audit_page(claims)).text
