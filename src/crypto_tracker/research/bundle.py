"""The bundle of a backtest: one JSON file that says what was run and what came of it, and can be run again.

It holds the choice of bars and a digest of them, the configuration, the code, the options, the figures, every
trade, digests of all records, and a digest of each of its own parts, so that it tells when it was changed. A
later run reads nothing but this file and the bars that it names.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

import crypto_tracker
from crypto_tracker.config.fields import changes_trades
from crypto_tracker.config.tree import Configuration, configuration_model, load_configuration
from crypto_tracker.config.versions import canonical, version
from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.errors import ConfigError, DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.research.bundle_contents import (
    Contents,
    Document,
    brief,
    changed_parts,
    fault,
    read_contents,
)
from crypto_tracker.research.data_hash import DIGITS
from crypto_tracker.research.universe import NAME as UNIVERSE
from crypto_tracker.simulation.records import SimulationResult
from crypto_tracker.store.choice import Choice
from crypto_tracker.store.membership import Membership
from crypto_tracker.strategies.base import Strategy

FORMAT = "crypto-tracker backtest"
FORMAT_VERSION = 2
_RECORDS = ("fills", "trades", "open_trades", "decisions")
_NOT_COMPARED = ("run_id", "seconds", "deflated", "notes")
_TOLD_BEFORE = ("data_hash", "code_version", "configuration_version")
_RUN_FROM = frozenset({"choice", "options", "configuration"})
_CURVES = ("equity_e8", "cash_e8", "reserved_e8", "regime")
_SHOWN = 40  # characters of a value that differs


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line asked for beside the choice of bars and the configuration."""

    strategies: tuple[str, ...]  # those named, which trade even where switched off; empty for the configured
    close_at_end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that has been read, and of which every part is of its type and agrees with the others.

    `changed` names the parts that are not as they were written: empty where nobody touched the file.
    """

    path: Path
    choice: Choice
    options: Options
    contents: Contents
    document: Document
    changed: tuple[str, ...]

    def refuse_changed(self) -> None:
        """Raise DataError where the file is not as it was written, and so proves nothing."""
        if self.changed:
            raise DataError(
                f"the bundle {self.path} has been changed since it was written: {', '.join(self.changed)}; "
                "export the run again"
            )

    def refuse_other_run(self) -> None:
        """Raise DataError where what the run is repeated from was changed: its outcome is that of another."""
        if set(self.changed) & _RUN_FROM:
            self.refuse_changed()

    def configuration(self, installed: Mapping[str, Strategy]) -> Configuration:
        """The configuration of the run, from the bundle alone.

        What changes no trade (paths, secrets) has its default. Raises ConfigError where a strategy of the
        run is not installed, or where this version does not know the configuration any more.
        """
        wanted = self.document["configuration"]
        names = wanted["strategies"]
        missing = [name for name in names if name not in installed]
        if missing:
            raise ConfigError(
                f"the bundle was made with {', '.join(missing)}, which is not installed: "
                "put its file into HOME/strategies, or install its package"
            )
        models = {name: installed[name].parameters_model for name in installed if name in names}
        plain = load_configuration(models, file=None, environment={}, assignments=()).tree
        table = _completed(plain, plain.model_dump(mode="json"), wanted)
        try:
            return configuration_model(models).model_validate_json(json.dumps(table), strict=True)
        except ValidationError as error:
            wrong = fault(error, wanted, unknown="is no setting of this version")
            code = self.contents.code
            if code.version == crypto_tracker.__version__:
                helps = "export the run again"
            else:
                helps = f"run it with code {code.version}"
            raise ConfigError(
                f"the configuration of the bundle {self.path} does not suit this version: {wrong}; {helps}"
            ) from None


def bundle(
    figures: Document,
    *,
    choice: Choice,
    options: Options,
    configuration: Configuration,
    data: Document,
    code: Document,
    seed: int | None,
    result: SimulationResult,
) -> Document:
    """The document of a run; `figures` is what `--json` shows, with the trades in it.

    What differs between two equal runs (its number, how long it took) is left out. Its digests are those of
    the JSON that is written: `bundle_contents.sealed` adds them to it.
    """
    shown = {name: value for name, value in figures.items() if name not in _NOT_COMPARED}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "code": code,
        "data": data,
        "configuration_version": version(configuration),
        "configuration": json.loads(canonical(configuration)),
        "seed": seed,
        "choice": {
            **({"history": choice.history} if choice.history else {}),
            **({} if choice.universe is None else {"universe": choice.universe.document()}),
            "symbols": [str(symbol) for symbol in choice.symbols],
            "providers": {str(symbol): name for symbol, name in choice.provider_of.items()},
            "base": str(choice.base),
            "start_ms": choice.start_ms,
            "end_ms": choice.end_ms,
            "reference": None if choice.reference_symbol is None else str(choice.reference_symbol),
        },
        "options": {"strategies": list(options.strategies), "close_at_end": options.close_at_end},
        "records": record_digests(result),
        "figures": {name: value for name, value in shown.items() if name not in ("trades", "open_trades")},
        "trades": shown["trades"],
        "open_trades": shown["open_trades"],
    }


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and check all of it.

    Raises DataError where the file is none, one of another format, or damaged: a part is missing, of another
    type, or does not agree with another one. Whether somebody changed it since stands in `changed`.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text, parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise DataError(f"there is no bundle {path}: backtest --export writes one") from error
    except (OSError, ValueError) as error:
        raise DataError(f"the bundle {path} cannot be read: {error}") from error
    except RecursionError as error:
        raise DataError(f"the bundle {path} cannot be read: it is nested too deep") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"{path} is no bundle of a backtest: backtest --export writes one")
    version_written = document.get("format_version")
    if version_written != FORMAT_VERSION or isinstance(version_written, bool):
        raise DataError(
            f"{path} has format {brief(version_written, _SHOWN)}, this version reads {FORMAT_VERSION}: "
            "run it with the version that wrote it, or export the run again"
        )
    try:
        contents = read_contents(text, document)
    except ValueError as error:
        raise DataError(f"the bundle {path} is damaged: {error}; export the run again") from error
    chosen = contents.choice
    return Bundle(
        path=path,
        choice=Choice(
            symbols=tuple(map(Symbol.parse, chosen.symbols)),
            base=Timeframe.parse(chosen.base),
            start_ms=chosen.start_ms,
            end_ms=chosen.end_ms,
            provider_of={Symbol.parse(name): whose for name, whose in chosen.providers.items()},
            reference_symbol=None if chosen.reference is None else Symbol.parse(chosen.reference),
            notes=(),
            history=chosen.history,
            universe=None if chosen.universe is None else Membership.of_document(chosen.universe),
        ),
        options=Options(strategies=contents.options.strategies, close_at_end=contents.options.close_at_end),
        contents=contents,
        document=document,
        changed=changed_parts(document),
    )


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def record_digests(result: SimulationResult) -> dict[str, dict[str, int | str]]:
    """For each kind of record how many there are, and a digest of all of them, field by field."""
    digests: dict[str, dict[str, int | str]] = {}
    for name in _RECORDS:
        rows = getattr(result, name)
        digest = hashlib.sha256()
        for field in rows.dtype.names:
            digest.update(f"{field} ".encode())
            digest.update(_bytes_of(rows[field]))
        digests[name] = {"count": len(rows), "digest": digest.hexdigest()[:DIGITS]}
    digest = hashlib.sha256()
    for name in _CURVES:
        digest.update(f"{name} ".encode())
        digest.update(_bytes_of(getattr(result, name)))
    digests["closes"] = {"count": len(result.equity_e8), "digest": digest.hexdigest()[:DIGITS]}
    return digests


def differences(before: Document, after: Document) -> list[str]:
    """What is different in a second run, in sentences; nothing where every record and figure is the same.

    Other bars are named by their symbols; of records the first one that differs is named.
    """
    found: list[str] = []
    bars = _different_keys(before["data"]["symbols"], after["data"]["symbols"])
    if UNIVERSE in bars:
        bars.remove(UNIVERSE)
        found.append("the universe of its days is not the one that was obeyed then")
    if bars:
        told = f"the bars of {', '.join(bars)} are not those that were read then"
        other = before["code"] != after["code"]
        found.append(told + (", unless other code reads other bars of the same market" if other else ""))
    if before["configuration_version"] != after["configuration_version"]:
        found.append(
            f"this version completes the configuration to {after['configuration_version']}, "
            f"it was {before['configuration_version']}"
        )
    for kind in ("trades", "open_trades"):
        found += _different_trades(kind.replace("_", " "), before[kind], after[kind])
    for kind, then in before["records"].items():
        now = after["records"].get(kind)
        if now == then or any(kind.replace("_", " ") in sentence for sentence in found):
            continue
        if now is None or now["count"] != then["count"]:
            found.append(f"{kind}: {then['count']:,} then, {0 if now is None else now['count']:,} now")
        else:
            found.append(f"{kind}: as many as then, but not the same ({then['digest']}, now {now['digest']})")
    figures = [
        name for name in _different_keys(before["figures"], after["figures"]) if name not in _TOLD_BEFORE
    ]
    if figures:
        first = figures[0]
        found.append(
            f"figures: {brief(before['figures'].get(first), _SHOWN)} then and "
            f"{brief(after['figures'].get(first), _SHOWN)} now for {first}"
            + (f", and {len(figures) - 1} more differ" if len(figures) > 1 else "")
        )
    return found


def _different_trades(kind: str, before: list[Document], after: list[Document]) -> list[str]:
    for place, (then, now) in enumerate(zip(before, after, strict=False), start=1):
        fields = _different_keys(then, now)
        if fields:
            first = fields[0]
            whose = f"{kind}: number {place} ({then['trade_group_id']}) is the first to differ: {first} was"
            return [f"{whose} {brief(then.get(first), _SHOWN)}, now {brief(now.get(first), _SHOWN)}"]
    if len(before) == len(after):
        return []
    longer = before if len(before) > len(after) else after
    place = min(len(before), len(after))
    first = longer[place]["trade_group_id"]
    return [f"{kind}: {len(before):,} then, {len(after):,} now; {first} is the first that only one has"]


def _different_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]


def _bytes_of(values: RecordArray) -> bytes:
    whole = np.ascontiguousarray(values)
    if whole.dtype.kind == "f":  # every NaN counts as the same one
        whole = np.where(np.isnan(whole), np.nan, whole)
    return whole.tobytes()


def _completed(node: Any, defaults: Any, wanted: Any) -> Any:
    """The wanted values, with the defaults of those that the configuration version leaves out."""
    if not isinstance(node, BaseModel) or not isinstance(wanted, Mapping):
        return wanted
    fields = type(node).model_fields
    table = {name: value for name, value in wanted.items() if name not in fields}
    for name, field in fields.items():
        if name in wanted and changes_trades(field):
            table[name] = _completed(getattr(node, name), defaults[name], wanted[name])
        else:
            table[name] = defaults[name]
    return table
