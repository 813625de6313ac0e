from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gcd.commands.wishes import policy_of
from gcd.model.errors import UsageError
from gcd.model.finding import Code, Confidence, Kind, Severity
from gcd.policy.policy import Verb
from gcd.policy.windows import Weekday
from gcd.settings import FailOn, LogLevel, ReportFormat, Settings, load
from gcd.settings.checked import checked
from gcd.settings.sample import sample, toml_value
from gcd.settings.units import duration_in_words, hours_of, nanoseconds, zone_of

SAMPLE = Path(__file__).resolve().parent.parent / "config" / "gcd.toml"


@pytest.fixture
def directory(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    (tmp_path / "conf.d").mkdir()
    return tmp_path


def test_without_any_source_the_defaults_hold(directory):
    loaded = load({}, directory=directory)

    assert loaded.settings.root is None
    assert loaded.settings.state_dir == Path("/var/lib/gcd")
    assert loaded.settings.fail_on is FailOn.WARNING
    assert set(loaded.origins.values()) == {"default"}


def test_the_defaults_are_those_that_are_checked(directory):
    assert load({}, directory=directory).settings == Settings() == checked({})


def test_flags_say_the_same_with_a_file_and_without(directory):
    flags = {
        "root": "/srv/docker",
        "format": "json",
        "fail_on": "never",
        "log_level": LogLevel.DEBUG,
        "only": ("GCD101",),
        "skip": None,
    }

    alone = load(flags, directory=directory)
    (directory / "gcd.toml").write_text("")

    assert alone == load(flags, directory=directory)
    assert alone.settings.root == Path("/srv/docker")
    assert alone.settings.format is ReportFormat.JSON
    assert alone.settings.fail_on is FailOn.NEVER
    assert alone.settings.only == ("GCD101",)
    assert {key for key, origin in alone.origins.items() if origin == "flag"} == {
        "root",
        "format",
        "fail_on",
        "log_level",
        "only",
    }


def test_other_flags_are_checked(directory):
    with pytest.raises(UsageError) as raised:
        load({"web": {"listen_address": "nowhere"}}, directory=directory)

    assert str(raised.value) == (
        "flag: web.listen_address = 'nowhere' does not fit: it must be a host and a port such as 127.0.0.1:9871, :9871 "
        "or [::1]:9871, or empty"
    )


def _denied(*_arguments):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize(("call", "name"), [("lstat", "gcd.toml"), ("listdir", "conf.d")])
def test_what_cannot_be_looked_for_is_told(directory, monkeypatch, call, name):
    monkeypatch.setattr(os, call, _denied)

    with pytest.raises(UsageError) as raised:
        load({}, directory=directory)

    assert str(raised.value) == f"{directory}/{name} cannot be read: Permission denied"


def test_without_a_directory_nothing_is_said(directory):
    assert load({}, directory=directory / "none").settings == Settings()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.mkdir, "Is a directory"),
        (os.mkfifo, "it is a pipe"),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: path.write_bytes(b"#" * ((1 << 20) + 1)), "it is larger than 1 MiB"),
        (lambda path: path.write_text("only = " + "[" * 5000 + "]" * 5000), "it is nested too deeply"),
        (lambda path: path.write_text("accept = " + "{a=" * 5000 + "1" + "}" * 5000), "it is nested too deeply"),
        (
            lambda path: path.write_text("[policy]\nmin_size = " + "9" * 5000),
            "a number in it has too many digits",
        ),
    ],
)
@pytest.mark.parametrize("name", ["gcd.toml", "conf.d/10.toml"])
def test_what_is_there_and_cannot_be_read_is_told(directory, make, why, name):
    """Nothing is acted upon without what a file would have protected."""
    make(directory / name)

    with pytest.raises(UsageError) as raised:
        load({}, directory=directory)

    assert str(raised.value) == f"{directory}/{name} cannot be read as TOML: {why}"


def test_files_that_a_shell_would_not_find_are_not_read(directory):
    """Such as the locks of editors, which lead nowhere."""
    (directory / "conf.d" / ".#10.toml").symlink_to("ann@host.4711")
    (directory / "conf.d" / "10.toml~").write_text("[")

    assert load({}, directory=directory).settings == Settings()


def test_a_file_that_is_masked_says_nothing(directory):
    (directory / "gcd.toml").symlink_to("/dev/null")

    assert load({}, directory=directory).settings == Settings()


