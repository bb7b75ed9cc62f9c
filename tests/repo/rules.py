"""The repository's rules as functions: source in, complaints out. The tests apply them to the tree, and to bad samples.

A complaint is one line, `place: what is wrong`, so that a failure reads as a list of things to fix.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "natpair"
LAB = ROOT / "lab" / "src" / "natpair_lab"

MAX_FUNCTION_LINES = 60
MAX_MODULE_LINES = 600
MIN_MODULE_LINES = 40
"""A shorter module says in its docstring why it is one."""
REASON = "a module of its own because"
ONE_EACH = ("natpair.cli.commands.", "natpair_lab.cli.")
"""Here each command has a module, which is loaded when it is called: they need no reason."""
PACKAGES = frozenset(
    ".".join(path.parent.relative_to(folder.parent).parts)
    for folder in (SRC, LAB)
    for path in folder.rglob("__init__.py")
)

# Which part of natpair may import which; anything not listed is forbidden.
ALLOWED_IMPORTS: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "core": frozenset({"errors"}),
    "config": frozenset({"core", "errors"}),
    "render": frozenset({"core", "errors"}),
    "system": frozenset({"core", "errors"}),
    "apply": frozenset({"core", "system", "errors"}),
    "drift": frozenset({"core", "system", "errors"}),
    "agent": frozenset({"core", "config", "render", "system", "apply", "drift", "cloud.watch", "linode", "errors"}),
    "linode": frozenset({"errors"}),
    "cloud": frozenset({"core", "config", "render", "linode", "errors"}),
    "cloud.watch": frozenset({"core", "linode", "errors"}),
    "probe": frozenset({"core", "config", "render", "system", "linode", "cloud", "errors"}),
    "cli": frozenset(
        {
            "core",
            "config",
            "render",
            "system",
            "apply",
            "drift",
            "agent",
            "linode",
            "cloud",
            "cloud.watch",
            "probe",
            "errors",
        }
    ),
    "__main__": frozenset({"cli"}),
    "__init__": frozenset(),
}

# The same for natpair_lab: which of its own parts, and which of natpair's.
LAB_ALLOWED_IMPORTS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "emulator": (frozenset(), frozenset({"errors"})),
    "testbed": (frozenset({"emulator"}), frozenset({"core", "config", "render", "system", "apply", "drift", "errors"})),
    "drill": (frozenset({"testbed"}), frozenset({"core", "config", "system", "errors"})),
    "bench": (frozenset({"testbed", "drill"}), frozenset({"core", "config", "system", "errors"})),
    "chaos": (frozenset({"testbed", "drill"}), frozenset({"core", "config", "system", "errors"})),
    "cli": (
        frozenset({"emulator", "testbed", "drill", "bench", "chaos"}),
        frozenset({"core", "config", "system", "linode", "probe", "cli", "errors"}),
    ),
    "__init__": (frozenset(), frozenset()),
}

# What each part may import from elsewhere than natpair and the standard library.
ALLOWED_THIRD_PARTY: dict[str, frozenset[str]] = {
    "core": frozenset({"pydantic"}),
    "config": frozenset({"pydantic", "pydantic_core", "annotated_types"}),  # the last two are pydantic's own parts
    "render": frozenset({"jinja2"}),
    "system": frozenset({"pyroute2"}),
    "drift": frozenset({"pyroute2"}),
    "agent": frozenset({"aiohttp", "pyroute2", "structlog"}),
    "emulator": frozenset({"aiohttp", "pydantic"}),
    "linode": frozenset({"aiohttp", "yarl", "pydantic", "stamina"}),  # yarl is the URL type of aiohttp
    "chaos": frozenset({"pydantic"}),  # histories and results as JSON and back
    "cli": frozenset({"click", "rich"}),
}

# core and render are functions of their arguments: no clock, no environment, no files, no chance, no logging.
PURE_PARTS = frozenset({"core", "render"})
PURE_STDLIB = frozenset(
    "__future__ abc bisect collections copy dataclasses datetime enum functools hashlib heapq hmac ipaddress itertools "  # noqa: SIM905
    "json math operator re string struct textwrap types typing".split()
)
# Reading the clock through a pure-looking module.
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})

# Modules in which a handler may catch everything and carry on: the process boundary and the task boundary.
BROAD_EXCEPT_MODULES = frozenset({"natpair.cli.main", "natpair.agent.tasks"})
# The one place each where a thread may sleep: between two looks at a condition that has a deadline.
SLEEPING_MODULES = frozenset({"natpair.system.wait"})
# Programs that run alone inside hosts, with the standard library only: they send at a pace.
PACED_PROGRAMS = frozenset(
    {"natpair.probe.senders", "natpair_lab.chaos.programs.attack", "natpair_lab.chaos.programs.ports"}
)

# An agent's status is read by its type (core/status.py). The document itself is touched only by who writes it, who
# reads the type from it, who prints it as it is, and the chaos checker, which trusts none of natpair's own reading.
STATUS_DOCUMENT_MODULES = frozenset(
    {
        "natpair.agent.control",
        "natpair.system.agentsocket",
        "natpair.cli.client",
        "natpair.cli.commands.status",
        "natpair_lab.chaos.observer",
    }
)


def part_of(rest: str) -> str:
    """The part that `rest` of a dotted name belongs to; `cloud.watch` is one of its own, which the agent may import."""
    first, _, more = rest.partition(".")
    nested = f"{first}.{more.partition('.')[0]}"
    return nested if nested in ALLOWED_IMPORTS else first


@dataclass(frozen=True)
class Module:
    """One parsed file: its dotted name, what it says, where it is."""

    name: str
    tree: ast.Module
    text: str

    @property
    def part(self) -> str:
        """The part of its distribution it belongs to: `core` for natpair.core.model."""
        return part_of(self.name.partition(".")[2] or "__init__")

    @property
    def is_lab(self) -> bool:
        """Part of natpair_lab, the proof, and not of natpair, the product."""
        return self.name.split(".")[0] == "natpair_lab"

    def may_import(self, top: str, part: str) -> bool:
        """Is this module allowed to import the part `part` of natpair or natpair_lab (`top`)?"""
        if part in {"", "__version__"} or (top == self.name.split(".")[0] and part == self.part):
            return True
        if self.is_lab:
            own, natpairs = LAB_ALLOWED_IMPORTS.get(self.part, (frozenset(), frozenset()))
            return part in (own if top == "natpair_lab" else natpairs)
        return top == "natpair" and part in ALLOWED_IMPORTS.get(self.part, ())


def module_of(name: str, text: str) -> Module:
    return Module(name, ast.parse(text), text)


def modules(*folders: Path) -> list[Module]:
    """Every module of natpair and natpair_lab, or of these packages."""
    found = []
    for folder in folders or (SRC, LAB):
        for path in sorted(folder.rglob("*.py")):
            dotted = ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
            found.append(module_of(dotted, path.read_text()))
    return found


def imports(module: Module) -> Iterator[tuple[ast.stmt, str]]:
    """Every import anywhere in the module as (statement, absolute dotted name)."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if source in {"natpair", "natpair_lab"}:
                yield from ((node, f"{source}.{alias.name}") for alias in node.names)
            else:
                yield node, "." * node.level + source


