"""`natpair init`: write a gateway.toml from a few answers; what the machine itself shows is suggested."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from natpair.cli import complete
from natpair.cli.output import emit_json, say, symbols, talk
from natpair.core import paths
from natpair.errors import ConfigError, NatpairError, Problem, Usage

_KEY_BYTES = 32
_KEYS = {"vip": "pair.vip", "fips": "pair.fips", "profile": "pair.profile", "region": "bgp.region"}


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its option, its text, an explanation, and the place of the answer (`first.name`, `vip` …)."""

    option: str
    place: str
    ask: str
    why: str

    @property
    def name(self) -> str:
        """The option as a Python name."""
        return self.option.removeprefix("--").replace("-", "_")


QUESTIONS = (
    Question("--name", "first.name", "Name of this node", "identifies the node; the host name is a good choice"),
    Question(
        "--private-interface",
        "first.private_interface",
        "Interface on the VLAN",
        "the interface to the private instances",
    ),
    Question("--private", "first.private_address", "This node's address on the VLAN", "with its prefix length"),
    Question("--public-interface", "first.public_interface", "Public interface", "the interface of the default route"),
    Question("--public", "first.public_address", "This node's own public address", "not a floating one"),
    Question(
        "--public6", "first.public_address6", "This node's global IPv6 address", "used for BGP with the route servers"
    ),
    Question("--peer-name", "second.name", "Name of the other node", "must differ from this node's name"),
    Question("--peer-private", "second.private_address", "The other node's address on the VLAN", "in the same subnet"),
    Question("--peer-public", "second.public_address", "The other node's own public address", "with its prefix length"),
    Question(
        "--peer-public6",
        "second.public_address6",
        "The other node's global IPv6 address",
        "`ip -6 address` shows it there",
    ),
    Question("--vip", "vip", "The VIP", "the gateway address of your private instances; it moves between the nodes"),
    Question(
        "--fip",
        "fips",
        "Floating public addresses",
        "the source addresses of outgoing traffic; separate several with spaces",
    ),
    Question("--region", "region", "Linode region", "such as us-ord; determines the route servers"),
    Question(
        "--profile", "profile", "How fast a dead node is detected", "fast 60 ms, balanced 500 ms, conservative 3 s"
    ),
)


def _options(function: click.decorators.FC) -> click.decorators.FC:
    for question in reversed(QUESTIONS):
        multiple = question.place == "fips"
        text = f"{question.ask}: {question.why}."
        offer = complete.regions if question.place == "region" else None
        option = click.option(question.option, question.name, multiple=multiple, help=text, shell_complete=offer)
        function = option(function)
    return function


@click.command(
    name="init",
    epilog="Example: natpair init /tmp/natpair-example/gateway.toml --force --name nat-a "
    "--private-interface eth1 --private 192.168.1.3/24 --public-interface eth0 --public 203.0.113.3/24 "
    "--public6 2001:db8:100::3/64 --peer-name nat-b --peer-private 192.168.1.4/24 --peer-public 203.0.113.4/24 "
    "--peer-public6 2001:db8:100::4/64 --vip 192.168.1.1/24 --fip 192.0.2.221 --region us-ord --profile balanced",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="gateway.toml")
@_options
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--key/--no-key", default=True, help="Create pair.key beside FILE if it is missing (mode 0600).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(file: Path, force: bool, key: bool, as_json: bool, **given: object) -> None:
    """Write a gateway.toml to FILE, asking for everything that no option gives.

    Run it on one of the two machines: it detects that machine's interfaces and addresses and suggests them. It asks
    again if an answer cannot be used. Without a terminal it asks nothing, and lists the missing options (exit code
    64). The file passes `natpair check`; if it does not, the answers are kept in FILE.draft.
    """
    if file.exists() and not force:
        raise Usage(f"{file} exists already", fix="choose another FILE, or overwrite it with --force")
    answers = _answers(given)
    text = _composed(answers, file)
    from natpair.system.files import write_atomic

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, text)
    key_file = file.with_name(Path(paths.KEY).name)
    made = key and _make_key(key_file)
    if as_json:
        emit_json({"schema": "natpair/init/v1", "file": str(file), "answers": answers, "key_made": made})
        return
    say(f"{symbols().good} wrote {file}; it passes natpair check")
    if made:
        say(f"{symbols().good} created {key_file}, the secret that both nodes share")
    _say_next(file, key_file, answers["second.public_address"].partition("/")[0])


