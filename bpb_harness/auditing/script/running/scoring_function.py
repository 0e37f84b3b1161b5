"""The functions of a script that score text, each with all that it takes to call it alone.

A scoring function is called as its script calls it. Its arguments are made by the script's own expressions, followed
back through the callers, but for what stands for the world: text, network, device, ranks and tokenizer are handed over.
"""

from __future__ import annotations
import __future__

import ast
import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import CodeType

from bpb_harness.auditing.script.frontend.program import Program
from bpb_harness.auditing.script.frontend.scopes import Definition, Scope, Script, last_name
from bpb_harness.auditing.script.running.lifted_loops import LIFTED, lift_loops
from bpb_harness.auditing.script.running.lifted_tables import lift_tables
from bpb_harness.auditing.script.running.neighbours import Followed, Neighbours
from bpb_harness.auditing.script.running.network_core import weightless_classes, without_networks

PROCESSOR, DEVICE, ORACLE, REPEAT, TEXT = "__processor__", "__device__", "__oracle__", "__repeat__", "__text__"
"""What the limited process puts into the namespace: tokenizer, device, network, number of the repeat, and text."""

_MAX_FUNCTIONS = 4  # functions of one submission
_DEEPEST = 6  # callers of callers that arguments are followed back through
_SCORES = re.compile(r"eval|elbo|bits|nll|bpb|score|likelihood|pll|bound|loss_on|perplex|metrics|^add$", re.IGNORECASE)
_NO_SCORES = re.compile(r"train|ttt|sample|generat|main|^log|plot|load|save|quant|parse|step$|probe|calib|count")
_MODEL = re.compile(r"model|^net$|network|denois|diffus|compiled", re.IGNORECASE)
_FLAT = re.compile(r"^(val|valid|validation|eval|test)(_?(tokens|data|ids|np))?$|^(vt|tokens_val)$")
_WINDOWS = re.compile(r"^(x|x0|x_0|ids|clean|clean_ids|tokens|token_ids|input_ids|batch|seqs?|sequences|windows)$")
_WORDS = re.compile(r"^(text|doc|document|said|raw_text|string)$")
_WORLD = (
    (re.compile(r"^(rank|local_rank|rk)$"), ast.Constant(0)),
    (re.compile(r"^(world_size|ws|world|num_gpus|_?grad_accum(_steps)?|gas|ga)$"), ast.Constant(1)),
    (re.compile(r"^(distributed|ddp|is_ddp|use_compile)$"), ast.Constant(False)),
    (re.compile(r"^(master_process|is_main|is_master)$"), ast.Constant(True)),
    (re.compile(r"^(device|dev)$"), ast.Name(DEVICE, ast.Load())),
    (re.compile(r"^(log|log0|log_fn|print_fn|logger)$"), ast.Constant(None)),
)
_COUNTS = re.compile(r"steps|samples|strata|passes|^k$|^t$", re.IGNORECASE)
_CHOSEN_COUNT = 16
_TOKENIZERS = frozenset(["SentencePieceProcessor"])
_LOADS_TEXT = re.compile(r"^load_(val|validation)(_(tokens|data|split))?$")
_LOADED = frozenset(["load_model", "from_pretrained", "load_checkpoint"])
_DECORATORS = frozenset([
    "no_grad", "inference_mode", "dataclass", "property", "staticmethod", "classmethod", "cached_property",
    "contextmanager", "lru_cache", "cache",
])  # fmt: skip
_SEEDED = frozenset(["manual_seed", "default_rng", "seed", "RandomState", "SeedSequence"])


@dataclass(frozen=True)
class Parameter:
    """What is handed over for one parameter.

    Attributes:
        name: the parameter.
        kind: text as one run of tokens ("flat"), as "windows", as "words", in an attribute of the value of `variable`
            ("holder"); "model"; "made", the value of `variable`; "default", nothing.
        variable: the name under which the prelude leaves it.
        is_optional: whether it has a default.
    """

    name: str
    kind: str
    variable: str = ""
    is_optional: bool = False


