"""Exported programs rewritten at random: they open no file, end no process and run no operator off the list."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bpb_harness.adapters import load_model
from bpb_harness.adapters.exported.operators import find_operator, is_listed
from bpb_harness.denoiser import Denoiser
from bpb_harness.errors import HarnessError
from bpb_harness.schedule import LogLinear
from fixtures.adversarial.exported_programs import (
    CONTEXT_LENGTH,
    DESCRIPTION,
    VOCAB_SIZE,
    WIDTH,
    meta,
    node,
    small_program,
    small_weights,
    tensor,
    write_program,
)
from tests.forked_servers import run_program
from tests.tiers import times

_CPU: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
_LEVEL = LogLinear(1e-3)
_NUM_VARIANTS, _NUM_PROCESSES = times(20, thorough=1000), 1


def wide_program() -> dict[str, Any]:
    """The small program with an operator of many kinds in the middle."""
    program = small_program()
    nodes = program["graph_module"]["graph"]["nodes"]
    ints, flag, both = (lambda *values: {"as_ints": list(values)}), {"as_bool": True}, [{"name": "h"}, {"name": "h"}]
    number = lambda value: {"as_int": value}  # noqa: E731
    extra = [
        node("mul.Scalar", "zi", self=tensor("xt"), other=number(0)),
        node("gt.Scalar", "bo", self=tensor("xt"), other=number(2)),
        node("view.default", "v", self=tensor("h"), size=ints(-1, 2, 2)),
        node("transpose.int", "tr", self=tensor("v"), dim0={"as_int": 1}, dim1={"as_int": 2}),
        node("clone.default", "cl", self=tensor("tr")),
        node("as_strided.default", "st", self=tensor("cl"), size=ints(2, 2), stride=ints(2, 1)),
        node("unfold.default", "un", self=tensor("cl"), dimension=number(0), size=number(1), step=number(1)),
        node("pad.default", "pd", self=tensor("cl"), pad=ints(1, 1), mode={"as_string": "reflect"}),
        node("softmax.int", "sm", self=tensor("cl"), dim={"as_int": -1}),
        node("arange.default", "ar", end={"as_int": 2}),
        node("index_select.default", "sel", self=tensor("cl"), dim={"as_int": 2}, index=tensor("ar")),
        node("gather.default", "ga", self=tensor("xt"), dim={"as_int": 1}, index=tensor("zi")),
        node("scatter.value", "sc", self=tensor("ga"), dim={"as_int": 1}, index=tensor("zi"), value={"as_int": 1}),
        node("cumsum.default", "cu", self=tensor("sc"), dim={"as_int": 1}),
        node("full.default", "fu", size=ints(3, 2), fill_value={"as_float": 1.0}),
        node("empty.memory_format", "em", size=ints(3, 2)),
        node("repeat.default", "re", self=tensor("fu"), repeats=ints(1, 2)),
        node("expand.default", "ex", self=tensor("fu"), size=ints(4, 3, 2)),
        node("div.Tensor_mode", "dv", self=tensor("fu"), other=tensor("fu"), rounding_mode={"as_string": "floor"}),
        node(
            "scaled_dot_product_attention.default", "at", query=tensor("h"), key=tensor("h"), value=tensor("h"),
            is_causal=flag,
        ),
        node("topk.default", "tk", self=tensor("h"), k={"as_int": 2}),
        node("_to_copy.default", "tc", self=tensor("h"), dtype={"as_scalar_type": 8}),
        node("constant_pad_nd.default", "cp", self=tensor("h"), pad=ints(0, 1), value={"as_float": 0.0}),
        node("native_group_norm.default", "gn", input=tensor("h"), weight={"as_none": True}, bias={"as_none": True},
             N={"as_int": 2}, C={"as_int": 3}, HxW={"as_int": 4}, group={"as_int": 1}, eps={"as_float": 1e-5}),
        node("conv1d.default", "cv", input=tensor("h"), weight=tensor("h"), padding=ints(1)),
        node("max_pool1d.default", "mp", self=tensor("h"), kernel_size=ints(2)),
        node("einsum.default", "ei", equation={"as_string": "bld,bld->bl"}, tensors={"as_tensors": both}),
        node("where.self", "wh", condition=tensor("bo"), self=tensor("xt"), other=tensor("xt")),
        node("index.Tensor", "ix", self=tensor("table"), indices={"as_optional_tensors": [tensor("xt")]}),
        node("embedding.default", "eb", weight=tensor("table"), indices=tensor("xt")),
        node("fill_.Scalar", "fi", self=tensor("cl"), value={"as_int": 1}),
        node("copy_.default", "cy", self=tensor("sm"), src=tensor("cl")),
        node("_fft_r2c.default", "fr", self=tensor("h"), dim=ints(2), normalization=number(0), onesided=flag),
        node("_fft_c2r.default", "ff", self=tensor("fr"), dim=ints(2), normalization={"as_int": 0},
             last_dim_size={"as_int": 4}),
        node("take.default", "ta", self=tensor("h"), index=tensor("xt")),
        node("upsample_nearest1d.default", "up", self=tensor("h"), output_size=ints(8)),
        node("bucketize.Tensor", "bu", self=tensor("xt"), boundaries=tensor("ar")),
        node("triu_indices.default", "ti", row={"as_int": 3}, col={"as_int": 3}),
        node("masked_select.default", "ms", self=tensor("xt"), mask=tensor("bo")),
    ]  # fmt: skip
    for name, outputs in (("tk", ["tk", "tk_1"]), ("gn", ["gn", "gn_1", "gn_2"])):
        several = next(n for n in extra if n["outputs"] == [tensor(name)])
        several["outputs"] = [tensor(output) for output in outputs]
    nodes[2:2] = extra
    return program


class _OnTheList(TorchDispatchMode):
    """Counts operators that a file may not have named, and what lies below those that it may."""

    refused = ("from_file", "_reshape_alias", "set_", "resize_", "rand", "normal", "bernoulli", "_print")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        assert name.startswith("aten::"), name
        assert not name.removeprefix("aten::").startswith(self.refused), name
        return func(*args, **(kwargs or {}))


Change = Callable[[random.Random, dict[str, Any], dict[str, Any]], None]
_SIZES = [
    0,
    1,
    -1,
    2,
    3,
    4,
    7,
    -2,
    8,
    63,
    64,
    1000,
    10**6,
    10**9,
    1 << 31,
    1 << 40,
    (1 << 62),
    (1 << 63) - 1,
    -(1 << 63),
]
_TEXTS = [
    "tanh",
    "none",
    "floor",
    "reflect",
    "same",
    "sum",
    "bij,bjk->bik",
    "a->aaaa",
    "/etc/hostname",
    "../x",
    "",
    "%n",
]
_FOREIGN = [
    "from_file.default",
    "_reshape_alias.default",
    "set_.source_Storage",
    "resize_.default",
    "rand.default",
    "randn.default",
    "normal_.default",
    "bernoulli.p",
    "randperm.default",
    "multinomial.default",
    "_print.default",
    "save.default",
    "set_data.default",
    "copy_.out",
    "add.out",
    "as_strided_.default",
    "quantize_per_tensor.default",
    "_foobar.default",
    "to_sparse.default",
    "_cuda_getCurrentRawStream",
    "record_stream.default",
    "_sparse_coo_tensor_unsafe.default",
    "empty.names",
    "_resize_output_.default",
    "dropout.default",
]


def _nodes(program: dict[str, Any]) -> list[dict[str, Any]]:
    return program["graph_module"]["graph"]["nodes"]


def change_operator(r: random.Random, program: dict[str, Any], weights: dict[str, Any]) -> None:
    names = [n["target"].removeprefix("torch.ops.aten.") for n in _nodes(wide_program())]
    chosen = r.choice(names + _FOREIGN) if r.random() < 0.6 else f"{r.choice(_all_names())}.{r.choice(_OVERLOADS)}"
    r.choice(_nodes(program))["target"] = f"torch.ops.aten.{chosen}"


_OVERLOADS = ["default", "Tensor", "Scalar", "int", "dim", "self", "out"]


def _all_names() -> list[str]:
    return sorted(name for name in dir(torch.ops.aten) if not name.startswith("__"))


def _arguments(r: random.Random, program: dict[str, Any]) -> dict[str, Any]:
    candidates = [given for n in _nodes(program) for given in n["inputs"]]
    return r.choice(candidates)


def change_number(r: random.Random, program: dict[str, Any], weights: dict[str, Any]) -> None:
    for _ in range(r.randint(1, 3)):
        given = _arguments(r, program)["arg"]
        for form in list(given):
            if form == "as_int":
                given[form] = r.choice(_SIZES)
            elif form == "as_ints":
                given[form] = [r.choice(_SIZES) if r.random() < 0.5 else x for x in given[form]][: r.randint(0, 4)]
            elif form == "as_float":
                given[form] = r.choice([0.0, -1.0, 1e300, float("inf"), float("nan"), "NaN", "1e5"])
            elif form == "as_bool":
                given[form] = not given[form]
            elif form == "as_scalar_type":
                given[form] = r.randint(-1, 40)


def change_text(r: random.Random, program: dict[str, Any], weights: dict[str, Any]) -> None:
    given = [n for n in _nodes(program) for n in n["inputs"] if "as_string" in n["arg"]]
    r.choice(given)["arg"]["as_string"] = r.choice(_TEXTS)


def change_edge(r: random.Random, program: dict[str, Any], weights: dict[str, Any]) -> None:
    names = [output["as_tensor"]["name"] for n in _nodes(program) for output in n["outputs"] if "as_tensor" in output]
    given = [n for n in _nodes(program) for n in n["inputs"] if "as_tensor" in n["arg"]]
    r.choice(given)["arg"]["as_tensor"]["name"] = r.choice([*names, "xt", "t", "table", "head", "nobody"])


def change_weight(r: random.Random, program: dict[str, Any], weights: dict[str, Any]) -> None:
    about = r.choice(list(weights.values()))["tensor_meta"]
    where = r.choice([about["storage_offset"], *about["sizes"], *about["strides"]])
    where["as_int"] = r.choice(_SIZES)


def change_signature(r: random.Random, program: dict[str, Any], weights: dict[str, Any]) -> None:
    signature = program["graph_module"]["signature"]
    kind = r.choice(
        ["user_input_mutation", "buffer_mutation", "token", "loss_output", "parameter_mutation", "custom_obj"]
    )
    specs = r.choice([signature["input_specs"], signature["output_specs"]])
    place = r.randrange(len(specs))
    ((_, content),) = specs[place].items()
    specs[place] = {kind: {**content, "buffer_name": "b"}}


def change_structure(r: random.Random, program: dict[str, Any], weights: dict[str, Any]) -> None:
    """Drop, repeat, or replace some part of the JSON."""
    part: Any = program
    for _ in range(r.randint(1, 9)):
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            return
        key = r.choice(keys)
        if isinstance(part[key], dict | list) and r.random() < 0.85:
            part = part[key]
        elif r.random() < 0.4:
            del part[key]
            return
        else:
            part[key] = r.choice([None, 0, -1, "x", [], {}, [part[key]], {"as_graph": {}}, 1e400, True])
            return


_CHANGES: list[Change] = [
    change_operator, change_number, change_number, change_text, change_edge, change_weight, change_signature,
    change_structure,
]  # fmt: skip


def variant(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A program and a table of weights with one to three changes."""
    r = random.Random(seed)
    program, weights = wide_program() if r.random() < 0.8 else small_program(), small_weights()
    for _ in range(r.randint(1, 3)):
        try:
            r.choice(_CHANGES)(r, program, weights)
        except (LookupError, TypeError, AttributeError, KeyError):
            continue  # an earlier change took away what this one changes
    return program, weights


