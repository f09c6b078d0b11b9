"""Writes docs/messages.md: every message of a connection's stages, with what to do about it, as the code has them.

``python -m scripts.message_reference`` brings the page up to date. A test compares the two, and refuses an error that
has no remedy. It reads the source and runs none of it: what is only known at run time is shown as an ellipsis.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "airflow_imap_provider"
PAGE = ROOT / "docs" / "messages.md"

UNKNOWN = "…"
PASSED_ON = "(passed on)"
"""The remedy of an error that is raised again."""
ANY = "any"
BREAK = "<br>"

STAGES = [
    "settings", "token", "dns", "proxy", "tcp", "tls", "greeting", "starttls", "capabilities", "authentication",
    "folder", "idle",
]  # fmt: skip

# Functions that make an error: the position or name of problem and remedy, the stage, and the usual remedy's name.
MAKERS: dict[str, tuple[int, int, str, str]] = {
    "tls_error": (0, 2, "tls", ""),
    "broken": (0, 2, "proxy", "_CHECK_PROXY"),
    "wrong": (1, 9, "settings", "_CORRECT"),
    "SaslError": (0, 9, "authentication", "BROKEN_EXCHANGE"),
}
WAITS = {"missed", "remaining"}
BY_STAGE = {"silence_remedy": "_SILENCE", "loss_remedy": "_LOSS"}
PAIRED = {"_explain_certificate"}
"""Functions in which the first problem goes with the first remedy, and so on."""
MAX_ALTERNATIVES = 40
"""Texts that one expression may stand for; more would be a mistake in here."""

INTRODUCTION = """# Messages

