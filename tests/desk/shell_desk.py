"""A desk with several accounts and recorded runs, a server over it with the built page, and a browser that notes
whatever it complains of."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.desk.views import accounts as account_views
from crypto_tracker.desk.views import charts as chart_views
from crypto_tracker.desk.views import live as live_views
from crypto_tracker.desk.views import research as research_views
from tests.desk.examples import example
from tests.desk.fake_desk import NOW_MS, FakeBook, FakeDesk
from tests.desk.served import Tokens, application, running, settings

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "src" / "crypto_tracker" / "desk" / "web" / "static"
DAY_MS = 86_400_000
EQUITY = 10_055.09
WAIT_MS = 30_000

WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


class ShellBook(FakeBook):
    """An account that trades and has something to tell, or a run that is over."""

    def status(self) -> account_views.Status:
        run = self.is_run
        common: dict[str, Any] = {
            "account": self.account,
            "quote": "USDT",
            "equity_quote": 12_604.17 if run else getattr(self._desk, "worth", EQUITY),
            "return_net": 0.2604 if run else 0.0055,
            "start_ms": NOW_MS - 9 * DAY_MS,
            "until_ms": NOW_MS - 60_000,
            "now_ms": NOW_MS,
            "configuration_version": "f744a98dffad",
            "regime": None if run else "CAUTION",
            "regime_forced": False,
        }
        if run:
            return example(
                account_views.Status,
                **common,
                kind="demo",
                running=False,
                synthetic=True,
                light="off",
                light_why=[],
                day_pnl_quote=None,
                day_return=None,
                entries=None,
                process=None,
                lag_ms=None,
                progress=None,
            )
        return example(
            account_views.Status,
            **common,
            kind="paper",
            running=True,
            synthetic=False,
            light="yellow",
            light_why=["the market is in CAUTION, which halves what it buys", "ETH/USDT cools down for 3 h"],
            lag_ms=61_000,
            progress=None,
            day_pnl_quote=-48.2,
            day_return=-0.0048,
        )

    def candles(
        self, symbol: Symbol, timeframe: Timeframe, limit: int, before_ms: int | None
    ) -> chart_views.Candles:
        step_ms = timeframe.ms
        last_ms = timeframe.floor(min(before_ms or NOW_MS, NOW_MS) - 1)
        times = [last_ms - step_ms * back for back in reversed(range(min(limit, 120)))]
        price = [4_000.0 + 40 * ((time // step_ms) % 17) for time in times]
        return chart_views.Candles(
            symbol=str(symbol),
            timeframe=str(timeframe),
            provider="kraken",
            time_ms=times,
            open=price,
            high=[each + 30 for each in price],
            low=[each - 30 for each in price],
            close=[each + 10 for each in price],
            volume=[12.5] * len(times),
            earlier=False,
            until_ms=NOW_MS,
        )

    def pairs(self) -> chart_views.Pairs:
        names = ("BTC", "ETH", "SUI", "SOL", "PEPE", "LINK", "AVAX", "DOGE")
        items = [
            example(
                chart_views.PairItem,
                symbol=f"{name}/USDT",
                price=118_995.5 / 12**place,
                return_24h=0.021 - 0.008 * place,
                day=[100.0 + (hour * (7 + place)) % 11 for hour in range(24)],
                held=place == 1,
            )
            for place, name in enumerate(names)
        ]
        return chart_views.Pairs(until_ms=NOW_MS, items=items)


class ShellDesk(FakeDesk):
    """Two accounts and two recorded runs, unless it is `empty`; a FakeDesk otherwise."""

    empty = False
    worth = EQUITY  # of the account `paper`

    def accounts(self) -> account_views.Accounts:
        def item(account: str, name: str, kind: str, **changes: Any) -> account_views.AccountItem:
            return example(
                account_views.AccountItem,
                account=account,
                name=name,
                kind=kind,
                **(
                    {
                        "running": False,
                        "synthetic": False,
                        "start_ms": NOW_MS - 40 * DAY_MS,
                        "end_ms": NOW_MS - 20 * DAY_MS,
                        "until_ms": NOW_MS - 20 * DAY_MS,
                        "recorded_at_ms": NOW_MS - 3 * DAY_MS,
                    }
                    | changes
                ),
            )

        if self.empty:
            return account_views.Accounts(items=[])
        return account_views.Accounts(
            items=[
                item("paper", "paper", "paper", running=True, end_ms=None, return_net=0.0055),
                item("august", "august", "replay", return_net=-0.0312),
                item(
                    "run:17",
                    "Run 17, ten days of a made-up market",
                    "demo",
                    synthetic=True,
                    return_net=0.2604,
                ),
                item("run:16", "Run 16, BTC ETH SUI", "backtest", return_net=0.0871),
            ]
        )

    def book(self, account: str | None) -> FakeBook:
        super().book({"august": "paper", "run:16": "run:17"}.get(account or "", account))
        return ShellBook(self, account or "paper")

    def runs(self, *, limit: int, cursor: str | None) -> research_views.Runs:
        return super().runs(limit=limit, cursor=cursor).model_copy(update={"next": None})

    def equity_is(self, equity_quote: float) -> None:
        """Let the account `paper` be worth something else, and the stream tell it."""
        self.worth = equity_quote
        now = ShellBook(self, "paper").status()
        point = live_views.EquityNow(time_ms=NOW_MS, equity_quote=equity_quote, drawdown=0.01)
        self.happens(live_views.EquityEvent(account="paper", points=[point], status=now))


def built_page() -> Path:
    """The folder of the page, built from the sources as they are."""
    subprocess.run([sys.executable, str(ROOT / "web" / "build.py"), "bundle"], check=True, cwd=ROOT)
    return STATIC


@contextmanager
def shown(
    desk: FakeDesk | None = None, tokens: Tokens | None = None, *, opened: str = "control", **options: Any
) -> Iterator[str]:
    """The address of a server with the page; loopback needs no token for `opened`."""
    web = settings(open_to_loopback=opened, beat_seconds=0.2)
    app = application(desk or ShellDesk(), tokens, web, static=built_page())
    with running(app, **options) as address:
        yield address


class Seen:
    """One page of a browser, and what it complained of."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.address = address
        given = {"viewport": WIDE, "timezone_id": "UTC", "color_scheme": "dark"}
        self.context = browser.new_context(**(given | options))
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def open(self, path: str = "/trading") -> Any:
        """Go to an address and wait for the frame of the page."""
        self.page.goto(self.address + path)
        self.page.wait_for_selector("main")
        return self.page

    def close(self) -> None:
        self.context.close()


@contextmanager
def seen(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """A browser page whose complaints fail the test."""
    looking = Seen(browser, address, **options)
    try:
        yield looking
    finally:
        looking.close()
    assert looking.complaints == [], looking.complaints


def needs_node() -> None:
    """Skip where the page can neither be found built nor be built."""
    if not (STATIC / "index.html").is_file() and shutil.which("node") is None:
        pytest.skip("the page is not built: make web")


def texts(found: Sequence[Any]) -> list[str]:
    """The words of elements, spaces as on the screen."""
    return [" ".join(one.inner_text().split()) for one in found]
