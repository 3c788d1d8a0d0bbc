"""Tokens are made once, kept as digests, checked in the same time right or wrong, and revoked for good."""

import re
import sqlite3
import stat
from hashlib import sha256
from pathlib import Path
from threading import Thread

import pytest

from crypto_tracker.core.errors import StoreError, UsageError
from crypto_tracker.store import access
from crypto_tracker.store.access import FILE_NAME, AccessStore
from crypto_tracker.store.database import sqlite_module

MINUTE = 60_000
NOW = 1_755_864_000_000


@pytest.fixture
def store(tmp_path: Path):
    with AccessStore.open(tmp_path) as opened:
        yield opened


def test_a_token_opens_what_it_was_made_for_and_is_shown_once(store):
    made = store.create("anna", {"read", "control"}, now_ms=NOW)
    assert re.fullmatch(r"ct_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", made.token)
    assert made.token.split("_")[1] == made.row.token_id
    found = store.check(made.token, NOW + 1)
    assert found is not None
    assert (found.name, found.scopes) == ("anna", frozenset({"read", "control"}))
    assert store.tokens()[0].token_id == made.row.token_id


def test_only_a_digest_of_the_whole_text_is_kept_and_only_its_owner_reads_the_file(store, tmp_path):
    made = store.create("anna", ["read"], now_ms=NOW)
    path = tmp_path / FILE_NAME
    for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT * FROM tokens").fetchall()
    assert sha256(made.token.encode()).digest() in rows[0]
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):
        assert made.token.split("_", 2)[2].encode() not in (tmp_path / name).read_bytes()


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path):
    (tmp_path / FILE_NAME).touch(mode=0o644)
    AccessStore.open(tmp_path).close()
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_what_is_no_token_opens_nothing(store):
    made = store.create("anna", ["read"], now_ms=NOW)
    other = store.create("bert", ["read"], now_ms=NOW)
    last = "A" if made.token[-1] != "A" else "B"
    mixed = f"ct_{made.row.token_id}_{other.token.split('_', 2)[2]}"
    for wrong in ("", "anna", made.row.token_id, made.token[:-1] + last, made.token + "A", mixed, "ct_é_"):
        assert store.check(wrong, NOW) is None


def test_a_revoked_token_opens_nothing_and_its_name_is_free_again(store):
    made = store.create("anna", ["read"], now_ms=NOW)
    with pytest.raises(UsageError, match="there is a token anna already: revoke it first"):
        store.create("anna", ["read"], now_ms=NOW)
    assert store.revoke("anna", NOW + 5).revoked_at_ms == NOW + 5
    assert store.check(made.token, NOW + 6) is None
    again = store.create("anna", ["control"], now_ms=NOW + 7)
    assert store.check(again.token, NOW + 8) is not None
    assert store.revoke(again.row.token_id, NOW + 9).name == "anna"
    assert [each.revoked_at_ms for each in store.tokens()] == [NOW + 5, NOW + 9]
    with pytest.raises(UsageError, match="no token 'anna' to be revoked: there is none"):
        store.revoke("anna", NOW + 10)


def test_its_use_is_noted_at_most_every_ten_minutes(store):
    made = store.create("anna", ["read"], now_ms=NOW)
    noted = []
    for minutes in (1, 5, 10.9, 11, 12, 21):
        store.check(made.token, NOW + int(minutes * MINUTE))
        noted.append((store.tokens()[0].last_used_ms - NOW) / MINUTE)
    assert noted == [1, 1, 1, 11, 11, 21]