def test_what_is_no_table_is_told_though_a_later_layer_says_something_of_it(directory):
    (directory / "gcd.toml").write_text("web = true\n")

    with pytest.raises(UsageError) as raised:
        load({"web": {"listen_address": ":1"}}, directory=directory)

    assert str(raised.value) == (f"{directory}/gcd.toml: web = ... does not fit: it must be a table")


def test_later_layers_win_and_each_value_knows_its_origin(directory, monkeypatch):
    (directory / "gcd.toml").write_text('root = "/a"\nformat = "json"\nfail_on = "never"\nskip = ["GCD104"]\n')
    (directory / "conf.d" / "20.toml").write_text('root = "/c"\nfail_on = "error"\n')
    (directory / "conf.d" / "10.toml").write_text('root = "/b"\n')
    monkeypatch.setenv("GCD_FAIL_ON", "warning")

    loaded = load({"format": "text", "root": None}, directory=directory)

    assert loaded.settings.root == Path("/c")
    assert loaded.settings.format is ReportFormat.TEXT
    assert loaded.settings.fail_on is FailOn.WARNING
    assert loaded.settings.skip == ("GCD104",)
    assert loaded.origins["root"] == str(directory / "conf.d" / "20.toml")
    assert loaded.origins["format"] == "flag"
    assert loaded.origins["fail_on"] == "GCD_FAIL_ON"
    assert loaded.origins["skip"] == str(directory / "gcd.toml")


def test_files_are_read_in_the_order_of_their_names(directory):
    for number in (50, 10, 90, 30, 70, 20, 80, 40, 60):
        (directory / "conf.d" / f"{number}.toml").write_text(f'root = "/{number}"\n')

    assert load({}, directory=directory).settings.root == Path("/90")


@pytest.mark.parametrize("address", ["", ":9871", "127.0.0.1:0", "[::1]:9871", "host-1.example.com:80"])
def test_where_to_listen(directory, address):
    (directory / "gcd.toml").write_text(f'[web]\nlisten_address = "{address}"\n')

    assert load({}, directory=directory).settings.web.listen_address == address


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('every = "30s"', "scrub.every = '30s' does not fit: it must be 0s, for never, or lie between 1m and 3650d"),
        (
            'every = "3651d"',
            "scrub.every = '3651d' does not fit: it must be 0s, for never, or lie between 1m and 3650d",
        ),
        ("bandwidth = 0", "scrub.bandwidth = 0 does not fit: it must be more than nothing, or a scrub would never end"),
        ('depth = "deep"', "scrub.depth = 'deep' does not fit: Input should be 'quick' or 'full'"),
    ],
)
def test_scrubs_that_cannot_be(directory, text, told):
    (directory / "gcd.toml").write_text(f"[scrub]\n{text}\n")

    with pytest.raises(UsageError) as raised:
        load({}, directory=directory)

    assert str(raised.value) == f"{directory}/gcd.toml: {told}"


def test_scrubs_by_default_and_none(directory):
    assert load({}, directory=directory).settings.scrub.every == timedelta(days=30)
    (directory / "gcd.toml").write_text('[scrub]\nevery = "0s"\n')

    assert load({}, directory=directory).settings.scrub.every == timedelta(0)


def test_a_hash_is_a_secret(directory):
    hashed = "$2y$10$" + "a" * 53
    (directory / "gcd.toml").write_text(f'[web.users]\nann = "{hashed}"\n')

    settings = load({}, directory=directory).settings

    assert settings.web.users["ann"].get_secret_value() == hashed
    assert hashed not in repr(settings)
    assert toml_value(settings.web.users) == '{ ann = "**********" }'


def test_codes_in_the_environment_are_separated_by_commas(directory, monkeypatch):
    monkeypatch.setenv("GCD_SKIP", "GCD104, GCD113,")

    assert load({}, directory=directory).settings.skip == ("GCD104", "GCD113")