def _make_key(file: Path) -> bool:
    """Create the pair's key if it does not exist. Return whether it was created."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(secrets.token_hex(_KEY_BYTES) + "\n")
    return True


def _say_next(file: Path, key_file: Path, peer: str) -> None:
    own, key, folder = shlex.quote(str(file)), shlex.quote(str(key_file)), Path(paths.CONFIG).parent
    talk("next, to try it in a lab on this machine, as root:")
    talk(f"  natpair lab up --config {own}")
    talk("or, to install it on both nodes, on this node as root:")
    if file.resolve() != Path(paths.CONFIG):
        talk(f"  install -D -m 644 {own} {paths.CONFIG}")
        talk(f"  install -D -m 600 {key} {paths.KEY}")
    talk(f"  ssh root@{peer} mkdir -p {folder}")
    talk(f"  scp -p {paths.CONFIG} {paths.KEY} root@{peer}:{folder}/")
    talk("  natpair apply")
    talk(f"  ssh -t root@{peer} natpair apply")
    talk("  natpair status --wait")


def _answers(given: Mapping[str, object]) -> dict[str, str]:
    """The answer for every place: from an option, else from the question, else the detected value."""
    guesses = _guesses()
    answers = dict(_given(given))
    terminal = sys.stdin.isatty() and sys.stderr.isatty()
    missing = []
    for question in QUESTIONS:
        if question.place in answers:
            continue
        guessed = guesses.get(question.place, "")
        if terminal:
            answers[question.place] = _asked(question, guessed, answers)
        elif guessed:
            answers[question.place] = guessed
        else:
            missing.append(question.option)
    if missing:
        raise Usage(
            f"not a terminal, and these options are missing: {', '.join(missing)}",
            fix="give these options, or run the command in a terminal",
        )
    return answers


def _asked(question: Question, guessed: str, answers: Mapping[str, str]) -> str:
    """Ask until the answer can be used together with the earlier `answers`."""
    talk()
    talk(f"({question.why})")
    while True:
        answer = str(click.prompt(question.ask, default=guessed or None, err=True))
        wrong = _wrong_with(question.place, {**answers, question.place: answer})
        if not wrong:
            return answer
        for problem in wrong:
            accepted = f"; accepted: {problem.accepted}" if problem.accepted else ""
            talk(f"  {symbols(sys.stderr).bad} {problem.value}: {problem.message}{accepted}")


def _wrong_with(place: str, answers: Mapping[str, str]) -> list[Problem]:
    """The problems that `natpair check` finds in the answer to one question, given the answers so far."""
    from natpair.config.load import parse

    try:
        parse(_partial(answers))
    except ConfigError as error:
        key = _KEYS.get(place) or place.replace("first.", "node[0].").replace("second.", "node[1].")
        return [one for one in error.problems if one.key == key or one.key.startswith(f"{key}[")]
    return []


def _partial(answers: Mapping[str, str]) -> str:
    from natpair.config.compose import quoted

    def table(header: str, prefix: str) -> str:
        named = {place.removeprefix(prefix): value for place, value in answers.items() if place.startswith(prefix)}
        return f"[[{header}]]\n" + "".join(f"{key} = {quoted(value)}\n" for key, value in named.items())

    fips = ", ".join(map(quoted, answers["fips"].replace(",", " ").split())) if "fips" in answers else ""
    pair = "".join(f"{key} = {quoted(answers[key])}\n" for key in ("vip", "profile") if key in answers)
    region = f"region = {quoted(answers['region'])}\n" if "region" in answers else ""
    nodes = table("node", "first.") + table("node", "second.")
    return f"[pair]\n{pair}{f'fips = [{fips}]' if 'fips' in answers else ''}\n{nodes}[bgp]\n{region}"


def _given(given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for question in QUESTIONS:
        value = given[question.name]
        if isinstance(value, tuple) and value:
            yield question.place, " ".join(map(str, value))
        elif isinstance(value, str):
            yield question.place, value


def _guesses() -> dict[str, str]:
    from natpair.core.guess import Seen, guess
    from natpair.system.machine import look

    try:
        found = guess(look())
    except NatpairError:  # no iproute2, say on a laptop of another kind
        found = guess(Seen())
    known = {
        "first.name": socket.gethostname().split(".")[0].lower(),
        "first.private_interface": found.private_interface,
        "first.private_address": found.private_address,
        "first.public_interface": found.public_interface,
        "first.public_address": found.public_address,
        "first.public_address6": found.public_address6,
        "second.private_address": found.peer_private_address,
        "vip": found.vip,
        "profile": "balanced",
    }
    return {place: str(value) for place, value in known.items() if value is not None}


def _composed(answers: Mapping[str, str], file: Path) -> str:
    """The checked text. Raise ConfigError as `natpair check` would, keeping the answers in a draft file."""
    from natpair.config.compose import Answers, compose
    from natpair.config.load import parse

    first = {place.removeprefix("first."): value for place, value in answers.items() if place.startswith("first.")}
    own = {place.removeprefix("second."): value for place, value in answers.items() if place.startswith("second.")}
    # Two machines of the same kind: the other node's interfaces have the same names as ours.
    second = {"private_interface": first["private_interface"], "public_interface": first["public_interface"], **own}
    fips = answers["fips"].replace(",", " ").split()
    text = compose(Answers(answers["vip"], fips, answers["profile"], answers["region"], first, second))
    draft = file.with_name(f"{file.name}.draft")
    try:
        parse(text, source=str(draft))
    except ConfigError as error:
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        error.fix = f"correct the answers in {draft}, then run natpair check {draft}"
        raise
    return text
