import ast

import pytest

from bpb_harness.auditing.script.frontend.nodes import new_function


@pytest.mark.parametrize("parameters", [[], ["x"], ["model", "x"]])
def test_a_function_that_was_not_parsed_is_that_which_its_text_gives(parameters):
    text = f"def score({', '.join(parameters)}):\n    return 1"
    (parsed,) = ast.parse(text).body
    made = new_function("score", parameters, [ast.Return(ast.Constant(1))])
    assert ast.dump(made) == ast.dump(parsed)
    assert ast.unparse(ast.fix_missing_locations(made)) == text
    # Each field is there to be read, also those that a later Python has and an earlier one does not know.
    assert {field: type(getattr(made, field)) for field in made._fields} == {
        field: type(getattr(parsed, field)) for field in parsed._fields
    }