def test_the_state_directory_moves_with_its_variable(directory, monkeypatch):
    monkeypatch.setenv("GCD_STATE_DIR", "/elsewhere")

    assert load({}, directory=directory).settings.state_dir == Path("/elsewhere")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('fial_on = "error"', "there is no setting 'fial_on'; did you mean fail_on?"),
        ('zzzz = "error"', "there is no setting 'zzzz'; the settings are root, state_dir, format,"),
        ('fail_on = "sometimes"', "fail_on = 'sometimes' does not fit: Input should be 'error', 'warning' or 'never'"),
        ("root = [", "cannot be read as TOML"),
        ("root = 1", "root = 1 does not fit: it must be a path, as a text that is not empty"),
        ("root = ''", "root = '' does not fit: it must be a path, as a text that is not empty"),
        ('root = "/a\\u0000b"', r"root = '/a\x00b' does not fit: no path holds the character U+0000"),
        ("state_dir = ''", "state_dir = '' does not fit: it must be a path"),
        ("ROOT = '/a'", "there is no setting 'ROOT'; did you mean root or protect?"),
        ("root = \xff", "cannot be read as TOML"),
        ("[root]\nfail_on = 1", "root = {'fail_on': 1} does not fit"),
        ("[polcy]\ngrace = '1h'", "there is no setting 'polcy'; did you mean policy"),
        ("[policy]\ngracee = '1h'", "there is no setting 'policy.gracee'; did you mean grace?"),
        ("[policy]\nzzzz = '1h'", "there is no setting 'policy.zzzz'; the settings of policy are codes, kinds,"),
        ("[policy.kinds]\norphans = 'report'", "there is no setting 'policy.kinds.orphans'; did you mean orphan?"),
        ("[policy.severities]\nwarn = 'report'", "'policy.severities.warn'; did you mean warning?"),
        ("[[policy.windows]]\nhour = '1'", "there is no setting 'policy.windows[0].hour'; did you mean hours?"),
        ("[accept.x]\nresaon = 'y'", "there is no setting 'accept.x.resaon'; did you mean reason?"),
        ("[hooks]\non_find = []", "there is no setting 'hooks.on_find'; did you mean on_finding"),
        ("policy = 1", "policy = 1 does not fit"),
        ("[policy]\ngrace = 24", "policy.grace = 24 does not fit: it must be a text such as 90s, 30m,"),
        ("[policy]\ngrace = '-1h'", "policy.grace = '-1h' does not fit"),
        ("[policy]\nmin_size = '12 apples'", "policy.min_size = '12 apples' does not fit"),
        ("[policy]\nmin_size = -1", "policy.min_size = -1 does not fit: it must be a whole number of bytes, or a text"),
        ("[policy]\nmin_size = true", "policy.min_size = True does not fit: it must be a whole number of bytes, or a"),
        (
            "[policy]\nmin_size = nan",
            "policy.min_size = nan does not fit: it must be a whole number of bytes, or a text",
        ),
        ("[policy]\nmax_items = true", "policy.max_items = True does not fit: it must be a whole number"),
        ("[policy]\nmax_items = 0", "policy.max_items = 0 does not fit"),
        ("[policy]\ngrace = '\u0661h'".encode().decode("latin-1"), "does not fit: it must be a text such as 90s, 30m,"),
        ("[policy]\nmin_confidence = 'provn'", "policy.min_confidence = 'provn' does not fit"),
        ("[policy.codes]\nGCD101 = 'delete'", "policy.codes.GCD101.0 = 'delete' does not fit"),
        ("[policy.codes]\nGCD101 = []", "it must be ignore or report alone, or one or more of repair, release and"),
        ("[policy.kinds]\norphan = ['report', 'repair']", "it must be ignore or report alone"),
        (
            "[[policy.windows]]\nhours = '22:00'",
            "policy.windows.0.hours = '22:00' does not fit: it must be",
        ),
        ("[[policy.windows]]\nhours = '24:00-01:00'", "no hour of a day is later than 24:00, and none begins there"),
        ("[[policy.windows]]\nhours = '20:00-24:30'", "no hour of a day is later than 24:00, and none begins there"),
        ("[[policy.windows]]\nhours = '20:00-25:00'", "it must be two times of a day"),
        ("[[policy.windows]]\nhours = '1:00-2:00'\n", "it must be two times of a day"),
        ("[[policy.windows]]\nhours = '01:00-02:00'\ndays = ['mo']", "policy.windows.0.days.0 = 'mo' does not fit"),
        ("[[policy.windows]]\nhours = '01:00-02:00'\nzone = 'Mars/Base'", "it is no time zone that this host knows"),
        ("[[policy.windows]]\nhours = '01:00-02:00'\nzone = '../passwd'", "it is no time zone that this host knows"),
        ("[[policy.windows]]\ndays = ['sat']", "gcd.toml: policy.windows.0.hours is missing"),
        ("[[policy.windows]]\nhours = '01:00-02:00'\ndays = []", "policy.windows.0.days = [] does not fit: it must"),
        ("[policy.windows]\nhours = '01:00-02:00'", "{'hours': '01:00-02:00'} does not fit: it must be a list"),
        ("[accept.x]\nuntil = 2027-01-01", "gcd.toml: accept.x.reason is missing"),
        ("[accept]\nx = 'because'", "accept.x = 'because' does not fit: it must be a table"),
        ("[accept.x]\nreason = ''", "accept.x.reason = '' does not fit: String should have at least 1 character"),
        ("[accept.x]\nreason = 'y'\nuntil = 'soon'", "accept.x.until = 'soon' does not fit: it must be a day or an"),
        ("[accept.x]\nreason = 'y'\nuntil = 07:00:00", "accept.x.until = datetime.time(7, 0) does not fit: it must be"),
        ("[accept.x]\nreason = 'y'\nuntil = 1", "accept.x.until = 1 does not fit: it must be a day or an instant"),
        ("[accept.x]\nreason = '" + "y" * 500 + "'\nuntil = 1", "accept.x.until = 1 does not fit"),
        ("fail_on = '" + "y" * 500 + "'", f"gcd.toml: fail_on = '{'y' * 57}...{'y' * 58}' does not fit: Input should"),
        ("only = " + "[" * 400 + "]" * 400, "gcd.toml: only.0 = [[[[[[[...]]]]]]] does not fit: Input should be a"),
        ("[daemon]\nreconcile = '1m'", "there is no setting 'daemon.reconcile'; did you mean reconcile_interval?"),
        ("[daemon]\nreconcile_interval = '0s'", "daemon.reconcile_interval = '0s' does not fit: it must lie between"),
        ("[daemon]\nreconcile_interval = '2d'", "daemon.reconcile_interval = '2d' does not fit: it must lie between"),
        ("[hooks]\ntimeout = '31s'", "hooks.timeout = '31s' does not fit: it must be 30s at most, for gcd run"),
        ("[daemon]\nsettle = '11s'", "daemon.settle = '11s' does not fit: it must be 10s at most"),
        ("[daemon]\nact = 'perhaps'", "daemon.act = 'perhaps' does not fit"),
        ("[web]\nlisten_adress = ':1'", "there is no setting 'web.listen_adress'; did you mean listen_address?"),
        ("[web]\nlisten_address = '9871'", "web.listen_address = '9871' does not fit: it must be a host and a port"),
        ("[web]\nlisten_address = 'a:65536'", "web.listen_address = 'a:65536' does not fit"),
        ("[web]\nlisten_address = 'a b:1'", "web.listen_address = 'a b:1' does not fit"),
        ("[web]\ntls_cert = '/a'", "gcd.toml: web does not fit: tls_cert and tls_key belong together: set both"),
        ("[web]\ntls_cert = '/a'\ntls_key = ''", "web.tls_key = '' does not fit: it must be a path"),
        (
            "[web.users]\nann = ['hunter2']",
            "gcd.toml: web.users.ann = ... does not fit: Input should be a valid string",
        ),
        ("[[web]]\n[web.users]\nann = 'hunter2'", "gcd.toml: web = ... does not fit: it must be a table"),
        ("[web.users]\nann = 'hunter2'", "web.users.ann = ... does not fit: it must be the bcrypt hash of a password"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(directory, text, told):
    (directory / "gcd.toml").write_bytes(text.encode("latin-1"))

    with pytest.raises(UsageError, match=r"gcd\.toml") as raised:
        load({}, directory=directory)

    assert told in str(raised.value)


def test_a_bad_variable_is_named(directory, monkeypatch):
    monkeypatch.setenv("GCD_FORMAT", "yaml")

    with pytest.raises(UsageError, match="GCD_FORMAT: format = 'yaml' does not fit"):
        load({}, directory=directory)


def test_foreign_variables_are_remarked_upon_and_no_error(directory, monkeypatch):
    monkeypatch.setenv("GCD_SERVICE_PORT", "tcp://10.0.0.1:80")

    monkeypatch.setenv("GCD_ROOT__PORT", "80")
    monkeypatch.setenv("GCD_POLICY__GRACE", "72h")
    monkeypatch.setenv("gcd_format", "json")

    assert load({}, directory=directory).strangers == ("GCD_ROOT__PORT", "GCD_SERVICE_PORT")


def test_the_sample_is_the_one_that_the_settings_give():
    assert SAMPLE.read_text() == sample()


def test_the_sample_uncommented_is_valid(directory):
    settings = [line.removeprefix("# ") for line in sample().splitlines() if line.startswith("# ")]
    lines = [line for line in settings if " = " in line or line.startswith("[")]
    (directory / "gcd.toml").write_text("\n".join(lines))

    assert set(load({}, directory=directory).origins.values()) == {str(directory / "gcd.toml")}


def test_the_tables_are_read_whole(directory):
    (directory / "gcd.toml").write_text(
        """
        [policy]
        min_confidence = "suspected"
        grace = "36h"
        min_size = "10MiB"
        max_items = 7
        max_bytes = 1000
        offline_node = true
        windows = [{ days = ["sat"], hours = "22:00-04:30", zone = "Europe/Berlin" }, { hours = "00:00-24:00" }]
        [policy.codes]
        GCD211 = ["release", "quarantine"]
        [policy.kinds]
        orphan = "quarantine"
        [policy.severities]
        info = "ignore"
        [protect]
        codes = ["GCD116"]
        findings = ["GCD101:*"]
        images = ["shop/*"]
        containers = ["db-*"]
        labels = ["keep"]
        [quarantine]
        retention = "3d"
        [hooks]
        on_finding = ["/bin/tell", "-x"]
        timeout = "30s"
        """
    )

    settings = load({}, directory=directory).settings

    assert settings.policy.min_confidence is Confidence.SUSPECTED
    assert settings.policy.grace == timedelta(hours=36)
    assert settings.policy.min_size == 10 << 20
    assert (settings.policy.max_items, settings.policy.max_bytes) == (7, 1000)
    assert settings.policy.offline_node
    assert [(w.days, w.hours, w.zone) for w in settings.policy.windows] == [
        ((Weekday.SATURDAY,), "22:00-04:30", "Europe/Berlin"),
        (tuple(Weekday), "00:00-24:00", "UTC"),
    ]
    assert settings.policy.codes == {"GCD211": (Verb.RELEASE, Verb.QUARANTINE)}
    assert settings.policy.kinds == {Kind.ORPHAN: (Verb.QUARANTINE,)}
    assert settings.policy.severities == {Severity.INFO: (Verb.IGNORE,)}
    assert settings.protect.codes == ("GCD116",)
    assert settings.protect.findings == ("GCD101:*",)
    assert settings.protect.images == ("shop/*",)
    assert settings.protect.containers == ("db-*",)
    assert settings.protect.labels == ("keep",)
    assert settings.quarantine.retention == timedelta(days=3)
    assert settings.hooks.on_finding == ("/bin/tell", "-x")
    assert settings.hooks.on_action == ()
    assert settings.hooks.timeout == timedelta(seconds=30)


def test_tables_of_several_files_are_merged_and_each_key_knows_its_origin(directory, monkeypatch):
    (directory / "gcd.toml").write_text('[policy]\ngrace = "48h"\nmax_items = 3\n[policy.codes]\nGCD101 = "report"\n')
    (directory / "conf.d" / "10.toml").write_text('[policy]\nmax_items = 4\n[policy.codes]\nGCD102 = "report"\n')
    monkeypatch.setenv("GCD_POLICY__GRACE", "72h")

    loaded = load({}, directory=directory)

    assert loaded.settings.policy.grace == timedelta(hours=72)
    assert loaded.settings.policy.max_items == 4
    assert loaded.settings.policy.codes == {"GCD101": (Verb.REPORT,), "GCD102": (Verb.REPORT,)}
    assert loaded.origins["policy.grace"] == "GCD_POLICY__GRACE"
    assert loaded.origins["policy.max_items"] == str(directory / "conf.d" / "10.toml")
    assert loaded.origins["policy.codes"] == f"{directory / 'gcd.toml'}, {directory / 'conf.d' / '10.toml'}"
    assert loaded.origins["policy.min_size"] == "default"
    assert loaded.value("policy.grace") == timedelta(hours=72)


def test_what_is_said_last_of_a_code_comes_last_whatever_it_is_called(directory):
    """A code can be written in several ways, and the last one counts."""
    (directory / "gcd.toml").write_text('[policy.codes]\nGCD101 = "quarantine"\n')
    (directory / "conf.d" / "10.toml").write_text('[policy.codes]\n101 = "report"\n')
    (directory / "conf.d" / "20.toml").write_text('[policy.codes]\nGCD101 = "ignore"\n')

    settings = load({}, directory=directory).settings

    assert list(settings.policy.codes) == ["101", "GCD101"]
    assert policy_of(settings).codes == {Code("GCD101"): (Verb.IGNORE,)}


def test_an_unknown_variable_of_a_table_is_an_error(directory, monkeypatch):
    monkeypatch.setenv("GCD_POLICY__GRACEE", "72h")

    with pytest.raises(
        UsageError, match=r"GCD_POLICY__GRACEE: there is no setting 'policy.gracee'; did you mean grace"
    ):
        load({}, directory=directory)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GCD_ACCEPT", "{"),
        ("GCD_PROTECT__IMAGES", "shop/*,bank/*"),
        ("GCD_HOOKS__ON_FINDING", "/usr/local/bin/tell"),
        ("GCD_POLICY", "[" * 20_000),
        ("GCD_WEB__USERS", '{"ann": "hunter2"'),
    ],
)
def test_a_list_or_table_in_a_variable_that_is_no_json_is_told(directory, monkeypatch, name, value):
    monkeypatch.setenv("GCD_PROTECT__CODES", '["GCD116"]')
    monkeypatch.setenv(name, value)

    with pytest.raises(UsageError) as raised:
        load({}, directory=directory)

    assert str(raised.value) == f'{name} cannot be read: write it as JSON, such as ["a", "b"] or {{"a": "b"}}'