@dataclass(frozen=True)
class ScoringFunction:
    """A function that can be called alone.

    Attributes:
        name: its name, `Class.name` for a method.
        owner: the class, for a method.
        script: the file that it comes from.
        line: where it stands.
        parameters: what is handed over, in order, without self.
        instance: where the prelude leaves the instance of a method.
        prelude: statements that make the arguments, to be run one after the other.
        definitions: what the module must hold, in the order of the files.
        network_classes: classes whose network was replaced.
        is_numpy: whether its text is an array of numpy.
        is_reported: whether the script prints what it returns: a loop that was lifted out of its main.
    """

    name: str
    owner: str | None
    script: str
    line: int
    parameters: tuple[Parameter, ...]
    instance: str
    prelude: tuple[CodeType, ...]
    definitions: tuple[CodeType, ...]
    network_classes: tuple[str, ...]
    is_numpy: bool
    is_reported: bool = False


def find_scoring_functions(
    scripts: Sequence[Script],
    on_path: set[str],
    settings: Mapping[str, str] | None = None,
    flags: Mapping[tuple[str, str], str] | None = None,
) -> tuple[list[ScoringFunction], list[tuple[str, str]]]:
    """The functions that look like scores and can be cut out, and why others cannot.

    Args:
        scripts: the parsed files; they are not changed.
        on_path: names of the functions that the reported score comes from.
        settings: what the environment of the run is known to have held.
        flags: what its command line is known to have held, by script and flag.
    """
    copies = [Script(script.path, script.text, copy.deepcopy(script.tree)) for script in scripts]
    lift_tables(copies)
    called = {scope.name for scope in _candidates(Program(copies), on_path)}
    lifted = set(lift_loops(copies, called, _is_handed))
    program = Program(copies, settings, flags)
    of_main = [scope for scope in program.scopes if scope.name in lifted]
    found: list[ScoringFunction] = []
    reasons: list[tuple[str, str]] = []
    candidates = _candidates(program, on_path)
    first = candidates[: _MAX_FUNCTIONS - min(len(of_main), 1)]  # loops of main are slow
    for scope in [*first, *of_main][:_MAX_FUNCTIONS]:
        try:
            found.append(replace(_Cut(program, scope).out(), is_reported=scope.name in lifted))
        except _UnboundError as problem:
            reasons.append((scope.name, str(problem)))
    if not found and not reasons:
        reasons.append(("the score", _NOWHERE))
    return found, reasons


def _is_handed(name: str) -> bool:
    return any(pattern.search(name) is not None for pattern in (_FLAT, _MODEL))


_NOWHERE = (
    "no function takes a text and asks a network, and no loop of main adds up what it prints; a function such as "
    "evaluate(model, val_tokens) that returns the score can be run"
)


class _UnboundError(Exception):
    """The function needs what cannot be given to it; the message says what."""


def _candidates(program: Program, on_path: set[str]) -> list[Scope]:
    """Functions that take text and ask a network, those on the path of the score first, the outermost first."""
    found = []
    for scope in program.scopes:
        node = scope.node
        if scope.name.startswith(LIFTED):
            continue
        if not isinstance(node, ast.FunctionDef) or not _SCORES.search(scope.name) or _NO_SCORES.search(scope.name):
            continue
        if not _is_outermost(scope) or not any(_FLAT.search(p) or _WINDOWS.search(p) for p in scope.parameters):
            continue
        if not _asks_network(program, scope, node):
            continue
        found.append(scope)
    return sorted(found, key=lambda scope: (scope.name not in on_path, scope.owner is not None))


def _is_outermost(scope: Scope) -> bool:
    return scope.parent is not None and isinstance(scope.parent.node, ast.Module)


def _asks_network(program: Program, scope: Scope, node: ast.FunctionDef) -> bool:
    if any(_MODEL.search(parameter) for parameter in scope.parameters):
        return True
    inside = set(scope.definitions)
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            name = last_name(part.func)
            if name in ("cross_entropy", "log_softmax", "logsumexp"):
                return True
            if _MODEL.search(name) and name not in inside and name not in program.functions:
                return True
            if scope.owner is not None and name in ("subs_log_probs", "forward_logits", "backbone_logits", "logits"):
                return True
    return False


