"""Counts the retired words of each room, and holds each count below its ceiling.

    python tools/words.py               # a table: words and names per room, and per 1,000 lines
    python tools/words.py --check       # fail if a room has more than tools/words.toml allows
    python tools/words.py --write       # lower the ceilings to the counts; never raises any
    python tools/words.py --list ROOM   # each place in a room

Prose is docstrings, comments, messages (strings with a space) and documents. Names are variables,
parameters, functions and classes that are called like a retired word. The CHANGELOG, the decision
records, generated files, and the names and strings of tests do not count.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "operator" / "rollback_operator"
CEILINGS = ROOT / "tools" / "words.toml"
HEADER = """\
# The most retired words and names that each room may have; `make lint` checks it.
# Only ever lower: `python tools/words.py --write`.
"""

_AFTER_A_PRONOUN = (
    "that|who|which|whose|is|was|has|does|may|can|cannot|must|by|to|in|at|on|or|and|for|from|with|"
    "without|as|after|before|where|while|says"
)
_PRONOUN = rf"one(?:['\u2019]s|(?=[.,;:)?!]+(?:\s|$)|\s+(?:{_AFTER_A_PRONOUN})\b|\s*$))"
_PHRASES = (r"by\s+itself", r"let\s+go\s+of", r"of\s+which")
_WORDS = ("ones", "told", "tells", "said", "steers", "sight", "way", "standing", "whoever")
_PROSE = re.compile(rf"\b(?:{'|'.join((*_WORDS, *_PHRASES, _PRONOUN))})(?!\w)", re.IGNORECASE)
_NAMES = frozenset({*_WORDS, "one", "found"})
_FENCED = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Text:
    """Prose, with the line on which it begins."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A retired word or name."""

    path: Path
    line: int
    word: str


@dataclass(frozen=True, slots=True)
class Count:
    """What a room has."""

    words: tuple[Place, ...]
    names: tuple[Place, ...]
    lines: int

    @property
    def kinds(self) -> tuple[tuple[str, tuple[Place, ...]], ...]:
        """Both kinds by their table in the file of ceilings."""
        return ("words", self.words), ("names", self.names)


def words_in(texts: Iterable[Text], path: Path) -> Iterator[Place]:
    """List the retired words of some prose."""
    for piece in texts:
        for hit in _PROSE.finditer(piece.text):
            line = piece.line + piece.text.count("\n", 0, hit.start())
            yield Place(path, line, " ".join(hit[0].split()))


def names_in(source: str, path: Path) -> Iterator[Place]:
    """List what is bound under a retired word."""
    for node in ast.walk(ast.parse(source)):
        name = _bound(node)
        if name is not None and name.strip("_") in _NAMES:
            yield Place(path, getattr(node, "lineno", 0), name)


