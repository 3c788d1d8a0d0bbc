"""Chart patterns drawn by hand; each negative breaks one clause of the definition."""

import numpy as np
import pytest

from crypto_tracker.strategies.patterns import Patterns, find_patterns

NAMES = ("bull_flag", "cup_and_handle", "ascending_triangle")


def found(close: list[float], volume: list[float] | None = None) -> Patterns:
    prices = np.array(close)[:, None]
    volumes = np.full_like(prices, 10.0) if volume is None else np.array(volume)[:, None]
    return find_patterns(prices, prices, prices, volumes)


def at_the_end(patterns: Patterns) -> set[str]:
    return {name for name in NAMES if getattr(patterns, name)[-1, 0]}


def line(start: float, end: float, bars: int) -> list[float]:
    """`bars` prices after `start`, the last of which is `end`."""
    return [start + (end - start) * (i + 1) / bars for i in range(bars)]


# A bull flag: 40 flat bars, a pole from 100 to 106 in 8, a flag of 6 that sinks to 104, and the break.
POLE = line(100.0, 106.0, 8)
FLAG = line(105.0, 104.0, 6)


def flag(
    *,
    pole: list[float] = POLE,
    rest: list[float] = FLAG,
    last: float = 106.5,
    volumes: tuple[float, float] = (30.0, 8.0),
) -> set[str]:
    volume = [10.0] * 40 + [volumes[0]] * len(pole) + [volumes[1]] * len(rest) + [40.0]
    return at_the_end(found([100.0] * 40 + pole + rest + [last], volume))


def test_a_bull_flag_is_a_steep_pole_a_quiet_pullback_and_a_break():
    assert "bull_flag" in flag()


@pytest.mark.parametrize(
    ("why", "drawn"),
    [
        ("the close stays inside the flag", {"last": 104.5}),
        (
            "the pole rises by less than three per cent",
            {"pole": line(100.0, 102.9, 8), "rest": line(102.4, 102.0, 6), "last": 103.5},
        ),
        ("the flag gives back more than half of the pole", {"rest": line(105.0, 102.9, 6)}),
        ("the flag rises", {"rest": line(104.0, 105.0, 6)}),
        ("the flag trades more than the pole", {"volumes": (10.0, 20.0)}),
        ("the flag has only four bars", {"rest": line(105.0, 104.0, 4)}),
    ],
)
def test_no_bull_flag_when(why: str, drawn: dict):
    assert "bull_flag" not in flag(**drawn), why


def test_a_flag_whose_volume_is_unknown_is_none():
    assert "bull_flag" not in flag(volumes=(30.0, float("nan")))


# A cup: up to the rim at 100, a bowl down to 94 over 32 bars, the right rim at 100, a handle to 98.5, the break.
def bowl(depth: float, bars: int) -> list[float]:
    x = np.linspace(-1.0, 1.0, bars + 1)[1:]
    return (100.0 - depth * (1 - x**2)).tolist()


def cup(
    *,
    rise: list[float] | None = None,
    inside: list[float] | None = None,
    handle: list[float] | None = None,
    last: float = 100.6,
) -> set[str]:
    up = line(95.0, 100.0, 6) if rise is None else rise
    bottom = bowl(6.0, 32) if inside is None else inside
    back = [99.3, 98.8, 98.5, 98.5, 98.9, 99.4] if handle is None else handle
    return at_the_end(found([95.0] * 70 + up + bottom + back + [last]))


def test_a_cup_and_handle_is_a_round_bottom_between_level_rims_a_shallow_handle_and_a_break():
    assert "cup_and_handle" in cup()


@pytest.mark.parametrize(
    ("why", "drawn"),
    [
        ("the close does not pass the rim", {"last": 99.9}),
        ("the cup is pointed", {"inside": line(100.0, 94.0, 16) + line(94.0, 100.0, 16)}),
        ("the rims are two per cent apart", {"rise": line(95.0, 102.1, 6), "last": 103.0}),
        (
            "the cup is flatter than two per cent",
            {"inside": bowl(1.5, 32), "handle": [99.7, 99.6, 99.5, 99.5, 99.6, 99.8]},
        ),
        ("the handle gives back more than half of the cup", {"handle": [99.0, 97.5, 96.5, 96.9, 98.0, 99.0]}),
        ("the handle has broken out before", {"handle": [99.3, 98.8, 98.5, 98.9, 100.2, 99.4]}),
        ("the right rim is not confirmed", {"handle": [99.3, 98.8]}),
        (
            "the bottom lies at the edge",
            {"inside": line(100.0, 94.0, 4) + line(94.0, 95.0, 24) + line(95.0, 100.0, 4)},
        ),
    ],
)
def test_no_cup_and_handle_when(why: str, drawn: dict):
    assert "cup_and_handle" not in cup(**drawn), why


