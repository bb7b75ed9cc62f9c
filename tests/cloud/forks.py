"""`natpair` in processes that start at once: forked from one that has imported everything. Reads a command line as JSON
on each line, answers with the process's number and, when it has ended, its status.
"""

from __future__ import annotations

import json
import os
import sys

import natpair.cli.commands.cloud_apply
import natpair.cli.commands.cloud_state
import natpair.cloud.applying
import natpair.cloud.destroy
import natpair.cloud.health
import natpair.config.load
import natpair.linode.transport
import natpair.system.files  # noqa: F401
from natpair.cli.main import run

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os._exit(run(json.loads(line)))
    print(child, flush=True)  # noqa: T201 - the answers
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201