def run_variants(folder: Path, first: int, count: int) -> None:
    """In a process of its own: each variant scores something or is refused; prints how many did."""
    loaded = 0
    for seed in range(first, first + count):
        program, weights = variant(seed)
        print(seed, flush=True)
        path = write_program(folder / "x.pt2", program, weights=weights)
        try:
            model = load_model(path, **_CPU)[1].model
            assert isinstance(model, Denoiser)
            with _OnTheList():
                model.logits(torch.arange(6).view(2, 3), _LEVEL.level(torch.tensor([0.2, 0.7])))
            loaded += 1
        except HarnessError:
            continue
    print("loaded", loaded)


_PROGRAM = """
import sys, builtins, os
from pathlib import Path
import torch
from tests.adversarial.test_exported_programs import run_variants
torch.ones(1, device="meta") + 1
os.chdir(sys.argv[1])
def hook(event, args):
    # What torch opens itself goes past this, and is looked for afterwards.
    if event in ("os.system", "subprocess.Popen", "os.remove", "socket.connect"):
        os._exit(77)
sys.addaudithook(hook)
run_variants(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
"""


@pytest.mark.parametrize("process", range(_NUM_PROCESSES))
def test_programs_changed_at_random_end_in_an_answer_or_one_line(tmp_path: Path, process: int) -> None:
    each = _NUM_VARIANTS // _NUM_PROCESSES
    ran = run_program(_PROGRAM, tmp_path, process * each, each)
    assert ran.returncode == 0, (ran.stdout.split()[-1:], ran.stderr[-2000:])
    loaded = int(ran.stdout.split()[-1])
    assert loaded > each // 20  # changes that leave a sound program are run, not only refused
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.json", "x.pt2"]


