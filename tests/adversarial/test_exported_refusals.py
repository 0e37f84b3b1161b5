"""What is said of exported programs that are refused, word by word: what, the value seen, the one expected, what helps.

A program, its table of weights or its description is changed in one place; nothing else may be named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bpb_harness.adapters import load_model
from bpb_harness.adapters.exported.operators import is_listed
from bpb_harness.adapters.exported.values import ValueReader
from bpb_harness.errors import HarnessError
from fixtures.adversarial.exported_programs import (
    DESCRIPTION,
    node,
    small_program,
    small_weights,
    tensor,
    write_program,
)

_AGAIN = "export it again with bpb_harness.adapters.exported.export_model"
_TRUST = f"; {_AGAIN}, or pass --allow-code if you trust the file"
_PROGRAM_KEYS = "graph_module, guards_code, opset_version, range_constraints, schema_version, torch_version, verifiers"


def refusal_of(folder: Path, program: dict[str, Any] | str | None = None, **parts: Any) -> str:
    path = write_program(folder / "x.pt2", program, **parts)
    with pytest.raises(HarnessError) as caught:
        load_model(path, device=torch.device("cpu"), dtype=torch.float32)
    return str(caught.value)


def _graph(program: dict[str, Any]) -> dict[str, Any]:
    return program["graph_module"]["graph"]


def _change_inputs(program: dict[str, Any]) -> None:
    _graph(program)["inputs"].pop()


def _add(*nodes: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def change(program: dict[str, Any]) -> None:
        _graph(program)["nodes"][2:2] = nodes

    return change


PROGRAMS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "key": (
        lambda p: p.update(code=1),
        f"the program has a key that is not known: got 'code', expected {_PROGRAM_KEYS}",
    ),
    "schema": (
        lambda p: p.update(schema_version={"major": 9}),
        "version of the program's schema: got {'major': 9}, expected 8.x",
    ),
    "no schema": (lambda p: p.pop("schema_version"), "version of the program's schema: expected 8.x"),
    "module": (lambda p: p.update(graph_module=5), "graph_module: got 5, expected an object"),
    "graph": (lambda p: p["graph_module"].update(graph=[]), "graph: got [], expected an object"),
    "signature": (lambda p: p["graph_module"].update(signature="s"), "signature: got 's', expected an object"),
    "custom objects": (
        lambda p: _graph(p).update(custom_obj_values={"a": 1}),
        "custom_obj_values of the graph: got {'a': 1}, expected none",
    ),
    "single return": (
        lambda p: _graph(p).update(is_single_tensor_return=True),
        "is_single_tensor_return of the graph: got True, expected none",
    ),
    "inputs": (
        _change_inputs,
        "inputs of the graph: got ['table', 'head', 'xt', 't'], expected those of its signature",
    ),
    "outputs": (
        lambda p: p["graph_module"]["signature"].update(output_specs=[{"a": 1, "b": 2}]),
        "an output of the signature: got {'a': 1, 'b': 2}, expected an object with one key",
    ),
    "mutation": (
        lambda p: p["graph_module"]["signature"].update(output_specs=[{"buffer_mutation": {"arg": {"name": "h"}}}]),
        "its signature has an output of kind buffer_mutation: expected logits alone, and nothing changed",
    ),
    "nodes": (lambda p: _graph(p).update(nodes={}), "nodes: got {}, expected a list"),
    "values": (
        lambda p: _graph(p).update(tensor_values=[1]),
        "tensor_values of the graph: got [1], expected an object",
    ),
    "no sizes": (
        lambda p: _graph(p)["tensor_values"].update(xt={"a": 1}),
        "sizes of its input 'xt': got {'a': 1}",
    ),
    "type of an input": (
        lambda p: _graph(p)["tensor_values"]["xt"].update(dtype=99),
        "type of its input 'xt': got 99",
    ),
    "size of an input": (
        lambda p: _graph(p)["tensor_values"]["xt"].update(sizes=[{"as_bool": True}]),
        "a size of its input 'xt' that is not a number or a name: got {'as_bool': True}",
    ),
    "guards": (lambda p: p.update(guards_code={"a": 1}), "guards_code: got {'a': 1}, expected a list of conditions"),
    "guard": (lambda p: p.update(guards_code=["f()"]), "a condition on sizes that is no arithmetic: got 'f()'"),
    "range": (
        lambda p: p["range_constraints"].update(s1=5),
        "a range of sizes that is not understood: got {'s1': 5}",
    ),
    "target": (
        _add(node("from_file.default", "q", self=tensor("h"))),
        "node 2 calls what is not on the list of tensor operators: got 'torch.ops.aten.from_file.default'",
    ),
    "overload of a listed name": (
        _add(node("add.out", "q", self=tensor("h"))),
        "node 2 calls what is not on the list of tensor operators: got 'torch.ops.aten.add.out'",
    ),
    "argument": (
        _add(node("tanh.default", "q", it=tensor("h"))),
        "node 2: arguments of aten.tanh: got ['it'], expected some of self",
    ),
    "missing argument": (_add(node("tanh.default", "q")), "node 2: argument self of aten.tanh is missing"),
    "in place": (
        _add(node("fill_.Scalar", "q", self=tensor("table"), value={"as_int": 1})),
        "node 2: aten.fill_ changes its parameter 'model.table': "
        "expected a program that changes none of its inputs and weights",
    ),
    "twice": (_add(node("tanh.default", "h", self=tensor("h"))), "a name that is given twice: got 'h'"),
    "kind": (
        _add(node("tanh.default", "q", self={"as_string": "h"})),
        "node 2: argument self of aten.tanh: an argument of kind as_string: got 'h', expected a value of type Tensor",
    ),
    "none": (
        _add(node("tanh.default", "q", self={"as_none": True})),
        "node 2: argument self of aten.tanh: expected Tensor",
    ),
    "unnamed": (
        _add(node("tanh.default", "q", self=tensor("nobody"))),
        "node 2: argument self of aten.tanh: as_tensor: got {'name': 'nobody'}, expected a value of type Tensor",
    ),
    "no form": (
        _add(node("tanh.default", "q", self={})),
        "node 2: argument self of aten.tanh: got {}, expected an object with one key",
    ),
    "number of outputs": (
        _add(node("tanh.default", None, self=tensor("h"))),
        "outputs of torch.ops.aten.tanh.default: got 0, expected 1",
    ),
    "kind of an input": (
        lambda p: p["graph_module"]["signature"].update(input_specs=[{"token": 1}]),
        "an input of the signature: got 'token', expected user_input, parameter, buffer, tensor_constant",
    ),
    "form of an input": (
        lambda p: p["graph_module"]["signature"].update(input_specs=[5]),
        "an input of the signature: got 5, expected an object with one key",
    ),
    "name of an input": (
        lambda p: p["graph_module"]["signature"].update(input_specs=[{"parameter": {"arg": 5}}]),
        "parameter of the signature: got 5, expected a tensor with a name of its own",
    ),
    "changed input": (
        lambda p: p["graph_module"]["signature"].update(output_specs=[{"buffer_mutation": {"buffer_name": "b"}}]),
        "its signature has an output of kind buffer_mutation b: expected logits alone, and nothing changed",
    ),
    "name that is none": (
        lambda p: p["graph_module"]["signature"].update(input_specs=[{"parameter": {"arg": {"name": 5}}}]),
        "parameter of the signature: got {'name': 5}, expected a tensor with a name of its own",
    ),
    "nothing by name": (
        lambda p: p["graph_module"]["signature"].update(
            input_specs=[{"user_input": {"arg": {"as_none": {"name": "xt"}}}}]
        ),
        "user_input of the signature: got {'as_none': {'name': 'xt'}}, expected a tensor with a name of its own",
    ),
    "key of an argument": (
        lambda p: _graph(p)["nodes"].insert(
            2, node("tanh.default", "q", self=tensor("h")) | {"inputs": [{"name": "self", "of": 1}]}
        ),
        "an argument of node 2 has a key that is not known: got 'of', expected arg, kind, name",
    ),
    "list of arguments": (
        lambda p: _graph(p)["nodes"].insert(2, node("tanh.default", "q") | {"inputs": 5}),
        "inputs of node 2: got 5, expected a list",
    ),
    "form of an argument": (
        lambda p: _graph(p)["nodes"].insert(2, node("tanh.default", "q") | {"inputs": [5]}),
        "an argument of node 2: got 5, expected an object",
    ),
    "list of results": (
        lambda p: _graph(p)["nodes"].insert(2, node("tanh.default", None, self=tensor("h")) | {"outputs": 5}),
        "outputs of a node: got 5, expected a list",
    ),
    "key of a node": (
        lambda p: _graph(p)["nodes"].insert(2, {"code": 1}),
        "node 2 has a key that is not known: got 'code', expected inputs, is_hop_single_tensor_return, metadata, name, "
        "outputs, target",
    ),
    "memory format": (
        _add(node("contiguous.default", "q", self=tensor("h"), memory_format={"as_memory_format": 99})),
        "node 2: argument memory_format of aten.contiguous: as_memory_format: got 99, expected a value of type "
        "MemoryFormat",
    ),
    "two outputs": (
        lambda p: _graph(p)["outputs"].append(tensor("h")),
        "outputs of the program: got 2, expected one tensor, the logits",
    ),
    "ranges": (
        lambda p: p.update(range_constraints=[]),
        "a range of sizes that is not understood: got {'range_constraints': None}",
    ),
    "lists": (lambda p: _graph(p).update(inputs=5), "inputs: got 5, expected a list"),
    "list of inputs": (
        lambda p: p["graph_module"]["signature"].update(input_specs=5),
        "input_specs: got 5, expected a list",
    ),
    "list of outputs": (
        lambda p: p["graph_module"]["signature"].update(output_specs=5),
        "output_specs: got 5, expected a list",
    ),
    "outputs of the graph": (lambda p: _graph(p).update(outputs=5), "outputs: got 5, expected a list"),
    "node": (lambda p: _graph(p)["nodes"].insert(2, 5), "node 2: got 5, expected an object"),
    "size": (
        lambda p: _graph(p)["nodes"].insert(2, node("x", "q", a={"as_string": "h"}) | {"target": "_operator.neg"}),
        "node 2: _operator.neg: an argument of kind as_string: got 'h', expected a value of type number",
    ),
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_what_is_said_of_a_program(tmp_path: Path, kind: str) -> None:
    change, line = PROGRAMS[kind]
    program = small_program()
    change(program)
    assert refusal_of(tmp_path, program) == f"x.pt2: {line}{_TRUST}"


def _meta(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry["tensor_meta"].update(changes)


WEIGHTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "layout": (_meta(layout=1), "'model.table' of a type or layout that is not read: got [7, 1]" + _TRUST),
    "type": (_meta(dtype=99), "'model.table' of a type or layout that is not read: got [99, 7]" + _TRUST),
    "offset": (
        _meta(storage_offset={"as_int": -1}),
        "'model.table': shape: got [{'as_int': 7}, {'as_int': 4}]" + _TRUST,
    ),
    "size": (
        _meta(storage_offset={"as_int": 1}),
        "'model.table' of shape [7, 4]: got 112 bytes, expected 29 elements of 4 bytes; "
        "the file is damaged or hostile; copy it again",
    ),
    "record": (
        lambda e: e.update(path_name="../x"),
        "'model.table' lies in a record of another kind: got '../x'" + _TRUST,
    ),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_what_is_said_of_a_weight(tmp_path: Path, kind: str) -> None:
    change, line = WEIGHTS[kind]
    weights = small_weights()
    change(weights["model.table"])
    assert refusal_of(tmp_path, weights=weights) == f"x.pt2: {line}"


def test_a_weight_has_no_element_in_an_empty_record(tmp_path: Path) -> None:
    weights = small_weights()
    one = [{"as_int": 1}]
    weights["model.table"]["tensor_meta"] |= {"dtype": 1, "sizes": one, "strides": one}
    weights["model.table"]["path_name"] = "weight_7"
    assert refusal_of(tmp_path, weights=weights, records={"data/weights/weight_7": b""}) == (
        "x.pt2: 'model.table' of shape [1]: got 0 bytes, expected 1 elements of 1 bytes; the file is damaged or "
        "hostile; copy it again"
    )


def test_a_weight_that_is_a_pickle_and_one_without_its_record(tmp_path: Path) -> None:
    weights = {"w": {"use_pickle": True}}
    assert (
        refusal_of(tmp_path, weights=weights) == f"x.pt2: 'w' is stored as a pickle: got {{'use_pickle': True}}{_TRUST}"
    )
    weights = small_weights()
    weights["model.table"]["path_name"] = "weight_9"
    assert refusal_of(tmp_path, weights=weights) == "x.pt2 lacks the record: got data/weights/weight_9"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("models/model.json", "a record that is there twice: got 'models/model.json'"),
        ("models/other.json", "a second program: got 'models/other.json', expected one"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_said_of_a_record(tmp_path: Path, name: str, line: str) -> None:
    assert refusal_of(tmp_path, records={name: b"{}"}) == f"x.pt2: {line}{_TRUST}"


def test_what_is_said_of_a_key_that_stands_twice_and_of_no_object(tmp_path: Path) -> None:
    assert refusal_of(tmp_path, '{"a": 1, "a": 1}') == "x.pt2: a key that is there twice: got 'a'; export it again"
    assert refusal_of(tmp_path, "[]") == "x.pt2: a table of the archive: got list, expected an object"


_CAUSAL = {"kind": "causal", "mask_token_id": None, "time_conditioned": None, "schedule": None}
DESCRIPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"mask": 1}, f" has a key that is not known: got mask, expected {', '.join(sorted(DESCRIPTION))}; {_AGAIN}"),
    ({"format": "a"}, f": format: got 'a', expected 'bpb-harness-exported'; {_AGAIN}"),
    ({"format_version": 2}, f": format_version: got 2, expected 1; {_AGAIN}"),
    ({"kind": "a"}, f": kind: got 'a', expected denoiser or causal; {_AGAIN}"),
    ({"vocab_size": 0}, f": vocab_size: got 0, expected an int from 1 on; {_AGAIN}"),
    ({"context_length": 1 << 31}, f": context_length: got 2147483648, expected an int from 1 on; {_AGAIN}"),
    ({"mask_token_id": -1}, f": mask_token_id: got -1, expected an int from 0 on; {_AGAIN}"),
    ({"time_conditioned": 1}, f": time_conditioned: got 1, expected true or false; {_AGAIN}"),
    ({"torch_version": 2}, f": torch_version: got int, expected str; {_AGAIN}"),
    ({"sha256": "z" * 90}, f": sha256: got '{'z' * 79}, expected 64 hexadecimal digits or null"),
    *[
        ({**_CAUSAL, key: value}, f": {key} of a causal model: got {value!r}, expected null")
        for key, value in (("mask_token_id", 6), ("time_conditioned", False), ("schedule", "loglinear"))
    ],
]


@pytest.mark.parametrize(("changes", "line"), DESCRIPTIONS)
def test_what_is_said_of_a_description(tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    assert refusal_of(tmp_path, description={**DESCRIPTION, **changes}) == f"x.json{line}"


def test_what_a_program_lacks(tmp_path: Path) -> None:
    program = small_program()
    program["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = "model.none"
    assert refusal_of(tmp_path, program) == "x.pt2 lacks the parameter: got 'model.none'"
    program = small_program()
    program["graph_module"]["signature"]["input_specs"].pop()
    _graph(program)["inputs"].pop()
    assert refusal_of(tmp_path, program) == "x.pt2: inputs of the program: got 3, expected 4; export it again"


@pytest.mark.parametrize(
    ("stated", "value"),
    [
        ({"as_int": -(1 << 63)}, -(1 << 63)),
        ({"as_float": 3}, 3.0),
        ({"as_float": "-Infinity"}, float("-inf")),
        ({"as_bool": False}, False),
        ({"as_complex": {"real": 1, "imag": 2.5}}, 1 + 2.5j),
        ({"as_sym_int": {"as_int": 4}}, 4),
        ({"as_sym_float": {"as_float": 0.5}}, 0.5),
    ],
)
def test_a_number_is_read_as_what_it_is(stated: dict[str, Any], value: complex) -> None:
    read = ValueReader("x.pt2", {}, torch.device("cpu")).read(stated, "number", False, "a")
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    "stated",
    [
        {"as_int": 1 << 63},
        {"as_int": -(1 << 63) - 1},
        {"as_int": True},
        {"as_int": 1.0},
        {"as_float": True},
        {"as_float": "nan"},
        {"as_bool": 1},
        {"as_complex": {"real": 1}},
        {"as_complex": [1, 2]},
        {"as_sym_int": {"as_float": 1.0}},
        {"as_sym_int": {"as_int": 1, "as_name": "a"}},
        {"as_sym_int": {"as_name": "a"}},
        {"as_sym_int": 1},
    ],
)
def test_what_is_no_number_of_its_form_is_refused(stated: dict[str, Any]) -> None:
    ((form, content),) = stated.items()
    line = f"x.pt2: a: {form}: got {content!r}, expected a value of type number{_TRUST}"
    with pytest.raises(HarnessError) as caught:
        ValueReader("x.pt2", {}, torch.device("cpu")).read(stated, "number", False, "a")
    assert str(caught.value) == line


def test_overloads_that_write_elsewhere_are_on_no_list() -> None:
    assert is_listed("add", "Tensor")
    assert is_listed("add_", "Tensor")
    assert not any(is_listed("add", overload) for overload in ("out", "Tensor_out", "out_x"))
    assert not is_listed("from_file", "default")
