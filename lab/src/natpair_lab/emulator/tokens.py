"""Authorization: bearer tokens, their scopes, and Linodes that a restricted user may only read.

A token without the scope is answered 401, as recorded of the real API; a user without the grant is answered 403.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from natpair_lab.emulator.refused import Complaint, Refused

EVERYTHING = frozenset({"*"})


@dataclass(frozen=True, slots=True)
class Token:
    """What a token allows. `read_only` are Linodes whose grant does not allow changes.

    `denied` are operations, such as `POST /networking/firewalls`, that no grant or role of its user allows.
    """

    scopes: frozenset[str] = EVERYTHING
    read_only: frozenset[int] = frozenset()
    denied: frozenset[str] = frozenset()

    def allows(self, scope: str) -> bool:
        """Whether the token has the scope, or the wider one of the same resource."""
        resource, _, _ = scope.partition(":")
        return bool(self.scopes & {"*", scope, f"{resource}:*", f"{resource}:read_write"})


@dataclass(slots=True)
class Tokens:
    """The tokens that exist. While `open`, any other text is accepted as a token with every scope."""

    known: dict[str, Token] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    open: bool = True

    def set(self, word: str, token: Token | None) -> None:
        """Give a token its scopes, or (None) revoke it."""
        self.known.pop(word, None)
        self.revoked.discard(word)
        if token is None:
            self.revoked.add(word)
        else:
            self.known[word] = token

    def identify(self, headers: Mapping[str, str]) -> Token | None:
        """The token of a request, None if it has none; 401 if it is not valid."""
        header = headers.get("Authorization")
        if header is None:
            return None
        kind, _, word = header.partition(" ")
        word = word.strip()
        usable = kind.lower() == "bearer" and word and word not in self.revoked and (self.open or word in self.known)
        if not usable:
            raise Refused(401, Complaint("Invalid Token"))
        return self.known.get(word, Token())


def authorize(token: Token | None, scopes: tuple[str, ...] | None) -> Token:
    """Check a request's token against what an operation needs; None needs no token at all."""
    if scopes is None:
        return token or Token(frozenset())
    if token is None:
        raise Refused(401, Complaint("Invalid Token"))
    if not all(token.allows(scope) for scope in scopes):
        raise missing_scope()
    return token


def missing_scope() -> Refused:
    """401: the token is valid, but its scopes do not cover this."""
    return Refused(401, Complaint("Your OAuth token is not authorized to use this endpoint."))
