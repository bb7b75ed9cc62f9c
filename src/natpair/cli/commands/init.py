"""`natpair init`: a gateway.toml from a handful of answers; what the machine tells is not asked."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from natpair.cli.output import emit_json, say, symbols, talk
from natpair.errors import NatpairError, Usage


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to know: its option, what is asked, why, and where it goes (`first.name`, `vip` …)."""

    option: str
    place: str
    ask: str
    why: str

    @property
    def name(self) -> str:
        """The option as a Python name."""
        return self.option.removeprefix("--").replace("-", "_")


QUESTIONS = (
    Question("--name", "first.name", "Name of this node", "by it the nodes are told apart, best the host name"),
    Question(
        "--private-interface", "first.private_interface", "Interface on the VLAN", "there are the private instances"
    ),
    Question("--private", "first.private_address", "This node's address there", "with its prefix length"),
    Question("--public-interface", "first.public_interface", "Public interface", "where the default route leaves by"),
    Question("--public", "first.public_address", "This node's own public address", "not a floating one"),
    Question(
        "--public6", "first.public_address6", "This node's global IPv6 address", "by it the route servers are reached"
    ),
    Question("--peer-name", "second.name", "Name of the other node", "as above"),
    Question("--peer-private", "second.private_address", "The other node's address on the VLAN", "in the same subnet"),
    Question("--peer-public", "second.public_address", "The other node's own public address", "with its prefix length"),
    Question(
        "--peer-public6", "second.public_address6", "The other node's global IPv6 address", "see its `ip -6 address`"
    ),
    Question("--vip", "vip", "The VIP", "the gateway address that your private instances use; moves between the nodes"),
    Question("--fip", "fips", "Floating public addresses", "what the world sees; several with blanks between"),
    Question("--region", "region", "Linode region", "it chooses the route servers, such as us-ord"),
    Question(
        "--profile", "profile", "How fast a dead node is noticed", "fast 60 ms, balanced 500 ms, conservative 3 s"
    ),
)


def _options(function: click.decorators.FC) -> click.decorators.FC:
    for question in reversed(QUESTIONS):
        multiple = question.place == "fips"
        text = f"{question.ask}: {question.why}."
        function = click.option(question.option, question.name, multiple=multiple, help=text)(function)
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
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(file: Path, force: bool, as_json: bool, **given: object) -> None:
    """Write a gateway.toml to FILE, asking only what neither an option nor this machine tells.

    Run it on one of the two machines and it finds its own interfaces and addresses. Each guess can be changed at its
    question. Without a terminal nothing is asked: exit code 64 names the options that are missing. What it writes
    passes `natpair check`.
    """
    if file.exists() and not force:
        raise Usage(f"{file} is there already", cure="another FILE, or --force to replace it")
    answers = _answers(given)
    text = _composed(answers, file)
    from natpair.system.files import write_atomic

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, text)
    if as_json:
        emit_json({"schema": "natpair/init/v1", "file": str(file), "answers": answers})
        return
    say(f"{symbols().good} {file} is written and passes natpair check")
    talk("next: the same file on both nodes as /etc/natpair/gateway.toml, one key for both:")
    talk("  head -c 32 /dev/urandom | base64 > pair.key    (mode 0600, to /etc/natpair/pair.key)")
    talk(f"try it first: natpair lab up --config {file}")


def _answers(given: Mapping[str, object]) -> dict[str, str]:
    """Every place with its answer: from an option, else from a question, else from the guess."""
    guesses = _guesses()
    answers = dict(_given(given))
    terminal = sys.stdin.isatty() and sys.stderr.isatty()
    missing = []
    for question in QUESTIONS:
        if question.place in answers:
            continue
        guessed = guesses.get(question.place, "")
        if terminal:
            talk(f"{question.ask}: {question.why}.")
            answers[question.place] = click.prompt("  ", default=guessed or None, err=True, prompt_suffix="")
        elif guessed:
            answers[question.place] = guessed
        else:
            missing.append(question.option)
    if missing:
        raise Usage(f"nobody to ask, and missing: {', '.join(missing)}", cure="give them, or run it in a terminal")
    return answers


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
    """The text, checked: an answer that cannot be used is told as `natpair check` would."""
    from natpair.config.compose import Answers, compose
    from natpair.config.load import parse

    first = {place.removeprefix("first."): value for place, value in answers.items() if place.startswith("first.")}
    own = {place.removeprefix("second."): value for place, value in answers.items() if place.startswith("second.")}
    # Two machines made alike: the other node's interfaces have the names of ours.
    second = {"private_interface": first["private_interface"], "public_interface": first["public_interface"], **own}
    fips = answers["fips"].replace(",", " ").split()
    text = compose(Answers(answers["vip"], fips, answers["profile"], answers["region"], first, second))
    parse(text, source=str(file))
    return text