# Kinds by name


def refused(tmp_path: Path, program: dict[str, Any] | None = None, **parts: Any) -> str:
    with pytest.raises(HarnessError) as caught:
        load_model(write_program(tmp_path / "x.pt2", program, **parts), **_CPU)
    return str(caught.value)


def with_node(*extra: dict[str, Any], at: int = 2) -> dict[str, Any]:
    program = small_program()
    _nodes(program)[at:at] = extra
    return program


def answer(path: Path) -> torch.Tensor:
    model = load_model(path, **_CPU)[1].model
    assert isinstance(model, Denoiser)
    return model.logits(torch.arange(6).view(2, 3), _LEVEL.level(torch.tensor([0.2, 0.7])))


def test_the_small_program_computes_what_it_says(tmp_path: Path) -> None:
    path = write_program(tmp_path / "x.pt2")
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(VOCAB_SIZE + 1, WIDTH, generator=generator)
    head = torch.randn(VOCAB_SIZE, WIDTH, generator=generator)
    h = table[torch.arange(6).view(2, 3)]
    expected = torch.nn.functional.gelu(h + h.mean(1, keepdim=True), approximate="tanh") @ head.T
    torch.testing.assert_close(answer(path), expected)


def test_a_program_of_many_operators_is_run(tmp_path: Path) -> None:
    """What is changed at random is sound before."""
    path = write_program(tmp_path / "x.pt2", wide_program())
    torch.testing.assert_close(answer(path), answer(write_program(tmp_path / "y.pt2")))


