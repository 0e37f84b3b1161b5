"""Results as pages for people: one HTML file that loads nothing and runs nothing.

page.py          templates, and what is done to text of strangers before it gets into one
visible.py       characters without a shape of their own, shown
evaluation.py    the page of a score: `evaluation_page`
audit.py         the page of an audit: `audit_page`
comparison.py    the page of a comparison: `comparison_page`
sentences.py     a score and its errors in plain words
by_position.py   bits by position in the window
documents.py     how documents differ, the hardest and the easiest
heat_map.py      a document's text in the colours of its costs
charts/          inline SVG, one chart a file; drawing.py draws them all
templates/       *.html.j2

A page takes finished objects (`BpbResult`, `SystemComparison`, `AuditReport`) and computes no score.
"""

from bpb_harness.report.audit import audit_page
from bpb_harness.report.comparison import comparison_page
from bpb_harness.report.evaluation import evaluation_page

__all__ = ["audit_page", "comparison_page", "evaluation_page"]
