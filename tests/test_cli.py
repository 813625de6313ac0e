from __future__ import annotations

import os
import platform
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gcd import __version__, cli
from gcd.model.errors import ExitBits, UsageError

GCD = [sys.executable, "-c", "from gcd.cli import main; main()"]
README = Path(__file__).resolve().parent.parent / "README.md"


def gcd(*arguments, **options):
    return subprocess.run([*GCD, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def command(monkeypatch):
    """Put a function in the place of ``gcd version``."""

    def put(function):
        monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: click.Command("version", callback=function))

    return put


def test_the_version_is_that_of_the_package(capsys):
    assert cli.run(["version"]) == ExitBits.CLEAN
    assert capsys.readouterr().out == f"gcd {__version__} (Python {platform.python_version()})\n"


def test_the_version_answers_without_the_slow_imports():
    script = "import sys; from gcd.cli import run; run(['version']); print(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = set(done.stderr.split())

    assert modules & {"rich", "pydantic", "pydantic_settings", "structlog", "prometheus_client", "watchdog"} == set()
    assert "gcd.rules.table" not in modules


def test_help_names_every_command_and_imports_none():
    script = "import sys; from gcd.cli import run; run(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert re.findall(r"^  ([a-z]+)  ", done.stdout, re.MULTILINE) == list(cli.COMMANDS)
    assert not any(name.startswith("gcd.commands.") for name in done.stderr.split())


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert cli.run([name, "--help"]) == ExitBits.CLEAN
    assert "Usage: gcd " + name in capsys.readouterr().out


def test_a_misspelt_command_names_the_nearest(capsys):
    assert cli.run(["chek"]) == ExitBits.USAGE
    assert "there is no command 'chek'; did you mean check?" in capsys.readouterr().err


def test_an_unknown_flag_is_usage(capsys):
    assert cli.run(["version", "--frob"]) == ExitBits.USAGE
    assert "--frob" in capsys.readouterr().err


def test_a_name_in_an_error_reaches_the_terminal_escaped(command, capsys):
    def fail():
        raise UsageError("there is no /srv/a\nb\x1b[2J\udcff")

    command(fail)

    assert cli.run(["version"]) == ExitBits.USAGE
    assert capsys.readouterr().err == "gcd: there is no /srv/a\\nb\\x1b[2J\\xff\n"


def test_an_error_is_one_sentence_and_its_bits(command, capsys):
    def fail():
        raise UsageError("there is no such thing")

    command(fail)

    assert cli.run(["version"]) == ExitBits.USAGE
    assert capsys.readouterr().err == "gcd: there is no such thing\n"


def test_a_fault_of_gcd_itself_is_not_taken_for_something_mended(command, capsys):
    def fail():
        raise ZeroDivisionError

    command(fail)

    assert cli.run(["version"]) == ExitBits.NOT_DONE
    assert "fault of gcd itself" in capsys.readouterr().err


def test_interrupted(command, capsys):
    def fail():
        raise KeyboardInterrupt

    command(fail)

    assert cli.run(["version"]) == ExitBits.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_rules_and_explain_speak_of_the_same_codes(capsys):
    assert cli.run(["rules"]) == ExitBits.CLEAN
    codes = re.findall(r"^GCD\d{3}", capsys.readouterr().out, re.MULTILINE)

    for word in ("101", "gcd101", "orphaned-layer-dir"):
        assert cli.run(["explain", word]) == ExitBits.CLEAN
        assert capsys.readouterr().out.startswith("GCD101 orphaned-layer-dir\n")
    assert codes == sorted(set(codes))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("GCD1O1", "'GCD1O1'; did you mean GCD101 orphaned-layer-dir or"),
        ("orphan-layer-dir", "'orphan-layer-dir'; did you mean GCD101 orphaned-layer-dir or"),
        ("zzz", "'zzz'; gcd rules lists all codes"),
    ],
)
def test_an_unknown_code_is_usage_and_names_the_nearest(word, told, capsys):
    assert cli.run(["explain", word]) == ExitBits.USAGE
    assert capsys.readouterr().err.startswith(f"gcd: there is no code {told}")


