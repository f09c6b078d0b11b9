"""Writes docs/messages.md: every message of a connection's stages, with what to do about it, as the code has them.

``python -m scripts.message_reference`` brings the page up to date. A test compares the two, and refuses an error that
has no remedy. The modules are imported, so that a name stands for what it is in its own module; only where errors are
made is read from the source. What is only known at run time is an ellipsis, and a remedy that a function looks up is a
reference to a table, which is printed from the very tables that the function looks into.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from airflow_imap_provider import __version__
from airflow_imap_provider.transport import remedies
from airflow_imap_provider.transport.sasl import SaslError
from scripts.message_tables import (
    ENDED,
    ENOUGH,
    NO_ANSWER,
    NO_LOGIN,
    NO_TOKEN_GIVEN,
    REFUSED,
    UNKNOWN,
    see,
    tables,
)

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "airflow_imap_provider"
PAGE = ROOT / "docs" / "messages.md"

MAX_DEPTH = 6
"""Callers of callers that are asked what a parameter is."""
ANY = "any"
STAGES = [
    "settings", "token", "dns", "proxy", "tcp", "tls", "greeting", "starttls", "capabilities", "authentication",
    "folder", "idle",
]  # fmt: skip

INTRODUCTION = """# Messages

What errors of a connection say, by stage, and what to do; `…` stands for a name, a value or a code.
The Test button shows stage, message and remedy in one line, its log and `airflow imap4 test CONN_ID` the whole report.
Stage *any*: wherever it happens, the message names it. This page is written by
`python -m scripts.message_reference` from the code.
"""

LOOKED_UP = {
    "silence_remedy": NO_ANSWER,
    "loss_remedy": ENDED,
    "limit.remedy": ENOUGH,
    "_remedy": NO_LOGIN,
    "refusal_remedy": NO_TOKEN_GIVEN,
    "REFUSED": REFUSED,
}
PASSED_ON = ("exc", "error", "refusal")
"""Names of an error that is raised again, in other words: its remedy is that of its first message."""
MADE_OF_THE_VALUE = {
    "_meant": "Remove it, or name a field by its key. A similar field is suggested.",
    "no_mechanism_remedy": remedies.no_mechanism_remedy(frozenset({"LOGINDISABLED"}), encrypted=False),
    "_fill_in": "Fill in the field that is named, or choose another Method (auth_method).",
}


@dataclass(frozen=True)
class Message:
    """One message; ``place`` is file and line, for who has to mend it."""

    place: str
    stage: str
    problem: str
    remedy: str


Bound = Mapping[str, tuple[ast.expr, "Scope"]]


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: what its names mean.

    :param function: the innermost function around it.
    :param bound: the function's parameters and variables, as far as they are known.
    """

    module: ModuleType
    function: ast.FunctionDef | None
    bound: Bound

    def value(self, node: ast.expr) -> Any:
        """The object that a name or attribute is in the imported module; ``None`` if it is not one."""
        if isinstance(node, ast.Name) and node.id in self.bound:
            expression, scope = self.bound[node.id]
            return scope.value(expression)
        if isinstance(node, ast.Name) and not (self.function and node.id in _locals(self.function)):
            return getattr(self.module, node.id, None)
        return getattr(self.value(node.value), node.attr, None) if isinstance(node, ast.Attribute) else None

    def texts(self, node: ast.expr | None) -> list[tuple[str, str]]:
        """The texts that an expression may be, each with the key under which a table has it."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [("", node.value)]
        if isinstance(node, ast.JoinedStr):
            return _joined([self.texts(part) for part in node.values])
        if isinstance(node, ast.FormattedValue):
            known = self.texts(node.value) if isinstance(node.value, (ast.Name, ast.IfExp)) else []
            # Not what a variable is before it is known.
            return list(dict.fromkeys(text for text in known if text[1])) or [("", UNKNOWN)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return _joined([self.texts(node.left), self.texts(node.right)])
        if isinstance(node, ast.IfExp):
            return [*self.texts(node.body), *self.texts(node.orelse)]
        if isinstance(node, ast.BoolOp):
            first, *others = (self.texts(one) for one in node.values)
            known = [text for text in first if text[1] and (isinstance(node.values[0], ast.Name) or text[1] != UNKNOWN)]
            sure = known and all(text not in ("", UNKNOWN) for _, text in first)
            return known if sure else known + [text for other in others for text in other]
        if isinstance(node, ast.Name) and node.id in self.bound:
            expression, scope = self.bound[node.id]
            return scope.texts(expression)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._named(node)
        return self._called(node) if isinstance(node, ast.Call) else [("", UNKNOWN)]

    def _named(self, node: ast.Name | ast.Attribute) -> list[tuple[str, str]]:
        if (heading := LOOKED_UP.get(ast.unparse(node))) is not None:
            return [("", see(heading))]
        if _is_passed_on(node):
            return [("", "See the message that it repeats.")]
        value = self.value(node)
        known = isinstance(value, str) and value != __version__
        return [("", value if known else UNKNOWN)]

    def _called(self, node: ast.Call) -> list[tuple[str, str]]:
        name = ast.unparse(node.func)
        if name in LOOKED_UP:
            return [("", see(LOOKED_UP[name]))]
        if name in MADE_OF_THE_VALUE:
            return [("", MADE_OF_THE_VALUE[name])]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            owner = node.func.value
            if (heading := LOOKED_UP.get(ast.unparse(owner))) is not None:
                return [("", see(heading))]
            table = self.value(owner)
            if isinstance(table, dict):
                return [*((str(key), text) for key, text in table.items()), *self.texts(node.args[1])]
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("strip", "replace"):
            return self.texts(node.func.value)
        found = self.value(node.func)
        made = (
            _definition(found) if callable(found) and getattr(found, "__module__", "") == self.module.__name__ else None
        )
        if made is not None:  # a function of the same module that puts a text together
            inner = Scope(self.module, made, {})
            return [text for part in ast.walk(made) if isinstance(part, ast.Return) for text in inner.texts(part.value)]
        return [("", UNKNOWN)]


def _joined(parts: list[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    texts = [("", "")]
    for part in parts:
        texts = [(key or other, text + more) for key, text in texts for other, more in part]
    return texts


@cache
def _locals(function: ast.FunctionDef) -> set[str]:
    stored = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return stored | set(_parameters(function))


def _parameters(function: ast.FunctionDef) -> list[str]:
    arguments = function.args
    return [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs) if one.arg != "self"]


class Source:
    """The modules whose errors are about a connection."""

    def __init__(self) -> None:
        files = [
            *PACKAGE.glob("connection/*.py"),
            *PACKAGE.glob("transport/**/*.py"),
            *(PACKAGE / "hooks" / name for name in ("settings.py", "refresh_tokens.py")),
        ]
        self._calls: list[tuple[str, ModuleType, ast.FunctionDef | None, ast.Call]] = []
        for path in sorted(files):
            if path.name != "__init__.py":
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                self._read(path.relative_to(ROOT).as_posix(), importlib.import_module(name), path.read_text("utf-8"))

    def _read(self, place: str, module: ModuleType, text: str) -> None:
        def walk(node: ast.AST, function: ast.FunctionDef | None) -> None:
            inside = node if isinstance(node, ast.FunctionDef) else function
            if isinstance(node, ast.Call):
                self._calls.append((f"{place}:{node.lineno}", module, function, node))
            for child in ast.iter_child_nodes(node):
                walk(child, inside)

        walk(ast.parse(text), None)

    def messages(self) -> list[Message]:
        """Every message that the code can make; without a remedy where none can be found."""
        return list(dict.fromkeys(one for call in self._calls for one in self._made(*call)))

    def _made(
        self, place: str, module: ModuleType, function: ast.FunctionDef | None, call: ast.Call
    ) -> Iterator[Message]:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        problem, remedy, stage = call.args[0] if call.args else None, given.get("remedy"), given.get("stage")
        if getattr(module, ast.unparse(call.func), None) is SaslError:
            stage, remedy = ast.Constant("authentication"), ast.Constant(remedies.BROKEN_EXCHANGE)
        if problem is None or stage is None or _is_passed_on(remedy):
            return
        for bound in self._bindings(module, function, [problem, remedy, stage]):
            scope = Scope(module, function, bound)
            yield from self._messages(place, scope, problem, remedy, stage)

    def _messages(
        self, place: str, scope: Scope, problem: ast.expr, remedy: ast.expr | None, stage: ast.expr
    ) -> Iterator[Message]:
        stages = dict.fromkeys(text if text in STAGES or text.isupper() else ANY for _, text in scope.texts(stage))
        problems = [text for _, text in scope.texts(problem) if text.strip(f"{UNKNOWN}: .")]
        found = [one for one in scope.texts(remedy) if one[1].strip(f"{UNKNOWN} .")] or [("", "")]
        if len(problems) == len(found) == 2 and isinstance(remedy, ast.IfExp):
            pairs = list(zip(problems, found, strict=True))
        else:
            pairs = [(one, other) for one in problems for other in found]
        for one, (key, text) in pairs:
            for where in stages:
                yield Message(place, where, f"{one} ({key})" if key else one, text)

    # -- what the names of a function may stand for -------------------------------------------------------------------

    def _bindings(
        self,
        module: ModuleType,
        function: ast.FunctionDef | None,
        expressions: Iterable[ast.expr | None],
        depth: int = 0,
    ) -> list[Bound]:
        """By assignment in each branch of the function, and by what each caller gives for its parameters."""
        names = {node.id for one in expressions if one for node in ast.walk(one) if isinstance(node, ast.Name)}
        if function is None or depth > MAX_DEPTH or not names & _locals(function):
            return [{}]
        parameters = names & set(_parameters(function))
        variables = list(_assignments(function, names - parameters, module))
        used = [expression for values in variables for expression in values.values()]
        if used and depth == 0:
            # What is assigned may in turn be made of parameters.
            more = {node.id for one in used for node in ast.walk(one) if isinstance(node, ast.Name)}
            parameters |= more & set(_parameters(function))
        outer = self._given(module, function, parameters, depth) if parameters else [{}]
        return [
            {**given, **{name: (value, Scope(module, function, given)) for name, value in values.items()}}
            for given in outer
            for values in variables or [{}]
        ]

    def _given(self, module: ModuleType, function: ast.FunctionDef, names: set[str], depth: int) -> list[Bound]:
        found: list[Bound] = []
        parameters = _parameters(function)
        defaults = {name: (value, Scope(module, None, {})) for name, value in _defaults(function).items()}
        for _, other, caller, call in self._calls:
            if not _calls(call, other, function, module):
                continue
            arguments = dict(zip(parameters, call.args, strict=False))
            arguments |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
            wanted = {name: arguments[name] for name in names if name in arguments}
            found += [
                {**defaults, **{name: (value, Scope(other, caller, bound)) for name, value in wanted.items()}}
                for bound in self._bindings(other, caller, wanted.values(), depth + 1)
            ]
        return found or [{}]


def _defaults(function: ast.FunctionDef) -> dict[str, ast.expr]:
    arguments = function.args
    last = [one.arg for one in arguments.args][len(arguments.args) - len(arguments.defaults) :]
    named = zip([one.arg for one in arguments.kwonlyargs], arguments.kw_defaults, strict=True)
    return {**dict(zip(last, arguments.defaults, strict=True)), **{name: value for name, value in named if value}}


def _calls(call: ast.Call, module: ModuleType, function: ast.FunctionDef, home: ModuleType) -> bool:
    """Whether a call is one of this very function, and not of another one of the same name."""
    if isinstance(call.func, ast.Name):
        found = getattr(module, call.func.id, None)
        return call.func.id == function.name and found is not None and found is getattr(home, function.name, None)
    own_method = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "self" and module is home
    return own_method and isinstance(call.func, ast.Attribute) and call.func.attr == function.name


@cache
def _definition(function: Callable[..., Any]) -> ast.FunctionDef | None:
    try:
        (node,) = ast.parse(inspect.getsource(function)).body
    except (OSError, TypeError, SyntaxError):
        return None
    return node if isinstance(node, ast.FunctionDef) else None


def _assignments(function: ast.FunctionDef, names: set[str], module: ModuleType) -> Iterator[dict[str, ast.expr]]:
    """What each branch of a function makes of its variables, on top of what they were before it."""
    whole: list[dict[str, ast.expr]] = []

    def block(statements: list[ast.stmt], own: dict[str, ast.expr]) -> None:
        for statement in statements:
            if isinstance(statement, ast.Assign):
                target, value = statement.targets[0], statement.value
                if isinstance(target, ast.Name) and target.id in names:
                    own[target.id] = value
                elif isinstance(target, ast.Tuple):
                    for row in _rows(value, module, len(target.elts)):
                        pairs = zip(target.elts, row, strict=True)
                        told = {one.id: part for one, part in pairs if isinstance(one, ast.Name)}
                        whole.append({**own, **told})
            for part in (getattr(statement, name, []) for name in ("body", "orelse", "finalbody", "handlers")):
                for branch in [part] if not part or isinstance(part[0], ast.stmt) else [one.body for one in part]:
                    inner = dict(own)
                    block(branch, inner)
                    if inner != own:
                        whole.append(inner)

    outer: dict[str, ast.expr] = {}
    block(function.body, outer)
    whole.append(outer)
    every = {name for one in whole for name in one}
    return iter([one for one in whole if one and set(one) == every] or [one for one in whole if one])


def _rows(value: ast.expr, module: ModuleType, size: int) -> Iterator[list[ast.expr]]:
    """The tuples of a table of tuples, with the default that it is asked with."""
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "get"):
        return
    table = getattr(module, ast.unparse(value.func.value), {})
    for row in table.values():
        yield [ast.Constant(text) for text in row]
    if isinstance(value.args[1], ast.Tuple) and len(value.args[1].elts) == size:
        yield value.args[1].elts


def _is_passed_on(remedy: ast.expr | None) -> bool:
    return isinstance(remedy, ast.Attribute) and remedy.attr == "remedy" and ast.unparse(remedy.value) in PASSED_ON


@cache
def page() -> str:
    """The page as the code has it today."""
    stages: dict[tuple[str, str], set[str]] = {}
    for one in Source().messages():
        stages.setdefault((_cell(one.problem), _cell(one.remedy)), set()).add(one.stage)
    # What any command may say stands once.
    rows = sorted(
        (stage, *texts)
        for texts, found in stages.items()
        for stage in ({ANY} if len(found) > 1 and found - set(STAGES) else found)
    )
    order = [*STAGES, *sorted({stage for stage, _, _ in rows} - {*STAGES, ANY}), ANY]
    parts = [INTRODUCTION]
    for stage in order:
        parts += _table(stage, "Message", [(problem, remedy) for one, problem, remedy in rows if one == stage])
    for heading, (first, cells) in tables().items():
        parts += _table(heading, first, [(_cell(one), _cell(other)) for one, other in cells])
    return "\n".join(parts)


def _table(heading: str, first: str, rows: list[tuple[str, str]]) -> list[str]:
    lines = [f"| {one} | {other} |" for one, other in rows]
    return [f"## {heading}", "", f"| {first} | What to do |", "| --- | --- |", *lines, ""] if rows else []


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} has the messages of today")


if __name__ == "__main__":
    main()