def _bound(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.MatchAs(name=name) | ast.ExceptHandler(name=name):
            return name
    return None


def comments(source: str) -> Iterator[Text]:
    """List comments; those on lines that follow each other are one text."""
    lines: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if lines and token.start[0] != lines[-1][0] + 1:
            yield _joined(lines)
            lines = []
        lines.append((token.start[0], token.string.lstrip("# ")))
    if lines:
        yield _joined(lines)


def _joined(lines: list[tuple[int, str]]) -> Text:
    return Text(lines[0][0], "\n".join(text for _, text in lines))


def docstrings(source: str) -> Iterator[Text]:
    """List docstrings, those of attributes too: strings that are statements."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield Text(node.lineno, text)


def messages(source: str) -> Iterator[Text]:
    """List strings with a space that are no docstrings; what an f-string puts in is left out."""
    yield from _messages(ast.parse(source))


def _messages(node: ast.AST) -> Iterator[Text]:
    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.JoinedStr(values=parts):
            texts = (part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
            yield from _with_space(node.lineno, "".join(str(text) for text in texts))
        case ast.Constant(value=str(text)):
            yield from _with_space(node.lineno, text)
    is_joined = isinstance(node, ast.JoinedStr)
    for child in ast.iter_child_nodes(node):
        if not (is_joined and isinstance(child, ast.Constant)):
            yield from _messages(child)


def _with_space(line: int, text: str) -> Iterator[Text]:
    if " " in text.strip():
        yield Text(line, text)


def document(text: str) -> Text:
    """Give a document without its code, every line at its number."""
    return Text(1, _FENCED.sub(lambda hit: "\n" * hit[0].count("\n"), text))


def count(paths: Iterable[Path]) -> Count:
    """Count what some files have."""
    prose: list[Place] = []
    names: list[Place] = []
    lines = 0
    for path in paths:
        source = path.read_text()
        lines += source.count("\n")
        if path.suffix != ".py":
            prose += words_in([document(source)], path)
            continue
        prose += words_in([*comments(source), *docstrings(source)], path)
        if "tests" not in path.relative_to(ROOT).parts:
            prose += words_in(messages(source), path)
            names += names_in(source, path)
    return Count(tuple(prose), tuple(names), lines)


def rooms() -> dict[str, list[Path]]:
    """List the files of each room, and of each part of the repository beside the operator."""
    files = {
        room.name: sorted(room.rglob("*.py"))
        for room in sorted(PACKAGE.iterdir())
        if (room / "__init__.py").exists()
    }
    for name in ("bench", "lab", "tests", "tools"):
        files[name] = sorted((ROOT / name).rglob("*.py"))
    chart = ROOT / "deploy" / "helm" / "rollback-operator"
    files["chart"] = [chart / "values.yaml", *sorted(chart.glob("templates/*"))]
    files["docs"] = [path for path in sorted(ROOT.glob("docs/*.md")) if path.name not in _GENERATED]
    files["root"] = [path for path in sorted(ROOT.glob("*.md")) if path.name != "CHANGELOG.md"]
    files["root"] += [*sorted(ROOT.glob("examples/*.yaml")), ROOT / "Makefile"]
    return files


_GENERATED = {"api.md", "install-transcript.md", "security-rights.md", "stories.md"}
Ceilings = Mapping[str, Mapping[str, int]]


def over(counts: Mapping[str, Count], ceilings: Ceilings) -> list[str]:
    """List the rooms that have more than they may; a room without a ceiling may have nothing."""
    wrong = []
    for room, counted in counts.items():
        for kind, places in counted.kinds:
            most = ceilings.get(kind, {}).get(room, 0)
            if len(places) > most:
                wrong.append(f"{room}: {len(places)} retired {kind}, at most {most} are allowed")
    return wrong


def lowered(counts: Mapping[str, Count], ceilings: Ceilings) -> Ceilings:
    """Give the ceilings as low as they can be; without any yet, the counts."""
    rows: dict[str, dict[str, int]] = {"words": {}, "names": {}}
    for room, counted in counts.items():
        for kind, places in counted.kinds:
            known = ceilings.get(kind, {}).get(room, 0) if ceilings else len(places)
            rows[kind][room] = min(known, len(places))
    return rows


def read() -> Ceilings:
    """Read the ceilings; empty if there are none yet."""
    return tomllib.loads(CEILINGS.read_text()) if CEILINGS.exists() else {}


def _write(ceilings: Ceilings) -> None:
    tables = (
        f"\n[{kind}]\n" + "".join(f"{room} = {most}\n" for room, most in rows.items() if most)
        for kind, rows in ceilings.items()
    )
    CEILINGS.write_text(HEADER + "".join(tables))


def _show(counts: Mapping[str, Count]) -> None:
    print(f"{'room':10} {'lines':>6} {'words':>6} {'names':>6} {'words per 1,000 lines':>22}")
    for room, counted in [*counts.items(), ("all", _total(counts))]:
        share = 1000 * len(counted.words) / max(1, counted.lines)
        row = f"{counted.lines:6} {len(counted.words):6} {len(counted.names):6}"
        print(f"{room:10} {row} {share:22.1f}")


def _total(counts: Mapping[str, Count]) -> Count:
    every = counts.values()
    return Count(
        tuple(place for counted in every for place in counted.words),
        tuple(place for counted in every for place in counted.names),
        sum(counted.lines for counted in every),
    )


def _list(counted: Count) -> None:
    for place in sorted((*counted.words, *counted.names), key=lambda at: (at.path, at.line)):
        print(f"{place.path.relative_to(ROOT)}:{place.line}: {place.word}")


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for."""
    counts = {room: count(paths) for room, paths in rooms().items()}
    match arguments:
        case []:
            _show(counts)
        case ["--list", room] if room in counts:
            _list(counts[room])
        case ["--write"]:
            _write(lowered(counts, read()))
        case ["--check"]:
            wrong = over(counts, read())
            for line in [*wrong, "each place: python tools/words.py --list ROOM"] if wrong else []:
                print(line)
            return 1 if wrong else 0
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