def test_children_can_be_waited_for_though_whoever_starts_gcd_ignores_their_end():
    script = (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); from gcd import cli\n"
        "def run(**_left):\n    print(repr(signal.getsignal(signal.SIGCHLD)))\n    return cli.ExitBits.CLEAN\n"
        "cli.run = run; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "<Handlers.SIG_DFL: 0>\n"


def test_what_a_command_leaves_to_the_end_of_the_process_is_never_taken_apart():
    script = (
        "from gcd import cli\n"
        "class Mortal:\n    def __del__(self):\n        print('taken apart', flush=True)\n"
        "def run(*, left):\n    left.append(Mortal())\n    Mortal()\n    return cli.ExitBits.CLEAN\n"
        "cli.run = run; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "taken apart\n"


def test_a_real_interrupt_ends_with_32():
    script = (
        "import click, signal, time; from gcd import cli\n"
        # Whoever starts the tests in the background may have SIGINT ignored, and that is inherited.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def wait():\n    print('ready', flush=True)\n    time.sleep(120)\n"
        "cli.LazyGroup.get_command = lambda *_: click.Command('version', callback=wait)\n"
        "import sys; sys.argv = ['gcd', 'version']; cli.main()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)

    assert process.returncode == ExitBits.INTERRUPTED
    assert told.strip() == b"gcd: interrupted; nothing was changed"


def test_a_reader_that_goes_away_is_met_with_silence():
    with subprocess.Popen([*GCD, "rules"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        told = process.stderr.read()
        process.wait(timeout=60)

    assert told == b""
    assert process.returncode == ExitBits.NOT_DONE


def test_the_version_imports_no_more_than_it_needs():
    """What makes it fast; `make bench` measures how fast."""
    program = "import sys; from gcd.cli import run; run(['version']); print(*sys.modules)"

    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    loaded = {name.split(".")[0] for name in said.split()}
    assert "click" in loaded
    assert (
        loaded & {"rich", "pydantic", "pydantic_settings", "structlog", "prometheus_client", "docker", "sqlite3"}
        == set()
    )
    assert {name for name in said.split() if name.startswith("gcd.") and name.count(".") > 1} <= {
        "gcd.commands.version",
        "gcd.model.errors",
    }


def test_the_readme_names_every_command():
    text = README.read_text()

    assert [name for name in cli.COMMANDS if f"gcd {name}" not in text] == []


def through_shell(redirection, *arguments):
    command = " ".join(shlex.quote(word) for word in (*GCD, *map(str, arguments)))
    return subprocess.run(
        ["sh", "-c", f"{command} {redirection}"], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("arguments", [("version",), ("rules",)])
def test_with_stdout_closed_one_sentence_says_so(arguments):
    done = through_shell(">&-", *arguments)

    told = "gcd: the output could not be written: stdout is closed\n"
    assert (done.returncode, done.stderr) == (ExitBits.NOT_DONE, told)


@pytest.mark.parametrize("arguments", [("version",), ("rules",)])
def test_a_full_disk_behind_stdout_is_one_sentence(arguments):
    done = through_shell("> /dev/full", *arguments)

    assert (done.returncode, done.stderr) == (
        ExitBits.NOT_DONE,
        "gcd: the output could not be written: No space left on device\n",
    )


@pytest.mark.parametrize(
    ("arguments", "bits"),
    [
        (("chek",), ExitBits.USAGE),
        (("explain", "GCD999"), ExitBits.USAGE),
        (("check", "--root", "/nowhere"), ExitBits.NOT_DONE),
    ],
)
@pytest.mark.parametrize("redirection", ["", "2> /dev/full", "2>&-"])
def test_where_nobody_hears_why_the_status_says_it(arguments, bits, redirection):
    """Python's own status would be 1, which says that something was done. Without redirection the reader has gone."""
    reader, stderr = os.pipe()
    os.close(reader)
    command = " ".join(shlex.quote(word) for word in (*GCD, *arguments))
    try:
        done = subprocess.run(["sh", "-c", f"{command} {redirection}"], stderr=stderr, timeout=60, check=False)
    finally:
        os.close(stderr)

    assert done.returncode == bits