def check_imports(module: Module) -> Iterator[str]:
    """Directions between the parts, third parties by part, and the standard library for the pure parts."""
    for node, name in imports(module):
        top, _, rest = name.partition(".")
        complaint = ""
        if top in {"natpair", "natpair_lab"}:
            target = part_of(rest)
            if not module.may_import(top, target):
                complaint = f"{module.part} may not import {top}.{target}"
        elif top == "":
            complaint = f"relative import {name}"
        elif top in sys.stdlib_module_names:
            if module.part in PURE_PARTS and not module.is_lab and top not in PURE_STDLIB:
                complaint = f"{module.part} is pure and may not import {name}"
        elif top not in ALLOWED_THIRD_PARTY.get(module.part, ()):
            complaint = f"{module.part} may not import {name}"
        if complaint:
            yield f"{module.name}:{node.lineno}: {complaint}"


def check_imports_at_top(module: Module) -> Iterator[str]:
    """Imports stand at the top of a module; only in cli, where start-up time counts, may a function import."""
    if module.part in {"cli", "__init__"}:
        return
    for function in functions(module):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield f"{module.name}:{node.lineno}: import inside {function.name}()"


def check_clock(module: Module) -> Iterator[str]:
    """The pure parts get the time as an argument."""
    if module.part not in PURE_PARTS or module.is_lab:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCK_CALLS:
            yield f"{module.name}:{node.lineno}: reads the clock by .{node.func.attr}()"


