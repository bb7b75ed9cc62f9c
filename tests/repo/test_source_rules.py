"""Every rule on the tree, and every rule on a sample that breaks it: a checker that never complains checks nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

import pytest

from repo import rules
from repo.rules import Module, module_of

Checker = Callable[[Module], Iterator[str]]

CHECKERS: tuple[Checker, ...] = (
    rules.check_imports,
    rules.check_imports_at_top,
    rules.check_clock,
    rules.check_broad_except,
    rules.check_tasks,
    rules.check_sleep,
    rules.check_status_document,
    rules.check_sizes,
    rules.check_smallness,
)


@pytest.fixture(scope="module")
def tree() -> list[Module]:
    return rules.modules()


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
def test_the_tree_keeps_the_rule(checker: Checker, tree: list[Module]) -> None:
    complaints = [complaint for module in tree for complaint in checker(module)]
    assert not complaints, "\n" + "\n".join(complaints)


def test_every_part_is_in_the_table(tree: list[Module]) -> None:
    assert {module.part for module in tree if not module.is_lab} <= set(rules.ALLOWED_IMPORTS)
    assert {module.part for module in tree if module.is_lab} <= set(rules.LAB_ALLOWED_IMPORTS)


def test_functions_are_short_and_modules_small(tree: list[Module]) -> None:
    lengths = sorted(rules.length(function) for module in tree for function in rules.functions(module))
    assert median(lengths) <= 10
    assert lengths[int(len(lengths) * 0.9)] <= 35
    assert median(module.text.count("\n") for module in tree) <= 150


BAD_SAMPLES: list[tuple[Checker, str, str, str]] = [
    (rules.check_imports, "natpair.core.x", "from natpair.system import nft", "core may not import natpair.system"),
    (rules.check_imports, "natpair.core.x", "from natpair import system", "core may not import natpair.system"),
    (rules.check_imports, "natpair.errors", "import natpair.core.model", "errors may not import natpair.core"),
    (rules.check_imports, "natpair_lab.testbed.x", "from natpair.cli import output", "may not import natpair.cli"),
    (rules.check_imports, "natpair_lab.emulator.x", "import natpair.linode.client", "may not import natpair.linode"),
    (
        rules.check_imports,
        "natpair_lab.testbed.x",
        "import natpair_lab.chaos.fault",
        "may not import natpair_lab.chaos",
    ),
    (rules.check_imports, "natpair.agent.x", "import natpair_lab.testbed.world", "may not import natpair_lab.testbed"),
    (rules.check_imports, "natpair.core.x", "import natpair_lab.core", "core may not import natpair_lab.core"),
    (rules.check_imports, "natpair.agent.x", "import natpair.cloud.execute", "agent may not import natpair.cloud"),
    (rules.check_imports, "natpair.agent.x", "import natpair.cloud", "agent may not import natpair.cloud"),
    (
        rules.check_imports,
        "natpair.cloud.watch.x",
        "from natpair.cloud import execute",
        "cloud.watch may not import natpair.cloud",
    ),
    (
        rules.check_imports,
        "natpair.cloud.watch.x",
        "import natpair.agent.disk",
        "cloud.watch may not import natpair.agent",
    ),
    (rules.check_imports, "natpair.core.x", "def f():\n    import time", "core is pure and may not import time"),
    (rules.check_imports, "natpair.render.x", "from os import environ", "render is pure and may not import os"),
    (rules.check_imports, "natpair.core.x", "import asyncio.events", "core is pure and may not import asyncio.events"),
    (rules.check_imports, "natpair.render.x", "import pathlib, random", "render is pure and may not import random"),
    (rules.check_imports, "natpair.core.x", "from . import model", "relative import"),
    (rules.check_imports, "natpair.system.x", "import requests", "system may not import requests"),
    (rules.check_imports, "natpair.core.x", "import aiohttp", "core may not import aiohttp"),
    (rules.check_imports_at_top, "natpair.agent.x", "def f():\n    import json", "import inside f()"),
    (rules.check_clock, "natpair.core.x", "import datetime\ndatetime.datetime.now()", "reads the clock"),
    (
        rules.check_broad_except,
        "natpair.agent.loop",
        "try:\n    f()\nexcept Exception:\n    pass",
        "catches everything",
    ),
    (rules.check_broad_except, "natpair_lab.testbed.x", "try:\n    f()\nexcept:\n    g()", "catches everything"),
    (
        rules.check_broad_except,
        "natpair_lab.testbed.x",
        "try:\n    f()\nexcept (OSError, BaseException) as e:\n    raise X from e",
        "catches everything",
    ),
    (rules.check_tasks, "natpair.agent.x", "import asyncio\nasyncio.create_task(f())", "outside a TaskGroup"),
    (rules.check_tasks, "natpair.agent.x", "asyncio.get_running_loop().create_task(f())", "outside a TaskGroup"),
    (rules.check_sleep, "natpair_lab.testbed.x", "import time\nwhile True:\n    time.sleep(1)", "time.sleep()"),
    (rules.check_sleep, "natpair_lab.drill.x", "from time import sleep\nsleep(1)", "sleep()"),
    (rules.check_sleep, "natpair.cli.x", "from threading import Event\nEvent().wait(1)", "Event() that nobody sets"),
    (rules.check_sleep, "natpair.cli.x", "import threading\nthreading.Event()", "nobody sets"),
    (rules.check_sleep, "natpair.cli.x", "import select\nselect.select([], [], [], 1)", "select.select() on nothing"),
    (rules.check_status_document, "natpair.apply.x", 'ask("GET", "/v1/status")["role"]', "takes the status document"),
    (rules.check_status_document, "natpair_lab.drill.x", "agentsocket.status_document()", "takes the status document"),
    (
        rules.check_status_document,
        "natpair.cli.x",
        "from natpair.cli.client import status_document as s",
        "takes the status document",
    ),
    (rules.check_sizes, "natpair_lab.testbed.x", "def f():\n" + "    g()\n" * 60, "f() has 61 lines"),
    (rules.check_sizes, "natpair_lab.testbed.x", "g()\n" * 601, "601 lines"),
    (rules.check_smallness, "natpair.core.x", '"""Something."""\n' + "g()\n" * 38, "39 lines: fold it"),
    (rules.check_smallness, "natpair_lab.chaos.x", '"""Because."""\n', "1 lines: fold it"),
]


@pytest.mark.parametrize(("checker", "name", "sample", "complaint"), BAD_SAMPLES)
def test_the_rule_complains_of_a_bad_sample(checker: Checker, name: str, sample: str, complaint: str) -> None:
    assert any(complaint in line for line in checker(module_of(name, sample)))


GOOD_SAMPLES: list[tuple[Checker, str, str]] = [
    (rules.check_imports, "natpair.core.x", "import json\nfrom natpair.errors import Problem\nimport pydantic"),
    (rules.check_imports, "natpair.cli.main", "import natpair\nfrom natpair import __version__"),
    (rules.check_imports_at_top, "natpair.cli.commands.x", "def f():\n    from natpair_lab.testbed import world"),
    (rules.check_broad_except, "natpair_lab.testbed.x", "try:\n    f()\nexcept BaseException:\n    undo()\n    raise"),
    (rules.check_broad_except, "natpair.cli.main", "try:\n    f()\nexcept Exception:\n    pass"),
    (rules.check_tasks, "natpair.agent.x", "async with TaskGroup() as group:\n    group.create_task(f())"),
    (rules.check_sleep, "natpair.agent.x", "from threading import Event\ndone = Event()\ndone.set()"),
    (rules.check_sleep, "natpair.agent.x", "import select\nselect.select([line], [], [], 1)"),
    (rules.check_sleep, "natpair.agent.x", "import asyncio\nawait_ = asyncio.sleep(1)"),
    (rules.check_status_document, "natpair.apply.x", "agentsocket.status().role is Role.ACTIVE"),
    (rules.check_status_document, "natpair_lab.chaos.observer", "agentsocket.status_document()"),
    (rules.check_sizes, "natpair_lab.testbed.x", "def f():\n" + "    g()\n" * 59),
    (rules.check_smallness, "natpair.core.x", '"""Something.\n\nIt has a module of its own because it is."""\n'),
    (rules.check_smallness, "natpair.core.x", "g()\n" * 40),
    (rules.check_smallness, "natpair.cli.commands.x", "g()\n"),
]


@pytest.mark.parametrize(("checker", "name", "sample"), GOOD_SAMPLES)
def test_the_rule_accepts_a_good_sample(checker: Checker, name: str, sample: str) -> None:
    assert not list(checker(module_of(name, sample)))
