"""How commands reach Linode's API, with the URL and token from gateway.toml and the environment."""

from __future__ import annotations

import os
from pathlib import Path

from natpair.core.model import Gateway
from natpair.linode.token import read_token
from natpair.linode.transport import Transport


def transport(gateway: Gateway) -> Transport:
    """An unopened connection. Raise Unsupported if there is no token or if other users can read its file."""
    settings = gateway.linode
    token = read_token(Path(settings.token_file) if settings.token_file else None, os.environ)
    return Transport(token, base_url=settings.api_url, plain_http=settings.plain_http)