def test_every_listed_name_is_an_operator_that_computes(repository: Path) -> None:
    from bpb_harness.adapters.exported.operators import _NAMES

    names = [name for name in _NAMES if hasattr(torch.ops.aten, name)]
    assert len(names) > 400
    for name in names:
        found = [find_operator(name, overload) for overload in getattr(torch.ops.aten, name).overloads()]
        assert any(found), name
        for operator in filter(None, found):
            assert not any(argument.is_out for argument in operator._schema.arguments), operator
            if torch.Tag.nondeterministic_seeded in operator.tags:
                assert "dropout" in name or "attention" in name, operator
    for name in (word.split(".") for word in _FOREIGN):
        if name[0] != "dropout" and len(name) == 2:
            assert find_operator(*name) is None, name


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (
            node("rand.default", "f", size={"as_ints": [2]}),
            "not on the list of tensor operators: got 'torch.ops.aten.rand",
        ),
        (node("custom.default", "f"), "not on the list"),
        (
            node("dropout.default", "f", input=tensor("h"), p={"as_float": 0.1}, train={"as_bool": True}),
            "expected False",
        ),
        (node("gelu.default", "f", self=tensor("h"), approximate={"as_string": "x"}), "got 'x', expected none or tanh"),
        (
            node("einsum.default", "f", equation={"as_string": "a;b"}, tensors={"as_tensors": []}),
            "an equation of letters",
        ),
        (node("fill_.Scalar", "f", self=tensor("table"), value={"as_int": 0}), "changes its parameter 'model.table'"),
        (node("gelu.default", "f", self=tensor("nobody")), "got {'name': 'nobody'}, expected a value of type Tensor"),
        (node("gelu.default", "h", self=tensor("h")), "a name that is given twice: got 'h'"),
        (node("gelu.default", "f"), "argument self of aten.gelu is missing"),
        (node("gelu.default", "f", self=tensor("h"), other=tensor("h")), "arguments of aten.gelu"),
        (node("relu.default", "f", self={"as_graph": {"name": "g", "graph": {}}}), "an argument of kind as_graph"),
        (node("relu.default", "f", self={"as_tensor": {"name": "h"}, "as_int": 1}), "an object with one key"),
        (node("_to_copy.default", "f", self=tensor("h"), dtype={"as_int": 7}), "kind as_int: got 7"),
        (node("_to_copy.default", "f", self=tensor("h"), dtype={"as_scalar_type": 99}), "as_scalar_type: got 99"),
        (node("_to_copy.default", "f", self=tensor("h"), layout={"as_layout": 1}), "as_layout: got 1"),
        (node("full.default", "f", size={"as_ints": [1 << 20, 1 << 20]}, fill_value={"as_int": 0}), "more memory than"),
        (
            node("repeat.default", "f", self=tensor("h"), repeats={"as_ints": [10**9, 99, 1]}),
            "more memory than there is",
        ),
    ],
)
def test_nodes_that_are_refused(tmp_path: Path, extra: dict[str, Any], words: str) -> None:
    assert words in refused(tmp_path, with_node(extra))


