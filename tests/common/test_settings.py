"""Settings are read from the environment, and a bad one is named."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from searchmesh_common.server_settings import LogFormat, ServerSettings
from searchmesh_common.settings import (
    SettingsError,
    help_text,
    load,
    setting,
    unknown_variables,
    variables,
)


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark_blue"


@dataclass(frozen=True, kw_only=True)
class Base:
    home: Path = field(default=Path("/tmp/home"), metadata=setting(env="SHARED_HOME"))
    """Folder that
    holds everything."""


@dataclass(frozen=True, kw_only=True)
class Sample(Base):
    name: str
    """What it is called."""

    workers: int = field(default=2, metadata=setting(minimum=1, maximum=8))
    """Threads that work."""

    wait_seconds: float = field(default=0.5, metadata=setting(minimum=0))
    verbose: bool = False
    colour: Colour = Colour.RED
    tags: tuple[str, ...] = ("a", "b")
    certificate: Path | None = None
    limit: int | None = None


def test_reads_every_type() -> None:
    environ = {
        "SHARED_HOME": "/srv/home",
        "S_NAME": " x ",
        "S_WORKERS": "8",
        "S_WAIT_SECONDS": "1e-3",
        "S_VERBOSE": "Yes",
        "S_COLOUR": "dark_blue",
        "S_TAGS": "one, two,",
        "S_CERTIFICATE": "~/cert.pem",
        "S_LIMIT": "",
        "OTHER": "ignored",
    }
    assert load(Sample, "S_", environ) == Sample(
        home=Path("/srv/home"),
        name="x",
        workers=8,
        wait_seconds=0.001,
        verbose=True,
        colour=Colour.DARK_BLUE,
        tags=("one", "two"),
        certificate=Path("~/cert.pem").expanduser(),
        limit=None,
    )


def test_keeps_the_defaults() -> None:
    assert load(Sample, "S_", {"S_NAME": "x"}) == Sample(name="x")


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("S_WORKERS", "9", "S_WORKERS='9' is not a whole number from 1 to 8"),
        ("S_WORKERS", "2.5", "S_WORKERS='2.5' is not a whole number from 1 to 8"),
        ("S_WORKERS", "", "S_WORKERS='' is not a whole number from 1 to 8"),
        ("S_WAIT_SECONDS", "-1", "S_WAIT_SECONDS='-1' is not a number of at least 0"),
        ("S_WAIT_SECONDS", "nan", "S_WAIT_SECONDS='nan' is not a number of at least 0"),
        ("S_WAIT_SECONDS", "inf", "S_WAIT_SECONDS='inf' is not a number of at least 0"),
        ("S_VERBOSE", "maybe", "S_VERBOSE='maybe' is not true or false"),
        ("S_COLOUR", "green", "S_COLOUR='green' is not one of red, dark_blue"),
        ("SHARED_HOME", " ", "SHARED_HOME=' ' is not a path"),
        ("S_LIMIT", "many", "S_LIMIT='many' is not a whole number or empty"),
        ("S_WORKRES", "3", "S_WORKRES is not a setting; did you mean S_WORKERS?"),
    ],
)
def test_names_the_variable_and_what_is_allowed(variable: str, value: str, fault: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(Sample, "S_", {"S_NAME": "x", variable: value})
    assert caught.value.faults == (fault,)


def test_names_all_faults_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load(Sample, "S_", {"S_WORKERS": "x", "S_VERBOSE": "x"})
    assert [fault.split()[0] for fault in caught.value.faults] == [
        "S_NAME",
        "S_WORKERS='x'",
        "S_VERBOSE='x'",
    ]


def test_tells_strangers_from_service_links() -> None:
    environ = {
        "S_NAME": "x",
        "S_SOMETHING_ELSE": "1",
        "S_SERVICE_HOST": "10.0.0.1",
        "S_PORT": "tcp://10.0.0.1:50051",
        "S_PORT_50051_TCP_ADDR": "10.0.0.1",
    }
    assert unknown_variables(Sample, "S_", environ) == ["S_SOMETHING_ELSE"]


def test_help_lists_every_variable_with_default_and_description() -> None:
    text = help_text(Sample, "S_")
    assert "SHARED_HOME  (a path; default: /tmp/home)\n      Folder that holds everything." in text
    assert "S_NAME  (a text; required)" in text
    assert "S_WORKERS  (a whole number from 1 to 8; default: 2)\n      Threads that work." in text
    assert "S_TAGS  (a list separated by commas; default: a,b)" in text
    assert "S_LIMIT  (a whole number or empty; default: none)" in text


def test_every_server_setting_is_documented() -> None:
    listed = variables(ServerSettings, "X_")
    assert [one.name for one in listed if not one.description] == []
    assert load(ServerSettings, "X_", {one.name: one.default or "" for one in listed}) == (
        ServerSettings()
    )


def test_server_settings_refuse_half_a_key_pair() -> None:
    for environ, fault in (
        (
            {"X_TLS_KEY": "key.pem"},
            "X_TLS_CERTIFICATE and X_TLS_KEY are given together or not at all",
        ),
        (
            {"X_TLS_CLIENT_CA": "ca.pem"},
            "X_TLS_CLIENT_CA needs X_TLS_CERTIFICATE and X_TLS_KEY",
        ),
    ):
        with pytest.raises(SettingsError) as caught:
            load(ServerSettings, "X_", environ)
        assert caught.value.faults == (fault,)
    with pytest.raises(SettingsError, match="tls_client_ca needs tls_certificate and tls_key"):
        ServerSettings(tls_client_ca=Path("ca.pem"))
    assert load(ServerSettings, "X_", {"X_LOG_FORMAT": "CONSOLE"}).log_format is LogFormat.CONSOLE
