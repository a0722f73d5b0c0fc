"""The command line: one module per command, heavy imports inside the functions that act."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from segexp.errors import SegexpError, did_you_mean

INTERRUPTED = 130  # the shell's code for Ctrl-C

_INSTEAD_OF_OPTION = {  # options of Hydra's own command line, and what answers them here
    "--multirun": "say `segexp sweep WORDS` for a grid",
    "--cfg": "say `segexp config WORDS` to see the composed config",
    "-c": "say `segexp config WORDS` to see the composed config",
    "--info": "say `segexp options` for what can be chosen, `segexp plan WORDS` for a dry run",
    "-i": "say `segexp options` for what can be chosen, `segexp plan WORDS` for a dry run",
    "--resolve": "say `segexp config WORDS`: it is resolved already",
    "--package": "say `segexp config WORDS`",
    "--config-path": "say --config-dir DIR: its options come before the shipped ones",
    "-cp": "say --config-dir DIR: its options come before the shipped ones",
    "--config-name": "keep an option in conf/experiment/NAME.yaml and say experiment=NAME",
    "-cn": "keep an option in conf/experiment/NAME.yaml and say experiment=NAME",
    "--shell-completion": "say `segexp completion bash` or `segexp completion zsh`",
    "-sc": "say `segexp completion bash` or `segexp completion zsh`",
    "--hydra-help": "say `segexp --help`",
    "--experimental-rerun": "say `segexp run` with the words in the run's overrides.txt",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done; 1 a run failed; 2 something the user can mend; 130 interrupted, by Ctrl-C or by SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter shows its code
            stream.reconfigure(errors="backslashreplace")
    if words[:1] == ["_complete"]:  # a key press waits: answer before anything is imported
        from segexp.cli.completion import complete

        print("\n".join(complete(words[1:])))
        return 0
    try:
        with _stopped_by_sigterm():
            code = _dispatch(words)
            sys.stdout.flush()
        return code
    except SegexpError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # `segexp ls | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _say(f"the output cannot be written: {error.strerror}")
        return 2


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, by which `timeout` and schedulers end a command, do what Ctrl-C does."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _dispatch(words: list[str]) -> int:
    from typer import Abort, TyperException

    from segexp.cli.app import app
    from segexp.cli.completion import COMMANDS

    for word in words:
        option = word.split("=")[0]
        if option in _INSTEAD_OF_OPTION:
            _say(f"{option} is an option of Hydra's: {_INSTEAD_OF_OPTION[option]}")
            return 2
    try:
        code = app(args=words, prog_name="segexp", standalone_mode=False)
    except SystemExit:  # typer's answer to a closed pipe
        return 0
    except Abort:
        raise KeyboardInterrupt from None
    except TyperException as error:
        message = " ".join(error.format_message().split())
        hint = ""
        if words and message.startswith("No such command") and "Did you mean" not in message:
            hint = f"{did_you_mean(words[0], COMMANDS)}; commands: {', '.join(COMMANDS)}"
        if message:  # without any command the help was shown already
            _say(f"{message}{hint}")
        return 2
    if code == INTERRUPTED:  # typer turns Ctrl-C into an exit code
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _say(text: str) -> None:
    """Print one line to standard error; control characters cannot act on the terminal."""
    line = " ".join(text.split())
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    print(f"segexp: {clean}", file=sys.stderr)
