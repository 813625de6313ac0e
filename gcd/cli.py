"""
The command line: commands by name, and what the end of each one means to the shell.

The exit status is the OR of `ExitBits`. What the user must hear of is one sentence on stderr. Commands are imported
when they are called, so that ``gcd version`` answers at once.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import signal
import sys
from typing import TYPE_CHECKING

import click

from gcd.model.errors import ExitBits, GcdError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "check": ("gcd.commands.check:check", "Say what is wrong with a Docker root. Changes nothing."),
    "plan": ("gcd.commands.plan:plan", "Show what would be done about findings, and why not the rest."),
    "apply": ("gcd.commands.apply:apply", "Do what the policy says, or what a saved plan holds."),
    "quarantine": ("gcd.commands.quarantine:quarantine", "Move aside what nothing needs; list, put back, purge."),
    "repair": ("gcd.commands.repair:repair", "Mend what can be mended with certainty."),
    "release": ("gcd.commands.release:release", "Have the running engine delete layers that nothing uses."),
    "run": ("gcd.commands.run:run", "Watch a Docker root and serve its figures, as a service."),
    "boot": ("gcd.commands.boot:boot", "Mend what keeps the engine from starting, before it starts."),
    "scrub": ("gcd.commands.scrub:scrub", "Compare what layers hold with what was unpacked into them."),
    "df": ("gcd.commands.df:df", "Say what every byte of a Docker root is for. Changes nothing."),
    "inspect": ("gcd.commands.inspect:inspect", "Show everything that one id, name or path connects to."),
    "history": ("gcd.commands.history:history", "Show what gcd did to a Docker root, and what it refused."),
    "explain": ("gcd.commands.explain:explain", "Explain a code: harm, cause, remedy."),
    "rules": ("gcd.commands.rules:rules", "List all codes."),
    "demo": ("gcd.commands.demo:demo", "Build a small broken Docker root and check it."),
    "config": ("gcd.commands.config:config", "Show the settings in force."),
    "version": ("gcd.commands.version:version", "Print the version."),
}
"""Where each command lives, and its line in ``gcd --help``."""


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF})
"""What only writing ends with: nothing that is read of a root can give these."""


class ClosedStdout(io.TextIOBase):
    """What stands for a stdout that is closed, so that whoever has something to say learns it."""

    def write(self, _text: str) -> int:
        raise OSError(errno.EBADF, "stdout is closed")


class LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415 - for those who mistype

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


EPILOG = (
    "Exit status, added up: 0 clean, 1 something was done, 4 findings left, 8 not done or not in full, "
    "16 usage or settings, 32 interrupted."
)


@click.command(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Fsck and garbage collection for Docker hosts."""


def run(arguments: Sequence[str] | None = None, *, left: list[object] | None = None) -> ExitBits:
    """
    Carry out `arguments` (those of the process if None) and give the exit status; nothing is raised. In `left`, if
    there is one, a command leaves what nobody need take apart before the process ends.
    """
    try:
        return ExitBits(cli.main(args=arguments, prog_name="gcd", standalone_mode=False, obj=left) or 0)
    except SystemExit:
        # How click ends a command whose reader has gone: nobody to tell, and it has seen to the last flush.
        return ExitBits.NOT_DONE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        try:
            _tell(error)
        except OSError:
            # Nobody hears it, so the status must say it; what is left of it goes nowhere when the process ends.
            sys.stderr = io.StringIO()
        return _bits(error)


def _bits(error: Exception | KeyboardInterrupt) -> ExitBits:
    match error:
        case click.UsageError():
            return ExitBits.USAGE
        case GcdError():
            return error.exit_bits
        case KeyboardInterrupt() | click.Abort():
            return ExitBits.INTERRUPTED
        case _:
            # Python's own status for this is 1, which would say that something was mended.
            return ExitBits.NOT_DONE


def _tell(error: Exception | KeyboardInterrupt) -> None:
    """Say what ended the run, in one sentence where it is anything that a user can understand."""
    match error:
        case click.ClickException():
            error.show()
        case GcdError():
            from gcd.report.printable import printable  # noqa: PLC0415 - most runs end without

            click.echo(f"gcd: {printable(str(error))}", err=True)
        case OSError() if error.errno in NO_ROOM:
            click.echo(f"gcd: the output could not be written: {error.strerror}", err=True)
        case KeyboardInterrupt() | click.Abort():
            click.echo("gcd: interrupted; nothing was changed", err=True)
        case _:
            import traceback  # noqa: PLC0415 - for nobody, it is hoped

            traceback.print_exception(error)
            click.echo("gcd: this is a fault of gcd itself; nothing was changed", err=True)


def main() -> None:
    """
    What the process is for. Modules stay as long as it does: nobody looks for cycles among them, neither while they are
    imported nor at the end. So a list that holds itself, with all that is left in it, is never taken apart either: the
    system takes its memory at once.
    """
    gc.disable()
    # What is ignored stays so in a program that is started, and its children could not be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if sys.stdout is None:
        sys.stdout = ClosedStdout()
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    left: list[object] = []
    left.append(left)
    status = run(left=left)
    gc.freeze()
    sys.exit(status)
