"""The script that counts retired words: what counts as prose, and that ceilings only fall."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import words
from tools.words import Count, Place, Text

HERE = Path("module.py")
SOURCE = '''"""A charter that tells much."""

ONE = 1
"""The ones of an attribute."""


# A comment of a thing that is let
# go of, over two lines.
def said(one: int) -> str:
    """Say it."""
    found = f"it was told {one.way} and {'the way' if one else 'sight'} of it"
    return found + "standing" + "steers"
'''


def hits(*texts: Text) -> list[tuple[int, str]]:
    return [(place.line, place.word) for place in words.words_in(texts, HERE)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the old one, and the new ones", ["one", "ones"]),
        ("the one that is there", ["one"]),
        ("this is one", ["one"]),
        ("one's own", ["one's"]),
        ("one request of one route", []),
        ("one of two", []),
        ("none, anyone, phones", []),
        ("Told by itself", ["Told", "by itself"]),
        ("let\n  go of it", ["let go of"]),
        ("always, outstanding, sightless", []),
        ("two, of which three", ["of which"]),
        ("it was not found", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert [word for _, word in hits(Text(1, text))] == expected


def test_a_word_is_on_the_line_where_it_begins() -> None:
    assert hits(Text(7, "a\nb told\nc by\nitself")) == [(8, "told"), (9, "by itself")]


def test_docstrings_are_those_of_attributes_too() -> None:
    assert hits(*words.docstrings(SOURCE)) == [(1, "tells"), (4, "ones")]


def test_comments_on_lines_that_follow_are_read_together() -> None:
    assert hits(*words.comments(SOURCE)) == [(7, "let go of")]


def test_messages_are_strings_with_a_space_without_what_is_put_in() -> None:
    assert [text.text for text in words.messages(SOURCE)] == [
        "it was told {} and {} of it",
        "the way",
    ]
    assert [word for _, word in hits(*words.messages(SOURCE))] == ["told", "way"]


def test_names_are_those_that_are_bound() -> None:
    assert {(place.line, place.word) for place in words.names_in(SOURCE, HERE)} == {
        (9, "said"),
        (9, "one"),
        (11, "found"),
    }


def test_code_in_a_document_does_not_count() -> None:
    text = "told `tells`\n```\nsaid\n```\nsight\n"

    assert hits(words.document(text)) == [(1, "told"), (5, "sight")]


def counted(*, prose: int, names: int) -> Count:
    place = Place(HERE, 1, "told")
    return Count((place,) * prose, (place,) * names, 100)


CEILINGS = {"words": {"judge": 3}, "names": {"judge": 2}}


def test_a_room_may_have_as_many_as_its_ceiling() -> None:
    assert words.over({"judge": counted(prose=3, names=2)}, CEILINGS) == []
    assert words.over({"judge": counted(prose=4, names=2)}, CEILINGS) == [
        "judge: 4 retired words, at most 3 are allowed"
    ]


def test_a_new_room_has_none() -> None:
    assert words.over({"garage": counted(prose=0, names=1)}, CEILINGS) == [
        "garage: 1 retired names, at most 0 are allowed"
    ]


def test_ceilings_only_fall() -> None:
    ceilings = words.lowered({"judge": counted(prose=1, names=5)}, CEILINGS)

    assert ceilings == {"words": {"judge": 1}, "names": {"judge": 2}}


def test_the_first_ceilings_are_the_counts() -> None:
    ceilings = words.lowered({"judge": counted(prose=1, names=5)}, {})

    assert ceilings == {"words": {"judge": 1}, "names": {"judge": 5}}


def test_every_room_is_counted_and_nothing_generated() -> None:
    files = words.rooms()
    every = [path for paths in files.values() for path in paths]

    assert {"api", "judge", "reconcile", "docs", "chart", "tests"} <= set(files)
    assert len(every) == len(set(every))
    assert not [path for path in every if path.name in ("api.md", "CHANGELOG.md")]
    assert not [path for path in every if "adr" in path.parts or "crds" in path.parts]