def test_operators_that_write_into_an_argument_are_on_no_list() -> None:
    assert is_listed("add", "Tensor")
    assert not is_listed("add", "out")
    assert not is_listed("sum", "IntList_out")
    assert not is_listed("from_file", "default")


def test_views_and_results_in_place_are_told_from_weights(tmp_path: Path) -> None:
    """A view of a weight is the weight; a copy of it is nobody's."""
    view = node("view.default", "v", self=tensor("table"), size={"as_ints": [-1]})
    same = node("dropout.default", "v", input=tensor("table"), p={"as_float": 0.5}, train={"as_bool": False})
    fill = node("zero_.default", "z", self=tensor("v"))
    for first in (view, same):
        assert "zero_ changes its parameter 'model.table'" in refused(tmp_path, with_node(first, fill))
    copy = node("clone.default", "v", self=tensor("table"))
    assert answer(write_program(tmp_path / "y.pt2", with_node(copy, fill))).shape == (2, 3, VOCAB_SIZE)


@pytest.mark.parametrize("kind", ["user_input_mutation", "buffer_mutation", "parameter_mutation", "token"])
def test_a_signature_that_changes_something_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    program = small_program()
    changes = {kind: {"arg": {"name": "h"}, "buffer_name": "cache"}}
    program["graph_module"]["signature"]["output_specs"].insert(0, changes)
    assert f"its signature has an output of kind {kind} cache" in refused(tmp_path, program)


def test_unknown_keys_are_refused_wherever_they_stand(tmp_path: Path) -> None:
    for place in (
        lambda p: p,
        lambda p: p["graph_module"],
        lambda p: p["graph_module"]["graph"],
        lambda p: p["graph_module"]["signature"],
        lambda p: _nodes(p)[1],
        lambda p: _nodes(p)[1]["inputs"][0],
    ):
        program = small_program()
        place(program)["extra"] = 1
        assert "has a key that is not known: got 'extra'" in refused(tmp_path, program)
    twice = json.dumps(small_program()).replace('"nodes":', '"nodes": [], "nodes":')
    assert "the key 'nodes' is there twice, with two values" in refused(tmp_path, twice)


