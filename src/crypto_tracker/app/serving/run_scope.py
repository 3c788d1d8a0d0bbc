"""What is known of a recorded run besides its records: its configuration, and whose bars it was made of."""

from collections.abc import Callable, Mapping

from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.store.choice import choose
from crypto_tracker.store.runs import Run
from crypto_tracker.store.trading_records import ConfigurationRow
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.trading.setting import stored_configuration


def run_scope(
    bars: HomeBars, run_id: int, run: Run, installed: Mapping[str, Strategy], now_ms: Callable[[], int]
) -> Scope:
    """A run as it stands at its end, over the bars that there are now.

    A run does not note whose bars it was made of: they are chosen again as its configuration has it. Raises
    ConfigError where the configuration needs a strategy that is not installed.
    """
    row = ConfigurationRow(
        version=run.configuration_version, canonical=run.configuration, document=run.configuration
    )
    configuration = stored_configuration(row, installed)
    providers, reference = _bars(bars, run, configuration)
    return Scope(
        account=f"run:{run_id}",
        bars=bars,
        symbols=run.symbols,
        reference=reference,
        providers=providers,
        history=configuration.market_data.history,
        strategies=run.strategies,
        installed=installed,
        configuration=configuration,
        version=run.configuration_version,
        quote=run.symbols[0].quote if run.symbols else configuration.trading.quote,
        start_ms=run.start_ms,
        until_ms=run.end_ms,
        live=False,
        near_miss_readiness=configuration.decisions.near_miss_readiness,
        now_ms=now_ms,
        base=Timeframe.parse(run.base),
    )


def _bars(
    bars: HomeBars, run: Run, configuration: Configuration
) -> tuple[Mapping[Symbol, str], Symbol | None]:
    """Whose bars each symbol has, and the reference; nobody's where the bars are gone."""
    if not bars.there:
        return {}, None
    try:
        chosen = choose(
            bars.reader().series(),
            configuration,
            pairs=tuple(map(str, run.symbols)),
            timeframe=run.base,
            provider=None,
            start_ms=run.start_ms,
            end_ms=run.end_ms,
        )
    except (DataError, UsageError):  # not all of its bars are there any more, or whose they were is not known
        return _alone(bars, run), None
    return chosen.provider_of, chosen.reference_symbol


def _alone(bars: HomeBars, run: Run) -> Mapping[Symbol, str]:
    """The symbols of which only one provider has bars."""
    reader = bars.reader()
    found = {symbol: reader.providers(symbol) for symbol in run.symbols}
    return {symbol: providers[0] for symbol, providers in found.items() if len(providers) == 1}