What errors of a connection say, by stage, and what to do; `…` stands for a name, a value or a code.
The Test button shows stage, message and remedy in one line, its log and `airflow imap4 test CONN_ID` the whole report.
Stage *any*: wherever it happens, the message names it. This page is written by
`python -m scripts.message_reference` from the source.
"""


@dataclass(frozen=True)
class Message:
    """One message.

    :param place: file and line, for who has to mend it.
    """

    place: str
    stage: str
    problem: str
    remedy: str


class Source:
    """The modules that are read, and what their names stand for."""

    def __init__(self) -> None:
        files = [
            *PACKAGE.glob("connection/*.py"),
            *PACKAGE.glob("transport/**/*.py"),
            PACKAGE / "hooks" / "settings.py",
        ]
        self.modules = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(files)}
        self.globals: dict[str, ast.expr] = {}
        self.functions: dict[str, ast.FunctionDef] = {}
        self._homes: dict[ast.FunctionDef, dict[str, ast.expr]] = {}
        for module in self.modules.values():
            own: dict[str, ast.expr] = {}
            for node in ast.walk(module):
                if isinstance(node, ast.FunctionDef):
                    self.functions[node.name] = node
                    self._homes[node] = own
            for statement in module.body:
                if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                    own[statement.targets[0].id] = statement.value
                elif (
                    isinstance(statement, ast.AnnAssign) and statement.value and isinstance(statement.target, ast.Name)
                ):
                    own[statement.target.id] = statement.value
            self.globals |= own

    # -- what an expression stands for ------------------------------------------------------------------------------

    def texts(self, node: ast.expr | None, function: ast.FunctionDef | None, depth: int = 0) -> list[str]:
        """All texts that an expression may be; what cannot be told from the source is :data:`UNKNOWN`."""
        if node is None:
            return [""]
        if depth > 8:
            return [UNKNOWN]
        return list(self._texts(node, function, depth + 1))[:MAX_ALTERNATIVES]

    def _texts(self, node: ast.expr, function: ast.FunctionDef | None, depth: int) -> Iterable[str]:
        def inner(one: ast.expr) -> list[str]:
            return self.texts(one, function, depth)

        if isinstance(node, ast.Constant):
            return [str(node.value)]
        if isinstance(node, ast.JoinedStr):
            return map("".join, product(*map(inner, node.values)))
        if isinstance(node, ast.FormattedValue):
            known = isinstance(node.value, (ast.Name, ast.IfExp))
            return dict.fromkeys(inner(node.value)) if known else [UNKNOWN]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and not _is_number(node.right):
            return ("".join(parts) for parts in product(inner(node.left), inner(node.right)))
        if isinstance(node, ast.IfExp):
            return [*inner(node.body), *inner(node.orelse)]
        if isinstance(node, ast.BoolOp):
            return [text for value in node.values for text in inner(value) if text]
        if isinstance(node, (ast.Dict, ast.Tuple)):
            members = node.values if isinstance(node, ast.Dict) else node.elts
            return [text for member in members for text in inner(member)]
        if isinstance(node, ast.Subscript):
            return inner(node.value)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Name):
            return self._name(node.id, function, depth)
        if isinstance(node, ast.Call):
            return self._call(node, function, depth)
        return [UNKNOWN]

    def _attribute(self, node: ast.Attribute) -> list[str]:
        if node.attr == "remedy":
            limits = self.globals["LIMITS"]
            if isinstance(node.value, ast.Name) and node.value.id == "limit" and isinstance(limits, ast.Tuple):
                return [
                    text for one in limits.elts if isinstance(one, ast.Call) for text in self.texts(one.args[3], None)
                ]
            return [PASSED_ON]
        parties = [self.globals[name] for name in ("MAIL_SERVER", "PROXY", "ENDPOINT")]
        order = ["resolving", "connecting", "unresolved", "silent", "refused"]
        if node.attr in order:
            which = order.index(node.attr)
            named = isinstance(node.value, ast.Name) and node.value.id in self.globals
            chosen = [self.globals[node.value.id]] if named and isinstance(node.value, ast.Name) else parties
            return [text for one in chosen if isinstance(one, ast.Call) for text in self.texts(one.args[which], None)]
        return [UNKNOWN]

    def _name(self, name: str, function: ast.FunctionDef | None, depth: int) -> list[str]:
        values: list[str] = []
        for node in ast.walk(function) if function else ():
            if isinstance(node, ast.Assign):
                values += self._assigned(node.targets[0], node.value, name, function, depth)
            elif isinstance(node, ast.NamedExpr) and node.target.id == name:
                values += [text for text in self.texts(node.value, function, depth) if text]  # "if found := …"
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                values = [f"{text}{self.texts(node.value, function, depth)[0]}" for text in values]
        if values:
            # What it is before it is known.
            return [text for text in values if text] or values
        if function and any(argument.arg == name for argument in [*function.args.args, *function.args.kwonlyargs]):
            return self._arguments(function, name, depth) or [UNKNOWN]
        own = self._homes[function] if function else {}
        value = own.get(name) or self.globals.get(name)
        return self.texts(value, None, depth) if value else [UNKNOWN]

    def _assigned(
        self, target: ast.expr, value: ast.expr, name: str, function: ast.FunctionDef | None, depth: int
    ) -> list[str]:
        if isinstance(target, ast.Name):
            return self.texts(value, function, depth) if target.id == name else []
        if not isinstance(target, ast.Tuple):
            return []
        places = [number for number, one in enumerate(target.elts) if isinstance(one, ast.Name) and one.id == name]
        return [text for pair in self._tuples(value) if places for text in self.texts(pair.elts[places[0]], function)]

    def _tuples(self, value: ast.expr) -> Iterator[ast.Tuple]:
        """The tuples of a table of tuples, with the default that it is asked with."""
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "get":
            table = value.func.value
            known = self.globals.get(table.id) if isinstance(table, ast.Name) else None
            for member in [*(known.values if isinstance(known, ast.Dict) else []), *value.args[1:]]:
                one = self.globals.get(member.id) if isinstance(member, ast.Name) else member
                if isinstance(one, ast.Tuple):
                    yield one

    def _arguments(self, function: ast.FunctionDef, name: str, depth: int) -> list[str]:
        """What callers hand over for a parameter."""
        names = [argument.arg for argument in function.args.args if argument.arg != "self"]
        place = names.index(name) if name in names else -1
        texts: list[str] = []
        for call, caller, _ in self.calls:
            called = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            if called == function.name:
                given = _argument(call, place, name)
                texts += self.texts(given, caller, depth) if given else []
        return [text for text in texts if text]

    def _call(self, node: ast.Call, function: ast.FunctionDef | None, depth: int) -> list[str]:
        if isinstance(node.func, ast.Attribute):
            if node.func.attr == "get":
                return [*self._table(node.func.value, function, depth), *self.texts(node.args[1], function, depth)]
            if node.func.attr in ("strip", "rstrip", "replace"):
                return self.texts(node.func.value, function, depth)
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        called = self.functions.get(name)
        if called is None:
            return [UNKNOWN]
        if node.args and isinstance(node.args[0], ast.Constant) and name in BY_STAGE:
            return [self.by_stage(BY_STAGE[name], str(node.args[0].value))]
        returned = [part.value for part in ast.walk(called) if isinstance(part, ast.Return) and part.value]
        return [text for value in returned for text in self.texts(value, called, depth)]

    def _table(self, node: ast.expr, function: ast.FunctionDef | None, depth: int) -> list[str]:
        """The values of a table, each after its key: a code or a stage."""
        own = self._homes[function] if function else {}
        table = (own.get(node.id) or self.globals.get(node.id)) if isinstance(node, ast.Name) else None
        if not isinstance(table, ast.Dict):
            return self.texts(node, function, depth)
        pairs = zip(table.keys, table.values, strict=True)
        return [f"{_prefix(key)}{self.texts(value, None, depth)[0]}" for key, value in pairs]

    def by_stage(self, name: str, stage: str) -> str:
        """A remedy that goes by the stage; what is usual if this one has none of its own."""
        table = self.globals[name]
        assert isinstance(table, ast.Dict)
        own = {self.texts(key, None)[0]: value for key, value in zip(table.keys, table.values, strict=True)}
        return self.texts(own.get(stage, self.globals["_SLOW"]), None)[0]

    # -- where errors are made --------------------------------------------------------------------------------------

    @cached_property
    def calls(self) -> list[tuple[ast.Call, ast.FunctionDef | None, str]]:
        """All calls, with the function that they are in and their place."""
        return list(self._calls())

    def _calls(self) -> Iterator[tuple[ast.Call, ast.FunctionDef | None, str]]:
        for path, module in self.modules.items():
            owners: dict[ast.AST, ast.FunctionDef] = {}
            for function in ast.walk(module):
                if isinstance(function, ast.FunctionDef):
                    owners |= {node: function for node in ast.walk(function) if node is not function}
            for node in ast.walk(module):
                if isinstance(node, ast.Call):
                    yield node, owners.get(node), f"{path.relative_to(ROOT)}:{node.lineno}"

    def messages(self) -> list[Message]:
        """Every message that the code can make, by place; without a remedy where it gives none."""
        return [message for call, function, place in self.calls for message in self._messages(call, function, place)]

    def _messages(self, call: ast.Call, function: ast.FunctionDef | None, place: str) -> Iterator[Message]:
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        usual = ""
        if function is not None and function.name in (*MAKERS, *WAITS, "part") and name not in MAKERS:
            return  # its callers are looked at instead
        if name in MAKERS:
            problem_at, remedy_at, stage, usual = MAKERS[name]
            stages = [stage]
            problem, remedy = _argument(call, problem_at, "problem"), _argument(call, remedy_at, "remedy")
        elif name in WAITS and isinstance(call.func, ast.Attribute) and call.args:
            stages = self.texts(call.args[0], function)
            problem = ast.Constant("no complete answer within … s.")
            remedy = _argument(call, 1, "remedy")
            usual = "silence_remedy"
        elif (stage_node := _argument(call, 99, "stage")) is not None and call.args:
            stages = self.texts(stage_node, function)
            problem, remedy = call.args[0], _argument(call, 99, "remedy")
        else:
            return
        remedies = [text for text in self.texts(remedy, function) if text or not usual]
        if not remedies:
            remedies = [self.by_stage("_SILENCE", stages[0])] if usual in BY_STAGE else self._usual(usual)
        elif usual in self.globals and isinstance(remedy, ast.Name):
            remedies += self._usual(usual)  # where callers leave it out
        problems = self.texts(problem, function)
        if name == "wrong":
            problems = [f"tab …: … (…) is …: {text}." for text in problems]
        if name in WAITS and stages == [UNKNOWN]:
            yield from (Message(place, *one) for one in self._waits(problems[0], remedies))
            return
        stage = stages[0] if len(set(stages)) == 1 and stages[0] != UNKNOWN else ANY
        if set(stages) == {"tcp", "proxy"} or set(stages) == {"dns", "proxy"}:
            pairs = [(stage, remedies[number % len(remedies)]) for number, stage in enumerate(stages)]
            for one, found in pairs:
                yield from (Message(place, one, problem, found) for problem in problems)
        elif len(problems) == len(remedies) and (len(problems) == 1 or (function and function.name in PAIRED)):
            yield from (Message(place, stage, *pair) for pair in zip(problems, remedies, strict=True))
        else:
            several = [text for text in remedies if text != PASSED_ON] or [PASSED_ON]
            together = "" if "" in remedies else BREAK.join(dict.fromkeys(several))
            yield from (Message(place, stage, problem, together) for problem in problems)

    def _waits(self, problem: str, greeting: list[str]) -> Iterator[tuple[str, str, str]]:
        """The timeouts of a session: the remedy goes by the stage."""
        table = self.globals["_SILENCE"]
        assert isinstance(table, ast.Dict)
        for key, value in zip(table.keys, table.values, strict=True):
            yield self.texts(key, None)[0], problem, self.texts(value, None)[0]
        yield ANY, problem, self.texts(self.globals["_SLOW"], None)[0]
        yield "greeting", problem, BREAK.join(dict.fromkeys(greeting))

    def _usual(self, name: str) -> list[str]:
        return self.texts(self.globals[name], None)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def _prefix(key: ast.expr | None) -> str:
    """A code or a stage before the remedy that belongs to it."""
    told = isinstance(key, ast.Constant) and (isinstance(key.value, int) or key.value in STAGES)
    return f"{key.value!s}: " if told and isinstance(key, ast.Constant) else ""


def _argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[place] if 0 <= place < len(call.args) else None


def page() -> str:
    """The page as the code has it today."""
    rows: dict[tuple[str, str, str], None] = {}
    for message in Source().messages():
        if message.problem.strip(f"{UNKNOWN}: .") and message.remedy != PASSED_ON:
            rows[message.stage, _cell(message.problem), _cell(message.remedy)] = None
    order = [*STAGES, *sorted({stage for stage, _, _ in rows} - {*STAGES, ANY}), ANY]
    tables = [INTRODUCTION]
    for stage in order:
        lines = [f"| {problem} | {remedy} |" for one, problem, remedy in sorted(rows) if one == stage]
        if lines:
            tables.append("\n".join([f"## {stage}", "", "| Message | What to do |", "| --- | --- |", *lines, ""]))
    return "\n".join(tables)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} has the messages of today")


if __name__ == "__main__":
    main()