def test_empty_tensors_hold_zeros_and_not_what_lay_there(tmp_path: Path) -> None:
    junk = [torch.full((1 << 12,), 7.0) for _ in range(8)]
    del junk
    empty = node("empty.memory_format", "em", size={"as_ints": [2, 3, VOCAB_SIZE]})
    path = write_program(
        tmp_path / "x.pt2",
        with_node(empty, node("add.Tensor", "last", self=tensor("logits"), other=tensor("em")), at=99),
    )
    program = json.loads(__import__("zipfile").ZipFile(path).read("m/models/model.json"))
    for part in (
        program["graph_module"]["graph"]["outputs"][0],
        program["graph_module"]["signature"]["output_specs"][0]["user_output"]["arg"],
    ):
        part["as_tensor"]["name"] = "last"
    torch.testing.assert_close(
        answer(write_program(tmp_path / "y.pt2", program)), answer(write_program(tmp_path / "z.pt2"))
    )


def test_sizes_that_a_program_was_not_made_for_are_refused(tmp_path: Path) -> None:
    for change, words in (
        (lambda p: p["range_constraints"]["s1"].update(max_val=2), "expected a size in 1 .. 2"),
        (
            lambda p: p["graph_module"]["graph"]["tensor_values"].update(xt=meta([4, "s1"], 5)),
            "size 4 of xt in dimension 0",
        ),
        (lambda p: p.update(guards_code=["L['xt'].size()[1] % 2 == 0"]), "L['xt'].size()[1] % 2 == 0"),
        (lambda p: p["graph_module"]["graph"]["tensor_values"].update(t=meta(["s0", 1], 8)), "t with 2 dimensions"),
    ):
        program = small_program()
        change(program)
        with pytest.raises(HarnessError) as caught:
            answer(write_program(tmp_path / "x.pt2", program))
        assert words in str(caught.value)
    for condition in (
        "__import__('os')",
        "L['xt'].size()[9] == 1",
        "L['nobody'].size()[0] == 1",
        "1 if 1 else 2",
        "(" * 999,
        5,
    ):
        program = small_program() | {"guards_code": [condition]}
        assert "a condition on sizes that is no arithmetic" in refused(tmp_path, program)
    for condition in ("2 <= L['xt'].size()[1] and not L['xt'].size()[0] > 9", "max(L['xt'].size()[1], 2) * 2 - 1 < 99"):
        answer(write_program(tmp_path / "x.pt2", small_program() | {"guards_code": [condition]}))


def test_weights_lie_inside_their_records_by_their_types_size(tmp_path: Path) -> None:
    for change in (
        lambda m: m.update(dtype=8),  # as many elements, of twice the bytes
        lambda m: m["storage_offset"].update(as_int=1),
        lambda m: m["strides"][0].update(as_int=WIDTH + 1),
        lambda m: m["sizes"][0].update(as_int=VOCAB_SIZE + 2),
    ):
        weights = small_weights()
        change(weights["model.table"]["tensor_meta"])
        assert "'model.table' of shape" in refused(tmp_path, weights=weights)
    for change in (
        lambda m: m.update(dtype=99),
        lambda m: m.update(layout=1),
        lambda m: m["storage_offset"].update(as_int=-1),
        lambda m: m["strides"][0].update(as_int=-1),
        lambda m: m["sizes"].pop(),
        lambda m: m["sizes"][0].update(as_int=True),
    ):
        weights = small_weights()
        change(weights["model.table"]["tensor_meta"])
        assert "'model.table'" in refused(tmp_path, weights=weights)


def test_what_stands_beside_must_be_known(tmp_path: Path) -> None:
    assert "a key that is not known: got mask" in refused(tmp_path, description={**DESCRIPTION, "mask": 1})
    assert DESCRIPTION["context_length"] == CONTEXT_LENGTH