@dataclass
class _Cut:
    """Cuts one function out of its program."""

    program: Program
    scope: Scope
    prelude: list[tuple[ast.stmt, int]] = field(default_factory=list)  # each with the file that its names are of
    made: dict[tuple[int, str], ast.expr] = field(default_factory=dict)
    networks: list[str] = field(default_factory=list)

    def out(self) -> ScoringFunction:
        node = self.scope.node
        assert isinstance(node, ast.FunctionDef)
        call = self._call()
        given = dict(self.program.bind(self.scope, call)) if call is not None else {}
        is_method = self.scope.is_method
        parameters = [
            self._parameter(name, given.get(name), call)
            for name in self.scope.parameters[1 if is_method else 0 :]
        ]  # fmt: skip
        instance = self._instance() if is_method else ""
        definitions = self._definitions([self.scope.owner or self.scope.name])
        script = self.program.scripts[self.scope.file]
        return ScoringFunction(
            name=f"{self.scope.owner}.{self.scope.name}" if self.scope.owner else self.scope.name,
            owner=self.scope.owner,
            script=script.path,
            line=node.lineno,
            parameters=tuple(parameters),
            instance=instance,
            prelude=tuple(_compiled(statement, "the call") for statement, _ in self.prelude),
            definitions=definitions,
            network_classes=tuple(self.networks),
            is_numpy=_is_numpy(node, [p.name for p in parameters if p.kind in ("flat", "windows")]),
        )

    # -- arguments --------------------------------------------------------------------------------

    def _call(self) -> ast.Call | None:
        """The last call in the program: after training, not during it."""
        calls = [
            call
            for call in self.program.calls.get(self.scope.name, [])
            if self.program.scope(call) is not self.scope and self.program.bind(self.scope, call)
        ]
        return max(calls, key=lambda call: call.lineno) if calls else None

    def _parameter(self, name: str, argument: ast.expr | None, call: ast.Call | None) -> Parameter:
        if _FLAT.search(name) and not _holds_text(self.scope.node, name):
            return Parameter(name, "flat")
        if _WINDOWS.search(name):
            return Parameter(name, "windows")
        if _WORDS.search(name):
            return Parameter(name, "words")
        default = next((d.value for d in self.scope.definitions.get(name, []) if d.kind == "parameter"), None)
        variable = f"__argument_{name}__"
        try:
            world = _of_the_world(name)
            if world is not None:
                value = world
            elif argument is not None and call is not None:
                value = self._expression(argument, self.program.scope(call), call.lineno, 0)
            elif default is not None:
                return Parameter(name, "default")
            else:
                raise _UnboundError(f"no call of the script says what its {name} is")
        except _UnboundError:
            if _MODEL.search(name):
                return Parameter(name, "model")
            if default is not None:
                return Parameter(name, "default")
            if not _COUNTS.search(name):
                raise
            value = ast.Constant(_CHOSEN_COUNT)
        self.prelude.append(
            (_assigned(variable, value), (self.scope if call is None else self.program.scope(call)).file)
        )
        if _FLAT.search(name):
            return Parameter(name, "holder", variable)
        return Parameter(name, "model" if _MODEL.search(name) else "made", variable, default is not None)

    def _instance(self) -> str:
        """The instance that a method is called on, as the script makes it."""
        owner = self.scope.owner
        assert owner is not None
        makers = [call for call in self.program.calls.get(owner, []) if self.program.scope(call).owner != owner]
        for call in sorted(makers, key=lambda call: -call.lineno):
            before = len(self.prelude)
            try:
                value = self._expression(call, self.program.scope(call), call.lineno, 0)
            except _UnboundError:
                del self.prelude[before:]
                continue
            self.prelude.append((_assigned("__instance__", value), self.program.scope(call).file))
            break
        return "__instance__"

    def _expression(self, node: ast.expr, scope: Scope, line: int, depth: int) -> ast.expr:
        """The expression with every name that a function gave a value replaced by where the prelude leaves it."""
        if depth > _DEEPEST:
            raise _UnboundError("its arguments come from too far away")
        if isinstance(node, ast.Call):
            if last_name(node.func) in _TOKENIZERS:
                return ast.Name(PROCESSOR, ast.Load())
            if _loads_network(node):
                return ast.Name(ORACLE, ast.Load())
            if last_name(node.func) in ("compile", "DDP", "DistributedDataParallel") and node.args:
                return self._expression(node.args[0], scope, line, depth)
        renamed: ast.expr = _Renamed(self, scope, line, depth).visit(copy.deepcopy(node))
        return renamed

    def variable(self, scope: Scope, name: str, line: int, depth: int) -> ast.expr | None:
        """Where the prelude leaves the value of a function's name; None for a name of the module."""
        world = _of_the_world(name)
        if world is not None:
            return world
        if isinstance(scope.node, ast.Module):
            return None
        everything = scope.definitions.get(name, [])
        definitions = [d for d in everything if d.kind in ("assign", "loop", "parameter")]
        if not definitions:
            return self.variable(scope.parent, name, line, depth) if scope.parent is not None else None
        if len(everything) > len(definitions):  # x[i] = v, x += v, x.append(v): more than its assignment makes it
            raise _UnboundError(f"{name} is changed after it is made")
        key = (id(scope.node), name)
        if key not in self.made:
            self.made[key] = self._made(scope, name, definitions, line, depth)
        return self.made[key]

    def _made(self, scope: Scope, name: str, definitions: list[Definition], line: int, depth: int) -> ast.expr:
        if depth > _DEEPEST:
            raise _UnboundError("its arguments come from too far away")
        assigned = [d for d in definitions if d.kind == "assign" and d.value is not None]
        before = [d for d in assigned if _line(d) < line] or assigned
        if before:
            definition = max(before, key=_line)
            assert definition.value is not None
            value = self._expression(definition.value, scope, _line(definition), depth + 1)
            if not definition.index and isinstance(value, ast.Name | ast.Constant):
                return value
            variable = f"__made_{len(self.made)}_{name}__"
            # The value of an unpacking is made once, and its elements are taken from it.
            whole = self.made.get((id(definition.statement), "")) if definition.index else None
            if whole is None:
                self.prelude.append((_assigned(variable, value), scope.file))
                whole = ast.Name(variable, ast.Load())
                if definition.index:
                    self.made[id(definition.statement), ""] = whole
            for position in definition.index:
                whole = ast.Subscript(whole, ast.Constant(position), ast.Load())
            return whole
        if any(d.kind == "loop" for d in definitions):
            raise _UnboundError(f"{name} is a loop's")
        return self._handed(scope, name, definitions, depth)

    def _handed(self, scope: Scope, name: str, definitions: list[Definition], depth: int) -> ast.expr:
        called = scope.owner if scope.name == "__init__" and scope.owner is not None else scope.name
        for call in self.program.calls.get(called, []):
            if self.program.scope(call) is scope:
                continue
            argument = self.program.bind(scope, call).get(name)
            if argument is not None:
                return self._expression(argument, self.program.scope(call), call.lineno, depth + 1)
        default = next((d.value for d in definitions if d.kind == "parameter" and d.value is not None), None)
        default = default or self.program.options.get(name)
        if default is not None:
            return copy.deepcopy(default)
        if _COUNTS.search(name):
            return ast.Constant(_CHOSEN_COUNT)
        raise _UnboundError(f"no call of the script says what {name} is")

    # -- definitions ------------------------------------------------------------------------------

    def _definitions(self, start: list[str]) -> tuple[CodeType, ...]:
        """The statements of the modules that the function and its arguments need, names followed to the end."""
        neighbours = Neighbours(self.program.scripts)
        wanted = [Followed(name, self.scope.file) for name in start]
        for statement, file in self.prelude:
            wanted += neighbours.named_in(statement, file)
        chosen, clash = neighbours.followed(wanted)
        if clash is not None:
            raise _UnboundError(clash)
        classes = [node for script in self.program.scripts for node in ast.walk(script.tree)
                   if isinstance(node, ast.ClassDef)]  # fmt: skip
        weightless = weightless_classes(classes)
        return tuple(
            _compiled(self._prepared(statement, weightless), self.program.scripts[file].path)
            for statement, file in chosen
        )

    def _prepared(self, statement: ast.stmt, weightless: set[str]) -> ast.stmt:
        """Without decorators that compile, without networks, with seeds that change from repeat to repeat."""
        copied = copy.deepcopy(statement)
        for part in ast.walk(copied):
            if isinstance(part, ast.FunctionDef | ast.ClassDef):
                part.decorator_list = [one for one in part.decorator_list if _decorator(one) in _DECORATORS]
            if isinstance(part, ast.ClassDef):
                before = ast.dump(part)
                without_networks(part, weightless)
                if ast.dump(part) != before:
                    self.networks.append(part.name)
        if isinstance(copied, ast.Assign) and isinstance(copied.value, ast.Call):
            if last_name(copied.value.func) in _TOKENIZERS:
                copied.value = ast.copy_location(ast.Name(PROCESSOR, ast.Load()), copied.value)
            elif any(_loads_network(part) for part in ast.walk(copied.value)):
                copied.value = ast.copy_location(ast.Name(ORACLE, ast.Load()), copied.value)
        prepared: ast.stmt = _Reseeded().visit(copied)
        return prepared


