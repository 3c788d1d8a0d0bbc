"""What people tell one trading account: looked at first, then given; and what they told it before."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

from crypto_tracker.app.commanding import (
    Standing,
    note_refused,
    refuse_where_nobody_answers,
    why_not_soon,
)
from crypto_tracker.app.commanding import tell as give
from crypto_tracker.app.commanding import withdraw as take_back
from crypto_tracker.app.serving.configuration_view import configuration_view, preview_view, wished
from crypto_tracker.app.serving.control_view import (
    NONE_KNOWN,
    Fates,
    audit_page,
    command_item,
    command_page,
)
from crypto_tracker.app.serving.moments import Moment, Moments
from crypto_tracker.app.serving.page_limits import check_limit
from crypto_tracker.app.serving.previews import asked, preview, refuse_what_would_be_refused
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.core.errors import CryptoTrackerError, StoreError
from crypto_tracker.desk.source import NotThere
from crypto_tracker.desk.views import controls as views
from crypto_tracker.store.control import Command
from crypto_tracker.store.trading_records import ConfigurationRow
from crypto_tracker.trading.setting import configuration_row

_TURN_SECONDS = 0.5  # beside what a file that another process writes is waited for


class AccountCommands:
    """Checks and gives commands; threads share it."""

    def __init__(self, moments: Moments, now_ms: Callable[[], int]) -> None:
        self._moments = moments
        self._now_ms = now_ms
        self._shown: Recent[views.ShowConfiguration] = Recent(2)
        self._telling = Lock()  # what is told is checked against all that was told before

    def preview(self, wish: views.CommandWish) -> views.CommandPreview:
        """What a command would do.

        Raises UsageError for what means nothing to the account, and CryptoTrackerError for what it would
        refuse as it stands.
        """
        moment = self._moments.now(wait=True)
        command = asked(moment.present, wish, actor="", now_ms=self._now_ms())
        where = self._moments.where(moment)
        refuse_where_nobody_answers(where, wish.not_before_ms)
        self._refuse(moment, command)
        found = preview(moment.present, command, self._moments.market(moment))
        return found.model_copy(update={"consequences": [*self._hindered(where), *found.consequences]})

    def tell(self, wish: views.CommandWish, actor: str) -> views.CommandItem:
        """Give a command; raises as `preview` does, and notes in the audit what the account refuses.

        The trader answers it before its next minute, and may refuse it still.
        """
        with _in_turn(self._telling):
            moment = self._moments.now(wait=True)
            command = asked(moment.present, wish, actor=actor, now_ms=self._now_ms())
            given = self._given(moment, wish.command_id, command.kind, command.arguments)
            if given is not None:
                return given
            refuse_where_nobody_answers(self._moments.where(moment), wish.not_before_ms)
            try:
                self._refuse(moment, command)
            except CryptoTrackerError as error:
                note_refused(self._moments.where(moment), command, str(error))
                raise
            return self._give(moment, command)

    def withdraw(self, command_id: str, actor: str) -> views.CommandItem:
        """Take a command back that waits for its minute; once more changes nothing.

        Raises NotThere for one that nobody gave, and CryptoTrackerError where the trader has answered it.
        """
        moment = self._moments.now(wait=True)
        where, now_ms = self._moments.where(moment), self._now_ms()
        with self._moments.follower.control() as control:
            command = None if control is None else control.command(command_id)
        if command is None:
            raise NotThere(f"nobody gave {where.place.name} the command {command_id}: see `commands`")
        take_back(where, command, actor=actor, now_ms=now_ms)
        with self._moments.follower.control() as control, self._moments.follower.views() as records:
            fates = Fates.read(control, records, [command_id])
        return command_item(command, fates, where, now_ms)

    def commands(self, *, limit: int, cursor: str | None) -> views.CommandPage:
        """What people told it, newest first."""
        check_limit(limit)
        where = self._moments.where(self._moments.now())
        with self._moments.follower.control() as control, self._moments.follower.views() as records:
            return command_page(control, records, where, limit=limit, cursor=cursor, now_ms=self._now_ms())

    def audit(self, *, limit: int, cursor: str | None) -> views.AuditPage:
        """Everything that people did, newest first."""
        check_limit(limit)
        where = self._moments.where(self._moments.now())
        with self._moments.follower.control() as control, self._moments.follower.views() as records:
            return audit_page(control, records, where, limit=limit, cursor=cursor, now_ms=self._now_ms())

    def configuration(self) -> views.ShowConfiguration:
        """The configuration that it trades under."""
        moment = self._moments.now()
        scope = moment.present.scope
        with self._moments.follower.views() as records:
            versions = records.versions()
        key = moment.row.document, tuple(versions)
        return self._shown.made(
            key,
            lambda: configuration_view(scope.configuration, scope.version, versions, scope.installed),
        )

    def preview_configuration(self, wish: views.ConfigurationWish) -> views.ConfigurationPreview:
        """What a configuration would change."""
        moment = self._moments.now(wait=True)
        where = self._moments.where(moment)
        refuse_where_nobody_answers(where, None)
        installed = moment.present.scope.installed
        found, _ = preview_view(where, wished(wish.toml, installed), installed, len(moment.present.held))
        return found.model_copy(update={"consequences": [*self._hindered(where), *found.consequences]})

    def tell_configuration(
        self, wish: views.ConfigurationWish, actor: str, *, source: str
    ) -> views.CommandItem:
        """Offer a configuration, and command the account to take it.

        Raises ConfigError where it is wrong, and CryptoTrackerError where nothing would change, or where it
        would take the place of another one than it was previewed to.
        """
        with _in_turn(self._telling):
            moment = self._moments.now(wait=True)
            installed = moment.present.scope.installed
            configuration = wished(wish.toml, installed)
            arguments = {"version": configuration_row(configuration).version}
            given = self._given(moment, wish.command_id, "configure", arguments)
            if given is not None:
                return given
            refuse_where_nobody_answers(self._moments.where(moment), None)
            found, row = preview_view(
                self._moments.where(moment), configuration, installed, len(moment.present.held)
            )
            if wish.replaces is not None and wish.replaces != found.replaces:
                raise CryptoTrackerError(
                    f"it would take the place of {found.replaces}, and was looked at as following "
                    f"{wish.replaces}: look at what it changes once more"
                )
            command = Command.new(
                "configure",
                arguments,
                actor=actor,
                created_at_ms=self._now_ms(),
                command_id=wish.command_id,
            )
            return self._give(moment, command, offer=(row, source))

    # --- behind them ---------------------------------------------------------------------------

    def _hindered(self, where: Standing) -> list[str]:
        """What is to be known before all else where nothing acts within the next minutes."""
        why = why_not_soon(where, self._now_ms())
        return [] if why is None else [f"{why[0].upper()}{why[1:]}."]

    def _refuse(self, moment: Moment, command: Command) -> None:
        waiting, traded = moment.followed.waiting, self._moments.where(moment).place.running
        refuse_what_would_be_refused(moment.present, command, waiting, moment.row, traded=traded)

    def _given(
        self, moment: Moment, command_id: str | None, kind: str, arguments: Mapping[str, str | int]
    ) -> views.CommandItem | None:
        """The command that was given under this id before, by who asks again as its answer was lost."""
        if command_id is None:
            return None
        with self._moments.follower.control() as control:
            known = None if control is None else control.command(command_id)
            withdrawals = {} if control is None else control.withdrawals([command_id])
        if known is None:
            return None
        if (known.kind, dict(known.arguments)) != (kind, dict(arguments)):
            raise CryptoTrackerError(
                f"the command {command_id} is another one: make a new id for each command"
            )
        with self._moments.follower.views() as records:
            fates = Fates(records.answers_to([command_id]), withdrawals)
        return command_item(known, fates, self._moments.where(moment), self._now_ms())

    def _give(
        self, moment: Moment, command: Command, offer: tuple[ConfigurationRow, str] | None = None
    ) -> views.CommandItem:
        where, now_ms = self._moments.where(moment), self._now_ms()
        found = give(
            where,
            command.kind,
            command.arguments,
            actor=command.actor,
            now_ms=now_ms,
            not_before_ms=command.not_before_ms,
            offer=offer,
            command_id=command.command_id,
        )
        return command_item(found.command, NONE_KNOWN, where, now_ms)


@contextmanager
def _in_turn(turn: Lock) -> Iterator[None]:
    """Hold the turn while the block runs; raises StoreError where those before do not come to an end."""
    if not turn.acquire(timeout=_TURN_SECONDS):
        raise StoreError("what was told before is still being written: try again")
    try:
        yield
    finally:
        turn.release()
