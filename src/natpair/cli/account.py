"""The commands' way to Linode's API: address and token as gateway.toml and the environment say."""

from __future__ import annotations

import os
from pathlib import Path

from natpair.core.model import Gateway
from natpair.linode.token import read_token
from natpair.linode.transport import Transport


def transport(gateway: Gateway) -> Transport:
    """An unopened connection. Unsupported, with a cure, when there is no token, or when others may read its file."""
    settings = gateway.linode
    token = read_token(Path(settings.token_file) if settings.token_file else None, os.environ)
    return Transport(token, base_url=settings.api_url, plain_http=settings.plain_http)
