"""Build the wheel and the sdist, and use the wheel in a fresh environment that has nothing else of the repository.

python .ci/wheel.py
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Files that the sdist has beside the source; what a wheel must have is read from src/.
OF_SDIST = (
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
    "Makefile",
    "constraints.txt",
    "docs/design.md",
    ".ci/run",
)
# Commands of a user, and a file that each writes.
COMMANDS = (
    (["--version"], None),
    (["info", "minilm"], None),
    (["embed", "minilm", "texts.txt", "-o", "vectors"], "vectors/manifest.json"),
    (["search", "vectors", "Where is the pool?"], None),
    (["diagnose", "minilm", "--quick", "-o", "report.html"], "report.html"),
)


def run(*words: str | Path, at: Path) -> str:
    """Run a program in a folder and return what it printed; raise if it fails."""
    # No variable of the caller may lead back to the source.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=at, env=environment, text=True, encoding="utf-8", stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def environment(folder: Path) -> Path:
    """Make an environment; return its folder of programs."""
    run(sys.executable, "-m", "venv", folder, at=folder.parent)
    return folder / ("Scripts" if os.name == "nt" else "bin")


def check_contents(wheel: Path, sdist: Path) -> None:
    """Exit if a file of src/ is not in the wheel, or one that a packager needs not in the sdist."""
    source = ROOT / "src"
    tracked = run("git", "ls-files", "src/cenote", at=ROOT).splitlines()
    wanted = {(ROOT / name).relative_to(source).as_posix() for name in tracked}
    with zipfile.ZipFile(wheel) as archive:
        missing = wanted - set(archive.namelist())
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    missing |= {name for name in (*OF_SDIST, *tracked) if name not in names}
    if missing:
        sys.exit(f"not packed: {', '.join(sorted(missing))}")


def main() -> None:
    """Build, install and use the wheel."""
    with tempfile.TemporaryDirectory(prefix="cenote-wheel-") as name:
        home = Path(name)
        tools = environment(home / "tools")
        run(tools / "python", "-m", "pip", "install", "--quiet", "build", at=home)
        run(tools / "python", "-m", "build", "--outdir", home / "dist", ROOT, at=home)
        (wheel,), (sdist,) = (home / "dist").glob("*.whl"), (home / "dist").glob("*.tar.gz")
        check_contents(wheel, sdist)

        programs = environment(home / "fresh")
        pip = (programs / "python", "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt")
        run(*pip, "torch", at=home)  # first and alone, as in the Makefile: the build that the package index offers
        run(*pip, f"cenote[demo] @ {wheel.as_uri()}", at=home)
        (home / "texts.txt").write_text("The pool is deep.\nA cave is dark.\n", "utf-8")
        where = run(programs / "python", "-c", "import cenote; print(cenote.__file__)", at=home)
        if not Path(where.strip()).is_relative_to(home / "fresh"):
            sys.exit(f"cenote was imported from {where.strip()}, not from the wheel")
        for words, written in COMMANDS:
            print(f"$ cenote {' '.join(words)}", run(programs / "cenote", *words, at=home), sep="\n")
            if written and not (home / written).is_file():
                sys.exit(f"cenote {words[0]} wrote no {written}")
        page = (home / "report.html").read_text("utf-8")
        for file in ("page.css", "page.js"):
            if (ROOT / "src" / "cenote" / "report" / file).read_text("utf-8").strip() not in page:
                sys.exit(f"{file} is not in the page")
    print(f"{wheel.name} works in an environment of its own")


if __name__ == "__main__":
    main()