def check_broad_except(module: Module) -> Iterator[str]:
    """A handler that catches everything re-raises, or stands in one of the two allowed places."""
    if module.name in BROAD_EXCEPT_MODULES:
        return
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"Exception"}
        last = node.body[-1]
        reraises = isinstance(last, ast.Raise) and last.exc is None
        if caught & {"Exception", "BaseException"} and not reraises:
            yield f"{module.name}:{node.lineno}: catches everything"


def check_tasks(module: Module) -> Iterator[str]:
    """A task belongs to a TaskGroup: one made by asyncio or by the loop dies unnoticed."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        bare = called in {"create_task", "ensure_future", "asyncio.create_task", "asyncio.ensure_future"}
        if bare or (called.endswith(".create_task") and "loop" in called):
            yield f"{module.name}:{node.lineno}: {called}() outside a TaskGroup"


def check_sleep(module: Module) -> Iterator[str]:
    """No thread sleeps for a guess; waiting is polling a condition with a deadline, in one place.

    Nor by a trick: an event that nobody sets, or a select on nothing.
    """
    if module.name in SLEEPING_MODULES | PACED_PROGRAMS:
        return
    from_time = "sleep" in _names_of(module, "time")
    by_thread = {f"threading.{name}" for name in _NEVER_SET} | set(_names_of(module, "threading") & _NEVER_SET)
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    told = any(
        isinstance(call.func, ast.Attribute) and call.func.attr in {"set", "notify", "notify_all"} for call in calls
    )
    for call in calls:
        called = ast.unparse(call.func)
        if called == "time.sleep" or (called == "sleep" and from_time):
            yield f"{module.name}:{call.lineno}: {called}()"
        elif called in by_thread and not told:
            yield f"{module.name}:{call.lineno}: {called}() that nobody sets"
        elif called.endswith("select") and [ast.unparse(arg) for arg in call.args[:3]] == ["[]"] * 3:
            yield f"{module.name}:{call.lineno}: {called}() on nothing"


_NEVER_SET = frozenset({"Event", "Condition"})


def _names_of(module: Module, source: str) -> set[str]:
    """What `module` takes from another one by name."""
    return {
        alias.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.module == source
        for alias in node.names
    }


def check_status_document(module: Module) -> Iterator[str]:
    """Nobody gets at the keys of the status document, so nobody reads them."""
    if module.name in STATUS_DOCUMENT_MODULES:
        return
    for node in ast.walk(module.tree):
        asks = isinstance(node, ast.Constant) and node.value == "/v1/status"
        if asks or (isinstance(node, ast.Attribute | ast.alias) and _name(node) == "status_document"):
            yield f"{module.name}:{node.lineno}: takes the status document; use agentsocket.status()"


def _name(node: ast.Attribute | ast.alias) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.name


def functions(module: Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, docstring included, decorators not."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def check_smallness(module: Module) -> Iterator[str]:
    """What is too small to be looked for stands with its users, or says why not."""
    lines = module.text.count("\n")
    if module.name.startswith(ONE_EACH) or module.name in PACKAGES or module.name.endswith("__main__"):
        return
    if lines < MIN_MODULE_LINES and REASON not in (ast.get_docstring(module.tree) or ""):
        yield f"{module.name}: {lines} lines: fold it into another, or say: 'It has {REASON} …'"


def check_sizes(module: Module) -> Iterator[str]:
    """What does not fit is split by responsibility."""
    lines = module.text.count("\n")
    if lines > MAX_MODULE_LINES:
        yield f"{module.name}: {lines} lines, {MAX_MODULE_LINES} are allowed"
    for function in functions(module):
        if length(function) > MAX_FUNCTION_LINES:
            yield f"{module.name}:{function.lineno}: {function.name}() has {length(function)} lines"
