"""`web`: the page and the API behind it."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import CONFIG_NAME, ExitCode, Session, command, session_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from crypto_tracker.app.web import HomeAccess
    from crypto_tracker.config.tree import Configuration
    from crypto_tracker.config.web import Web
    from crypto_tracker.strategies.base import Strategy


class Opened(StrEnum):
    """What this machine may do without a token."""

    NONE = "none"
    READ = "read"
    CONTROL = "control"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = ("web", "web --port 8081 --open-to-loopback read", "web --host 0.0.0.0")
    command(app, "web", examples=examples)(web)


def web(
    context: typer.Context,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="ADDRESS", help="Where it listens; else web.host (127.0.0.1)."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65_535, help="Its port; 0 for any that is free; else web.port (8080)."
        ),
    ] = None,
    open_to_loopback: Annotated[
        Opened | None,
        typer.Option(
            "--open-to-loopback",
            metavar="none|read|control",
            help="What this machine may do without a token; else web.open_to_loopback.",
        ),
    ] = None,
) -> None:
    """Serve the page and its API: everything that is under HOME, for browsers and programs.

    Who looks needs a token, which `tokens create` makes, unless this machine is let in without one. It reads
    the same files as the other services and runs beside them; commands that are given on the page are noted
    for the trader, which answers them. It speaks HTTP: for other machines put a server that speaks TLS in
    front of it (docs/api.md). Ctrl-C ends it.
    """
    import asyncio
    import logging

    from crypto_tracker import __version__
    from crypto_tracker.app.serving.desk import HomeDesk
    from crypto_tracker.app.supervising import end_with_parent
    from crypto_tracker.app.web import Configured, HomeAccess, checked, listen, page_folder, serve
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.desk.web.application import create_app
    from crypto_tracker.store.access import AccessStore

    session = _from_the_root(session_of(context))
    end_with_parent(session.environment)
    settings = checked(_settings(session.configuration, host, port, open_to_loopback))
    logging.basicConfig(format="%(levelname)s %(message)s")

    def now_ms() -> int:
        return to_ms(session.now())

    configured = Configured(session.config_path or session.home / CONFIG_NAME, lambda: _fresh(session))
    page = page_folder()
    desk = HomeDesk(session.make_home(), configured, now_ms, now_ms(), __version__)
    desk.prepare()
    try:
        with (
            AccessStore.open(session.home) as store,
            listen(settings.host, _port(settings, port)) as listening,
        ):
            access = HomeAccess(store, now_ms)
            app = create_app(
                desk,
                access,
                settings,
                now_ms=now_ms,
                code_version=__version__,
                configuration_file=configured.text,
                static=page,
            )
            _announce(session, settings, listening, access, with_page=page is not None)
            asyncio.run(serve(app, listening))
    finally:
        desk.close()
    raise SystemExit(int(ExitCode.INTERRUPTED))


def _from_the_root(session: Session) -> Session:
    """The session with files named from the root on: of such names answers tell the last part only."""
    from dataclasses import replace

    named = session.config_path
    return replace(
        session, home=session.home.absolute(), config_path=None if named is None else named.absolute()
    )


def _port(settings: "Web", named: int | None) -> int:
    return settings.port if named is None else named


def _settings(
    configuration: "Configuration", host: str | None, port: int | None, opened: Opened | None
) -> "Web":
    """The settings with what was said on the command line; port 0 is known once it listens."""
    named = {
        "host": host,
        "port": port or None,
        "open_to_loopback": None if opened is None else opened.value,
    }
    kept = {name: value for name, value in named.items() if value is not None}
    return configuration.web.model_validate(configuration.web.model_dump() | kept)


def _fresh(session: Session) -> "tuple[Configuration, Mapping[str, Strategy]]":
    """The configuration as it stands in its file now."""
    from dataclasses import replace

    again = replace(session)
    return again.configuration, again.strategies


def _announce(
    session: Session, settings: "Web", listening: "socket.socket", access: "HomeAccess", *, with_page: bool
) -> None:
    """Say where it listens, to whom it answers, and what may be missing."""
    from crypto_tracker.app.web import address_of, reaches_further

    lines = [f"{'page and API' if with_page else 'API alone'} at {address_of(listening, settings.host)}"]
    if not with_page:
        lines.append("the page was not built: `make web` builds it; the API answers under /api/v1")
    lines.append(
        {
            "none": "nobody is let in without a token",
            "read": "this machine may look without a token; commands need one",
            "control": "this machine may look and give commands without a token; others need one",
        }[settings.open_to_loopback]
    )
    if settings.open_to_loopback == "none" and not access.anybody():
        lines.append(
            "there is no token yet: `crypto-tracker tokens create NAME --scope control` makes one, "
            "or set web.open_to_loopback"
        )
    if reaches_further(listening):
        lines.append(
            "warning: other machines reach it, and it speaks no TLS: put a server that does in front of it"
        )
        if settings.open_to_loopback != "none":
            lines.append(
                "warning: all who come through a server in front of it on this machine may pass for this "
                "machine: set web.open_to_loopback to none"
            )
    for line in lines:
        session.out.print(line, markup=False, soft_wrap=True)
    session.out.file.flush()