def test_a_file_that_somebody_else_writes_keeps_nobody_out_and_is_told_once(store, tmp_path, caplog):
    made = store.create("anna", ["read"], now_ms=NOW)
    writer = sqlite_module().connect(str(tmp_path / FILE_NAME), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert [store.check(made.token, NOW).name for _ in range(2)] == ["anna", "anna"]
    assert len(caplog.records) == 1
    writer.close()
    store.check(made.token, NOW)
    assert store.tokens()[0].last_used_ms == NOW


@pytest.mark.parametrize("name", ["", "deadbeef", "a" * 65, " anna", "anna\n", "ann/a"])
def test_a_name_that_nobody_could_mean_is_refused(store, name):
    with pytest.raises(UsageError, match="is no name of a token"):
        store.create(name, ["read"], now_ms=NOW)


@pytest.mark.parametrize(("scopes", "said"), [((), "the scope nothing"), (("read", "root"), "scope root")])
def test_a_scope_that_there_is_not_is_refused(store, scopes, said):
    with pytest.raises(UsageError, match=said):
        store.create("anna", scopes, now_ms=NOW)
    assert store.tokens() == []


def test_many_threads_check_at_once(store):
    made = [store.create(f"user {number}", ["read"], now_ms=NOW) for number in range(4)]
    found: list[str] = []

    def check(token: str) -> None:
        for turn in range(20):
            row = store.check(token, NOW + turn * 11 * MINUTE)
            found.append("" if row is None else row.name)

    threads = [Thread(target=check, args=(each.token,)) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(each.row.name for each in made for _ in range(20))


# --- the file is another than before


def put_away(home: Path, where: Path) -> None:
    where.mkdir()
    for file in home.glob(f"{FILE_NAME}*"):
        file.rename(where / file.name)


def test_where_the_file_is_put_away_nothing_opens_until_there_is_one_again(store, tmp_path):
    made = store.create("anna", ["read"], now_ms=NOW)
    assert store.check(made.token, NOW) is not None
    put_away(tmp_path, tmp_path / "old")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"access\.db is gone, .*`crypto-tracker tokens create NAME`"):
            store.check(made.token, NOW)
    assert not (tmp_path / FILE_NAME).exists()  # to look makes none
    with AccessStore.open(tmp_path) as other:
        fresh = other.create("bert", ["control"], now_ms=NOW)
    assert store.check(made.token, NOW) is None
    assert store.check(fresh.token, NOW).name == "bert"
    assert store.revoke("bert", NOW).token_id == fresh.row.token_id
    assert store.check(fresh.token, NOW) is None


def test_where_another_file_is_put_in_its_place_only_what_stands_in_that_one_counts(tmp_path):
    home, other = tmp_path / "home", tmp_path / "other"
    with AccessStore.open(home) as store, AccessStore.open(other) as elsewhere:
        made = store.create("anna", ["read"], now_ms=NOW)
        theirs = elsewhere.create("anna", ["read"], now_ms=NOW)
        elsewhere.close()
        assert store.check(made.token, NOW) is not None
        (other / FILE_NAME).replace(home / FILE_NAME)
        assert store.check(made.token, NOW) is None
        assert store.check(theirs.token, NOW) is not None


@pytest.mark.parametrize("in_place", [True, False])
def test_a_file_that_is_no_database_lets_nobody_in_and_a_sound_one_does_again(tmp_path, in_place):
    with AccessStore.open(tmp_path) as store:
        made = store.create("anna", ["read"], now_ms=NOW)
        store.close()  # so that the copy holds everything
        path, kept = tmp_path / FILE_NAME, (tmp_path / FILE_NAME).read_bytes()
        assert store.check(made.token, NOW) is not None
        if in_place:
            path.write_bytes(b"no database" * 3_000)
        else:
            (tmp_path / "new").write_bytes(b"no database" * 3_000)
            (tmp_path / "new").replace(path)
        with pytest.raises(StoreError, match=r"access\.db cannot be read \(file is not a database\)"):
            store.check(made.token, NOW)
        path.write_bytes(kept)
        assert store.check(made.token, NOW).name == "anna"


def test_a_file_that_stays_locked_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(access, "_BUSY_TIMEOUT_MS", 20)
    with AccessStore.open(tmp_path) as store:
        writer = sqlite_module().connect(str(tmp_path / FILE_NAME), isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"cannot be looked up now \(database is locked\): try again"):
            store.create("anna", ["read"], now_ms=NOW)
        with AccessStore.open(tmp_path) as other:
            assert other.tokens() == []
        writer.close()
