"""Entry of the `lucid` command: runs a subcommand, and turns whatever goes wrong into one line and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from lucid.cli.arguments import make_parser
from lucid.cli.errors import UsageError

__all__ = ["main"]

MISUSE, FAILURE, INTERRUPTED = 2, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its arguments; None takes those of the process.

    Returns:
        0; 2 for misuse, 1 for failure, 130 if interrupted.
    """
    parser = make_parser()
    try:
        args, unknown = parser.parse_known_args(argv)
        if unknown:
            args.refuse(f"unrecognized arguments: {' '.join(unknown)}")
    except SystemExit as stop:  # argparse has printed its line, or the help
        return int(stop.code or 0)
    try:
        return int(args.run(args) or 0)
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED, args.debug)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; nothing is left to say to them
        return FAILURE
    except (UsageError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        return _say(error, MISUSE, args.debug)
    except (ValueError, TypeError, ArithmeticError, ImportError, OSError, MemoryError, RuntimeError) as error:
        return _say(error, FAILURE, args.debug)


def _say(error: BaseException | str, code: int, debug: bool) -> int:
    if debug and isinstance(error, BaseException):
        traceback.print_exception(error)
    text = error if isinstance(error, str) else str(error) or type(error).__name__
    print(f"lucid: {' '.join(text.split())}", file=sys.stderr)
    return code
