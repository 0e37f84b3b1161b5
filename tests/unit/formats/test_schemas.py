"""Schemas and docs are made of the declarations: what is shipped is what they make now."""

import json

import jsonschema
import pytest

from bpb_harness.formats.schemas import FOLDER, file_of, schema_of, text_of
from bpb_harness.rules.format import FORMAT as RULES_FORMAT
from docs.formats_table import DECLARED, PAGE, page


@pytest.mark.parametrize("name", DECLARED)
def test_what_is_shipped_is_what_the_declaration_makes(name):
    assert file_of(name).read_text("utf-8") == text_of(name, DECLARED[name]), "run make tables"
    schema = json.loads(file_of(name).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == schema_of(name, DECLARED[name])
    assert schema["properties"]["format"]["const"] == name
    assert next(iter(schema["properties"])) == "format"


def test_nothing_else_is_shipped():
    assert {path.name for path in FOLDER.iterdir()} == {file_of(name).name for name in (*DECLARED, RULES_FORMAT)}


def test_the_page_is_what_the_declarations_make():
    text = PAGE.read_text("utf-8")
    assert page(text) == text, "run make tables"
    assert all(f"## `{name}`" in text for name in DECLARED)
    assert "| `comparison.t_curve.steps` | whole number >= 1 or null |" in text