class _Renamed(ast.NodeTransformer):
    def __init__(self, cut: _Cut, scope: Scope, line: int, depth: int) -> None:
        self.cut, self.scope, self.line, self.depth = cut, scope, line, depth

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if not isinstance(node.ctx, ast.Load):
            return node
        found = self.cut.variable(self.scope, node.id, self.line, self.depth)
        return node if found is None else copy.deepcopy(found)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if last_name(node.func) in _TOKENIZERS:
            return ast.Name(PROCESSOR, ast.Load())
        if _loads_network(node):
            return ast.Name(ORACLE, ast.Load())
        self.generic_visit(node)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        return node


class _Reseeded(ast.NodeTransformer):
    """What would make all repeats one draw, a seed that the script fixes, gets the number of the repeat added.

    Where the script loads the validation text, or a network, it gets ours.
    """

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if _loads_network(node):
            return ast.copy_location(ast.Name(ORACLE, ast.Load()), node)
        if _LOADS_TEXT.search(last_name(node.func)):
            return ast.copy_location(ast.Name(TEXT, ast.Load()), node)
        if last_name(node.func) in _SEEDED and len(node.args) == 1 and not isinstance(node.args[0], ast.List):
            repeat = ast.Subscript(ast.Name(REPEAT, ast.Load()), ast.Constant(0), ast.Load())
            node.args[0] = ast.copy_location(ast.BinOp(node.args[0], ast.Add(), repeat), node)
        return node