# A triangle: tops at 100, lows at 96, 97.5 and 98.5, the break at 100.5.
def triangle(
    *,
    tops: tuple[float, ...] = (100.0, 100.0, 100.0),
    lows: tuple[float, ...] = (96.0, 97.5),
    end: list[float] | None = None,
    last: float = 100.5,
) -> set[str]:
    drawn = [95.0] * 70 + line(95.0, tops[0], 8)
    price = tops[0]
    for low, top in zip(lows, tops[1:], strict=True):
        drawn += line(price, low, 6) + line(low, top, 6)
        price = top
    drawn += [99.0, 98.8, 98.9, 99.2] if end is None else end
    return at_the_end(found([*drawn, last]))


def test_an_ascending_triangle_is_a_level_top_rising_lows_and_a_break():
    assert "ascending_triangle" in triangle()


@pytest.mark.parametrize(
    ("why", "drawn"),
    [
        ("the close does not pass the tops", {"last": 100.0}),
        ("the lows fall", {"lows": (97.5, 96.0)}),
        ("the lows are level", {"lows": (97.0, 97.0)}),
        ("the tops are not level", {"tops": (97.0, 98.4, 100.0), "lows": (94.0, 95.0)}),
        (
            "the triangle is flatter than one per cent",
            {"lows": (99.2, 99.5), "end": [99.8, 99.8, 99.8, 99.8]},
        ),
        ("a bar has closed above the tops before", {"end": [99.0, 98.8, 100.3, 99.2]}),
    ],
)
def test_no_ascending_triangle_when(why: str, drawn: dict):
    assert "ascending_triangle" not in triangle(**drawn), why


def test_a_pattern_stays_in_view_for_four_bars_while_the_close_holds_above_the_level():
    drawn = [100.0] * 40 + POLE + FLAG
    volume = [10.0] * 40 + [30.0] * 8 + [8.0] * 6
    held = found([*drawn, 106.5, 106.6, 106.7, 106.6, 106.6], [*volume, *[40.0] * 5]).bull_flag[:, 0]
    assert held[-6:].tolist() == [False, True, True, True, True, False]
    lost = found([*drawn, 106.5, 104.0, 106.7], [*volume, *[40.0] * 3]).bull_flag[:, 0]
    assert lost[-3:].tolist() == [True, False, False]


def test_a_flat_market_holds_no_pattern():
    assert at_the_end(found([100.0] * 200)) == set()


@pytest.mark.parametrize("seed", range(3))
def test_patterns_are_the_same_with_other_prices_later_bars_and_gaps(seed: int):
    rng = np.random.default_rng(seed)
    n = 6_000
    close = (100.0 * np.exp(np.cumsum(rng.normal(0, 0.006, n))))[:, None]
    high = close * (1 + rng.exponential(0.002, (n, 1)))
    low = close * (1 - rng.uniform(0, 0.004, (n, 1)))
    volume = rng.lognormal(2, 1, (n, 1))
    whole = find_patterns(high, low, close, volume)
    assert all(getattr(whole, name).any() for name in NAMES)
    doubled = find_patterns(2 * high, 2 * low, 2 * close, volume)
    spread = [np.full((2 * n, 1), np.nan) for _ in range(4)]
    for target, source in zip(spread, (high, low, close, volume), strict=True):
        target[::2] = source
    gapped = find_patterns(*spread)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(whole, name), getattr(doubled, name))
        np.testing.assert_array_equal(getattr(whole, name)[:, 0], getattr(gapped, name)[::2, 0])
        assert not getattr(gapped, name)[1::2].any()
    for cut in (500, 3_001, 5_999):
        part = find_patterns(high[:cut], low[:cut], close[:cut], volume[:cut])
        for name in NAMES:
            np.testing.assert_array_equal(getattr(whole, name)[:cut], getattr(part, name))
