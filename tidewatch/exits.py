"""The exit codes of the command line; they are stable, and docs/cli.md lists them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a verb ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    REJECTED = 4
    DIFFERS = 5
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "Done.",
    Exit.FAILED: "Failed; the reason and what to do are on stderr.",
    Exit.USAGE: "The command line is wrong; nothing was done.",
    Exit.REFUSED: "Nothing runs (`broker status`), or a worker or sink refused to go on and said why.",
    Exit.REJECTED: "All good input was handled, but some input was bad and was left out or set aside.",
    Exit.DIFFERS: "What is there is not as it should be; the output says what differs and how to mend it.",
    Exit.INTERRUPTED: "Stopped by Ctrl-C before it was done.",
}