def _holds_text(node: ast.AST, name: str) -> bool:
    """Whether a function reads the text from an attribute of a parameter: val_data.val_tokens."""
    return any(
        isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Name)
        and part.value.id == name
        and _FLAT.search(part.attr) is not None
        for part in ast.walk(node)
    )


def _of_the_world(name: str) -> ast.expr | None:
    return next((value for pattern, value in _WORLD if pattern.search(name)), None)


def _loads_network(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = last_name(node.func)
    above = node.func.value if isinstance(node.func, ast.Attribute) else None
    return name in _LOADED or (name == "load" and above is not None and last_name(above) == "jit")


def _assigned(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _compiled(statement: ast.stmt, path: str) -> CodeType:
    """One statement, compiled as in a module whose annotations are never evaluated."""
    module = ast.Module([statement], [])
    for part in ast.walk(module):
        if isinstance(part, ast.stmt | ast.expr) and not hasattr(part, "lineno"):
            part.lineno = part.end_lineno = getattr(statement, "lineno", 1)
            part.col_offset = part.end_col_offset = 0
    ast.fix_missing_locations(module)
    flags = __future__.annotations.compiler_flag
    code: CodeType = compile(module, path, "exec", flags=flags, dont_inherit=True)
    return code


def _decorator(node: ast.expr) -> str:
    return last_name(node.func if isinstance(node, ast.Call) else node)


def _line(definition: Definition) -> int:
    return int(getattr(definition.statement, "lineno", 0))


def _is_numpy(node: ast.FunctionDef, texts: list[str]) -> bool:
    """Whether the text is used as an array: x.astype(..), torch.from_numpy(x[..])."""
    return any(
        isinstance(part, ast.Call)
        and last_name(part.func) in ("astype", "from_numpy")
        and any(isinstance(inner, ast.Name) and inner.id in texts for inner in ast.walk(part))
        for part in ast.walk(node)
    )
