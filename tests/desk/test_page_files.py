"""While a build puts its files in the place of the one before, every file that is served is a whole one."""

import gzip
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from crypto_tracker.desk.web.files import INDEX
from tests.desk.served import Client, application

ROOT = Path(__file__).parents[2]


def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("page_builder", ROOT / "web" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(folder: Path, words: str) -> Path:
    """A build whose page says these words, with a script of its own."""
    (folder / "assets").mkdir(parents=True)
    files = {INDEX: f"<p>{words}</p>", f"assets/{words}.js": f"say('{words}')"}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    return folder


def told(asking: Client, path: str = "/") -> set[str]:
    """What is answered to who takes gzip, and to who does not."""
    answers = [
        asking.get(path, headers={"Accept-Encoding": coding, "Accept": "text/html"})
        for coding in ("gzip", "identity")
    ]
    assert {each.status_code for each in answers} == {200}
    return {each.text for each in answers}


def test_who_asks_between_any_two_files_of_a_build_is_answered_with_one_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, place = builder(), made(tmp_path / "static", "before")
    new = made(tmp_path / "new", "after")
    asking = Client(application(static=place), None)
    assert told(asking) == {"<p>before</p>"}
    seen = []
    replace = Path.replace

    def replace_and_ask(path: Path, target: Path) -> Path:
        moved = replace(path, target)
        seen.append((target.name, told(asking)))
        return moved

    monkeypatch.setattr(build, "STATIC", place)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_and_ask)
        build.lay(new)
    assert seen[-2:] == [(f"{INDEX}.gz", {"<p>before</p>"}), (INDEX, {"<p>after</p>"})]
    assert {words for _, found in seen[:-1] for words in found} == {"<p>before</p>"}
    assert told(asking) == {"<p>after</p>"}
    assert asking.get("/", headers={"Accept-Encoding": "gzip"}).headers["content-encoding"] == "gzip"
    assert told(asking, "/assets/after.js") == {"say('after')"}
    assert asking.get("/assets/before.js").status_code == 200  # until the page is built once more


def test_a_packed_file_that_comes_late_counts_once_it_is_there(tmp_path: Path) -> None:
    place = made(tmp_path / "static", "before")
    asking = Client(application(static=place), None)
    assert told(asking) == {"<p>before</p>"}
    (place / INDEX).write_text("<p>after</p>", encoding="utf-8")  # as a build of before did it
    assert told(asking) == {"<p>after</p>"}
    assert "content-encoding" not in asking.get("/", headers={"Accept-Encoding": "gzip"}).headers
    (place / f"{INDEX}.gz").write_bytes(gzip.compress(b"<p>after</p>"))
    assert asking.get("/", headers={"Accept-Encoding": "gzip"}).headers["content-encoding"] == "gzip"
    assert told(asking) == {"<p>after</p>"}


def test_a_file_that_goes_while_the_folder_is_read_is_no_mistake_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = made(tmp_path / "static", "before")
    asking = Client(application(static=place), None)
    assert told(asking) == {"<p>before</p>"}
    made(tmp_path / "new", "after")
    for name in (INDEX, f"{INDEX}.gz"):
        (tmp_path / "new" / name).replace(place / name)
    read, gone = Path.read_bytes, []

    def read_what_goes(path: Path) -> bytes:
        if path.name == "before.js" and len(gone) < how_often:
            gone.append(path)
            raise FileNotFoundError(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_what_goes)
    how_often = 8
    assert told(asking) == {"<p>before</p>"}  # three looks for each of both, and none of them whole
    assert len(gone) == 6
    assert told(asking) == {"<p>after</p>"}
    assert len(gone) == how_often
