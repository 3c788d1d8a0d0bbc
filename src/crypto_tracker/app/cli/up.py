"""`up`: the collector, the trader and the page together, kept running."""

from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import (
    ExitCode,
    PairsOption,
    Session,
    command,
    parse_pairs,
    session_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_WORDS = 9  # room for the name of a service in front of what it says


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "up", examples=("up", "up --provider coinbase", "up -p BTC/USD,ETH/USD --no-web"))(up)


def up(
    context: typer.Context,
    provider: Annotated[
        str | None,
        typer.Option("--provider", metavar="NAME", help="Whose bars; else as the configuration says."),
    ] = None,
    pairs: PairsOption = None,
    account: Annotated[
        str, typer.Option("--account", metavar="NAME", help="The account that trades.")
    ] = "paper",
    with_web: Annotated[bool, typer.Option("--web/--no-web", help="Serve the page and its API too.")] = True,
) -> None:
    """Collect bars, trade on paper and serve the page, in one go: `collect`, `trade` and `web` as processes.

    Trading begins once what the strategies look back at is there. What ends is started again; Ctrl-C ends
    all in order, and the next `up` goes on where they stood. Look on in a browser, for which `tokens create`
    makes a token, or with `watch`, `status`, `collectors`. Needs no key: exchanges give their public data to
    anybody.
    """
    import asyncio

    session = session_of(context)
    if asyncio.run(_until_stopped(session, provider, parse_pairs(pairs), account, with_web=with_web)):
        raise SystemExit(int(ExitCode.INTERRUPTED))


async def _until_stopped(
    session: Session, provider: str | None, pairs: tuple[str, ...], account: str, *, with_web: bool
) -> bool:
    """Keep them running until a signal asks to stop; whether one did."""
    import asyncio
    import signal

    from crypto_tracker.app.collecting import wanted_providers, wanted_symbols
    from crypto_tracker.app.providers import MASSIVE, checked_provider, massive_key, provider_name
    from crypto_tracker.app.supervising import Patience, Service, ServiceEnded, own_command, supervise
    from crypto_tracker.core.timeframes import to_ms

    configuration = session.configuration
    traded = provider_name(provider or configuration.market_data.provider or "")
    collected = wanted_providers(configuration, (provider,) if provider else ())
    traded = traded or collected[0]
    history = provider_name(configuration.market_data.history)
    collected = tuple(dict.fromkeys((*collected, traded, *([history] if history else []))))
    symbols = wanted_symbols(configuration, pairs)
    for name in map(checked_provider, collected):
        if name == MASSIVE:
            massive_key(session.environment)  # without one it would end at once
    shared = shared_arguments(session)
    # The collector must know whose bars are traded on: without those there is nothing to wait for.
    of_traded = ("--set", f"market_data.provider={traded}")
    of_pairs = ("--pairs", ",".join(pairs)) if pairs else ()
    services = (
        Service(
            name="collect",
            arguments=own_command(
                *(*shared, *of_traded),
                "collect",
                *(part for name in collected for part in ("--provider", name)),
                *of_pairs,
            ),
        ),
        Service(
            name="trade",
            arguments=own_command(*shared, "trade", "--account", account, "--provider", traded, *of_pairs),
            waits_for=_what_trading_waits_for(session, traded, to_ms(session.now())),
        ),
        *([Service(name="web", arguments=own_command(*shared, "web"))] if with_web else []),
    )
    session.make_home()
    _say(
        session,
        "up",
        f"{_counted(len(symbols))} of {', '.join(collected)}; account {account} in {session.home}",
    )
    _say(session, "up", "look on with `crypto-tracker watch`, `status` and `collectors`; Ctrl-C ends all")

    stop, asked = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        asked.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    try:
        await supervise(
            services,
            session.environment,
            lambda name, line: _say(session, name, line),
            stop,
            Patience(),
        )
    except ServiceEnded as error:
        _say(session, "up", str(error))
        raise SystemExit(error.code) from None
    return asked.is_set()


def _what_trading_waits_for(session: Session, provider: str, started_ms: int) -> "Callable[[], str | None]":
    """Trading begins when the collector has fetched what strategies look back at, and brings new bars."""
    from crypto_tracker.store.collectors import Standing, collectors
    from crypto_tracker.store.reader import DATABASE_NAME

    def waits_for() -> str | None:
        if not (session.home / DATABASE_NAME).is_file():
            return f"waits for the first bars of {provider}"
        for each in collectors(session.home):
            if each.provider == provider and each.updated_at_ms >= started_ms:
                if each.state in {Standing.LIVE, Standing.SCHEDULED}:
                    return None
                return f"waits for bars: the collector of {provider} is {each.state.words}"
        return f"waits for the collector of {provider}"

    return waits_for


def _counted(symbols: int) -> str:
    return "1 symbol" if symbols == 1 else f"{symbols} symbols"


def shared_arguments(session: Session) -> tuple[str, ...]:
    """The global options of this run, for the services."""
    arguments = ["--home", str(session.home)]
    if session.config_path is not None:
        arguments += ["--config", str(session.config_path)]
    for assignment in session.assignments:
        arguments += ["--set", assignment]
    return tuple(arguments)


def _say(session: Session, name: str, line: str) -> None:
    session.err.print(f"{name:<{_WORDS}}{line}", markup=False, soft_wrap=True)
