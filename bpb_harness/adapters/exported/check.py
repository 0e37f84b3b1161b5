"""From the graph of an exported program to a module that computes it, or a refusal that names what is not understood.

The graph is read node by node: its target is looked up in a closed list
(:mod:`bpb_harness.adapters.exported.operators`), its arguments are converted to the types of that operator's schema,
and names of the file become edges between nodes. None of the file's text is evaluated or ends up in code. A graph that
holds another graph (control flow, regions) is refused, so what was checked once is all that is ever run.

A program is a function of its inputs: what writes into an input, a parameter or a buffer is refused, be it by its
signature or by an operator in place.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import fx, nn

from bpb_harness.adapters.exported.archive import ExportedArchive, refusal
from bpb_harness.adapters.exported.functions import SIZE_FUNCTIONS, exactly, guarded
from bpb_harness.adapters.exported.operators import (
    find_operator,
    is_listed,
    makes_tensors,
    may_return_an_argument,
    name_of,
    type_of,
    why_not,
)
from bpb_harness.adapters.exported.shapes import ShapeRules, read_shape_rules
from bpb_harness.adapters.exported.values import ValueReader, only_entry
from bpb_harness.errors import CheckpointError

_SCHEMA_MAJOR = 8
_ATEN = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
_PROGRAM_KEYS = frozenset(
    [
        "graph_module",
        "opset_version",
        "range_constraints",
        "schema_version",
        "verifiers",
        "torch_version",
        "guards_code",
    ]
)
_MODULE_KEYS = frozenset(["graph", "signature", "module_call_graph", "metadata", "treespec_namedtuple_fields"])
_GRAPH_KEYS = frozenset(
    [
        "inputs",
        "outputs",
        "nodes",
        "tensor_values",
        "sym_int_values",
        "sym_bool_values",
        "is_single_tensor_return",
        "custom_obj_values",
        "sym_float_values",
    ]
)
_NODE_KEYS = frozenset(["target", "inputs", "outputs", "metadata", "is_hop_single_tensor_return", "name"])
_ARGUMENT_KEYS = frozenset(["name", "arg", "kind"])
_STATE_KEYS = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}


@final
@dataclass(frozen=True)
class ExportedProgram:
    """A program that was understood.

    Attributes:
        module: takes the inputs, gives the logits; its weights are buffers.
        rules: what sizes of inputs it was made for.
    """

    module: fx.GraphModule
    rules: ShapeRules


def check_program(archive: ExportedArchive, *, num_inputs: int, device: torch.device) -> ExportedProgram:
    """The program of an archive, its weights on the device.

    Args:
        archive: as it was read.
        num_inputs: how many tensors it must take; it must give one.
        device: where it is to run, whatever the file says.

    Raises:
        UnsafeCheckpointError: naming the operator, argument, signature or key that is not on the lists.
        CheckpointError: if the graph contradicts itself, or names operators that this version of torch lacks.
    """
    return _Builder(archive, device).build(num_inputs)


@final
class _Builder:
    """Builds the module; ``self._values`` holds what each name of the file stands for."""

    def __init__(self, archive: ExportedArchive, device: torch.device) -> None:
        self._archive, self._device, self._file = archive, device, archive.name
        self._graph, self._root = fx.Graph(), nn.Module()
        self._values: dict[str, fx.Node] = {}
        self._reader = ValueReader(archive.name, self._values, device)
        # Which inputs and weights a value may share its memory with, in words.
        self._owners: dict[fx.Node, frozenset[str]] = {}

    def build(self, num_inputs: int) -> ExportedProgram:
        program = _object(self._archive.graph, _PROGRAM_KEYS, self._file, "the program")
        version = program.get("schema_version")
        if not isinstance(version, dict) or version.get("major") != _SCHEMA_MAJOR:
            raise refusal(self._file, "version of the program's schema", version, f"{_SCHEMA_MAJOR}.x")
        module = _object(program.get("graph_module"), _MODULE_KEYS, self._file, "graph_module")
        graph = _object(module.get("graph"), _GRAPH_KEYS, self._file, "graph")
        for key in ("custom_obj_values", "is_single_tensor_return"):
            if graph.get(key):
                raise refusal(self._file, f"{key} of the graph", graph[key], "none")
        signature = _object(
            module.get("signature"), frozenset(["input_specs", "output_specs"]), self._file, "signature"
        )
        inputs = self._add_inputs(signature, graph, num_inputs)
        for number, node in enumerate(_list(graph.get("nodes"), self._file, "nodes")):
            self._add_node(_object(node, _NODE_KEYS, self._file, f"node {number}"), f"node {number}")
        self._add_output(signature, graph)
        built = fx.GraphModule(self._root, self._graph).eval()
        return ExportedProgram(built, read_shape_rules(program, graph, inputs, self._file))

    # Inputs and outputs

    def _add_inputs(self, signature: Mapping[str, Any], graph: Mapping[str, Any], num_inputs: int) -> list[str]:
        """Placeholders and weights; the names of the user's inputs."""
        stated = [_name_of(value) for value in _list(graph.get("inputs"), self._file, "inputs")]
        users: list[str] = []
        names: list[str | None] = []
        for spec in _list(signature.get("input_specs"), self._file, "input_specs"):
            kind, content = only_entry(spec, self._file, "an input of the signature")
            if kind != "user_input" and kind not in _STATE_KEYS:
                raise refusal(self._file, "an input of the signature", kind, f"user_input, {', '.join(_STATE_KEYS)}")
            argument = _part(content, "arg")
            name = _name_of(argument) if kind == "user_input" else _name_of({"as_tensor": argument})
            if name is None or name in self._values:
                raise refusal(self._file, f"{kind} of the signature", argument, "a tensor with a name of its own")
            names.append(name)
            if kind == "user_input":
                users.append(name)
                self._enter(name, self._graph.placeholder(f"input_{len(users)}"), frozenset([f"its input {name!r}"]))
            else:
                key = _part(content, _STATE_KEYS[kind])
                owner = f"its {kind.replace('_', ' ')} {key!r}"
                self._enter(name, self._add_weight(kind, key), frozenset([owner]))
        if names != stated:
            raise refusal(self._file, "inputs of the graph", stated[:4], "those of its signature")
        if len(users) != num_inputs:
            raise CheckpointError(
                f"{self._file}: inputs of the program", seen=len(users), expected=num_inputs, hint="export it again"
            )
        return users

    def _add_weight(self, kind: str, key: object) -> fx.Node:
        for table in (self._archive.weights, self._archive.constants):
            if isinstance(key, str) and key in table:
                label = f"weight_{len(self._values)}"
                self._root.register_buffer(label, table[key].to(self._device))
                return self._graph.get_attr(label)
        raise CheckpointError(f"{self._file} lacks the {kind.replace('_', ' ')}", seen=repr(key)[:80])

    def _add_output(self, signature: Mapping[str, Any], graph: Mapping[str, Any]) -> None:
        specs = _list(signature.get("output_specs"), self._file, "output_specs")
        entries = [only_entry(spec, self._file, "an output of the signature") for spec in specs]
        for kind, content in entries:
            if kind != "user_output":
                changed = next((value for key, value in _items(content) if key.endswith("_name")), "")
                label = f"its signature has an output of kind {kind} {changed}".rstrip()
                raise refusal(self._file, label, expected="logits alone, and nothing changed")
        outputs = _list(graph.get("outputs"), self._file, "outputs")
        if len(entries) != 1 or len(outputs) != 1 or _part(entries[0][1], "arg") != outputs[0]:
            raise refusal(self._file, "outputs of the program", len(outputs), "one tensor, the logits")
        self._graph.output(self._reader.read(outputs[0], "Tensor", False, "output of the program"))

    # Nodes

    def _add_node(self, node: Mapping[str, Any], what: str) -> None:
        target = node.get("target")
        inputs = [
            _object(given, _ARGUMENT_KEYS, self._file, f"an argument of {what}")
            for given in _list(node.get("inputs"), self._file, f"inputs of {what}")
        ]
        if isinstance(target, str) and target in SIZE_FUNCTIONS:
            numbers = [self._reader.read(given.get("arg"), "number", False, f"{what}: {target}") for given in inputs]
            self._name_outputs(node, self._graph.call_function(SIZE_FUNCTIONS[target], tuple(numbers)), ["number"])
            return
        found = _ATEN.fullmatch(target) if isinstance(target, str) else None
        operator = find_operator(found[1], found[2]) if found is not None else None
        if found is None or (operator is None and not is_listed(found[1], found[2])):
            raise refusal(self._file, f"{what} calls what is not on the list of tensor operators", target)
        if operator is None:
            raise CheckpointError(
                f"{self._file}: {what} calls an operator that torch {torch.__version__} does not have",
                seen=target,
                expected=f"those of torch {self._archive.graph.get('torch_version')}, which wrote it",
                hint="export it again with this version of torch",
            )
        arguments, named, owners = self._arguments(operator, inputs, what)
        runs = guarded(operator)
        made = None if runs is None else self._graph.call_function(runs, arguments, named)
        self._name_outputs(node, made, [type_of(value)[0] for value in operator._schema.returns], owners)

    def _arguments(
        self, operator: torch._ops.OpOverload, inputs: Sequence[Mapping[str, Any]], what: str
    ) -> tuple[tuple[Any, ...], dict[str, Any], frozenset[str]]:
        """Arguments by position and by name, and whose memory the results may share."""
        schema, name = operator._schema, name_of(operator)
        given = {entry.get("name"): entry.get("arg") for entry in inputs}
        known = [argument.name for argument in schema.arguments]
        if len(given) != len(inputs) or not given.keys() <= set(known):
            raise refusal(self._file, f"{what}: arguments of aten.{name}", list(given), f"some of {', '.join(known)}")
        values: dict[str, Any] = {}
        shared: frozenset[str] = frozenset()
        for argument in schema.arguments:
            label = f"{what}: argument {argument.name} of aten.{name}"
            if argument.name in given:
                values[argument.name] = self._reader.read(given[argument.name], *type_of(argument), label)
            elif type_of(argument)[0] == "Device" and makes_tensors(operator):
                values[argument.name] = self._device  # as no program says, where it was made on one device alone
            elif not argument.has_default_value():
                raise refusal(self._file, f"{label} is missing")
            else:
                continue
            if (right := why_not(operator, argument.name, values[argument.name])) is not None:
                raise refusal(self._file, label, values[argument.name], right)
            owners = self._owners_of(values[argument.name])
            if argument.alias_info is not None and argument.alias_info.is_write and owners:
                changed = f"{what}: aten.{name} changes {min(owners)}"
                raise refusal(self._file, changed, expected="a program that changes none of its inputs and weights")
            if argument.alias_info is not None or may_return_an_argument(operator):
                shared |= owners
        last = max((place for place, argument in enumerate(known) if argument in values), default=-1)
        positional = [
            values.get(argument.name, argument.default_value)
            for argument in schema.arguments[: last + 1]
            if not argument.kwarg_only
        ]
        by_name = {a.name: values[a.name] for a in schema.arguments if a.kwarg_only and a.name in values}
        is_view = any(value.alias_info is not None for value in schema.returns) or may_return_an_argument(operator)
        return tuple(positional), by_name, shared if is_view else frozenset()

    def _owners_of(self, value: object) -> frozenset[str]:
        parts = value if isinstance(value, list) else [value]
        return frozenset().union(*(self._owners.get(part, frozenset()) for part in parts if isinstance(part, fx.Node)))

    def _name_outputs(
        self, node: Mapping[str, Any], made: fx.Node | None, returns: list[str], owners: frozenset[str] = frozenset()
    ) -> None:
        """Enter the names that the file gives to what a node makes."""
        outputs = _list(node.get("outputs"), self._file, "outputs of a node")
        if returns == ["List[Tensor]"] and len(outputs) == 1 and made is not None:
            parts = _list(_part(outputs[0], "as_tensors"), self._file, "outputs of a node")
            names = [_name_of({"as_tensor": part}) for part in parts]
            made = self._graph.call_function(exactly, (made, len(names)))
        elif len(outputs) == len(returns):
            names = [_name_of(output) for output in outputs]
        else:
            raise refusal(self._file, f"outputs of {node.get('target')}", len(outputs), len(returns))
        if made is None:
            return
        for place, name in enumerate(names):
            is_whole = len(returns) == 1 and returns != ["List[Tensor]"]
            self._enter(name, made if is_whole else self._graph.call_function(operator.getitem, (made, place)), owners)

    def _enter(self, name: str | None, value: fx.Node, owners: frozenset[str]) -> None:
        if name is None:  # a result that is nothing
            return
        if name in self._values:
            raise refusal(self._file, "a name that is given twice", name)
        self._values[name], self._owners[value] = value, owners


def _object(value: object, keys: frozenset[str], file: str, what: str) -> dict[str, Any]:
    """An object none of whose keys is unknown."""
    if not isinstance(value, dict):
        raise refusal(file, what, value, "an object")
    unknown = sorted(value.keys() - keys)
    if unknown:
        raise refusal(file, f"{what} has a key that is not known", unknown[0], ", ".join(sorted(keys)))
    return value


def _list(value: object, file: str, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise refusal(file, what, value, "a list")
    return value


def _part(value: object, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _items(value: object) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _name_of(output: object) -> str | None:
    """The name that a tensor or a size goes by; None for nothing."""
    for form, content in _items(output)[:1]:
        name = _part(content, "as_name" if form.startswith("as_sym_") else "name")
        return name if isinstance(name, str) and form != "as_none" else None
    return None