@pytest.mark.parametrize(
    ("until", "last_moment"),
    [
        ("2027-01-31", datetime(2027, 2, 1, tzinfo=UTC)),
        ("'2027-01-31'", datetime(2027, 2, 1, tzinfo=UTC)),
        ("2027-01-31T12:00:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("'2027-01-31T12:00:00+02:00'", datetime(2027, 1, 31, 10, tzinfo=UTC)),
        ("2027-01-31T12:00:00", datetime(2027, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_a_day_is_over_at_its_end_and_an_instant_at_once(directory, until, last_moment):
    """A variable can only hold texts."""
    (directory / "gcd.toml").write_text(f"[accept.x]\nreason = 'y'\nuntil = {until}\n")

    (acceptance,) = load({}, directory=directory).settings.acceptances

    assert acceptance.until_ns == int(last_moment.timestamp()) * 1_000_000_000


def test_the_last_day_of_the_calendar_has_an_end(directory):
    (directory / "gcd.toml").write_text("[accept.x]\nreason = 'y'\nuntil = 9999-12-31\n")

    (acceptance,) = load({}, directory=directory).settings.acceptances

    assert acceptance.until_ns == 253_402_300_800 * 1_000_000_000


def test_a_flag_that_says_nothing_is_told(directory):
    with pytest.raises(UsageError) as raised:
        load({"root": ""}, directory=directory)

    assert str(raised.value) == "flag: root = '' does not fit: it must be a path, as a text that is not empty"


@pytest.mark.parametrize(
    ("duration", "told"),
    [
        (timedelta(milliseconds=200), "200ms"),
        (timedelta(milliseconds=1500), "1500ms"),
        (timedelta(hours=24), "24h"),
        (timedelta(days=14), "14d"),
        (timedelta(seconds=90), "90s"),
        (timedelta(minutes=1), "60s"),
        (timedelta(0), "0s"),
        (timedelta(hours=36), "36h"),
    ],
)
def test_durations_are_told_as_they_are_written(duration, told):
    assert duration_in_words(duration) == told


def test_units():
    assert nanoseconds(timedelta(hours=1)) == 3_600_000_000_000
    assert hours_of("22:00-04:30") == (time(22), time(4, 30))
    assert hours_of("00:00-24:00") == (time(0), time(0))
    assert zone_of("UTC") is UTC
    assert zone_of("Europe/Berlin") == ZoneInfo("Europe/Berlin")
