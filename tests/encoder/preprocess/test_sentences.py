"""Sentences begin where most readers would say so, and never within a word."""

# ruff: noqa: RUF001 - the marks of other scripts are what this is about

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_encoder.preprocess.sentences import sentence_starts


def sentences(text: str) -> list[str]:
    starts = [*sentence_starts(text), len(text)]
    return [text[start:end].strip() for start, end in pairwise(starts)]


PROSE = [
    ["It rains.", "We stay in!", "Do we?", "We do…", "Then we sleep."],
    ['"Why?"', "She left (early!).", "“That was all.”", "He said."],
    ["Dr. Smith met J. R. R. Tolkien at 5 p.m. in the U.S. with Mr. X.Y. Zed.", "Or Ms. B?"],
    ["It cost 3.50 at example.com, e.g. twice.", "In 1990.", "Er kam am 3. Mai, z.B. gestern."],
    ["私は学生です。", "「はい！」", "本当？？", "ええ。"],
    ["हिन्दी वाक्य।", "दूसरा वाक्य।", "هل أنت بخير؟", "نعم."],
]


@pytest.mark.parametrize("gap", ["\n\n", "\r\n\r\n", "\u2029\u2029", "\n \t\r\n"])
@pytest.mark.parametrize("expected", PROSE, ids=lambda expected: expected[0][:8])
def test_paragraphs_are_sentences_whatever_they_begin_with(expected: list[str], gap: str) -> None:
    for one in expected:
        assert len(sentences(one + gap + "and on")) == len(sentences(one)) + 1


@pytest.mark.parametrize("gap", [" ", "  ", "\n", "\t\r\n"])
@pytest.mark.parametrize("expected", PROSE, ids=lambda expected: expected[0][:8])
def test_sentences_begin_where_one_would_say(expected: list[str], gap: str) -> None:
    assert sentences(gap.join(expected)) == expected


def test_a_script_without_spaces_has_sentences_too() -> None:
    assert sentences("私は学生です。「はい！」本当？？ええ") == [
        "私は学生です。",
        "「はい！」",
        "本当？？",
        "ええ",
    ]


def test_a_line_is_a_sentence_unless_it_goes_on_in_lower_case() -> None:
    assert sentences("1. First\n2. Second,\nwhich is wrapped\n- Third") == [
        "1. First",
        "2. Second,\nwhich is wrapped",
        "- Third",
    ]


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_white_space_has_no_sentence(text: str) -> None:
    assert list(sentence_starts(text)) == []


@given(text=st.text(st.sampled_from("aA1 .!?\n\r\u2028\t。」\"'\x0c\x85") | st.characters()))
def test_every_border_is_before_a_word_and_after_a_separator(text: str) -> None:
    starts = list(sentence_starts(text))
    assert starts == sorted(set(starts))
    assert bool(starts) == bool(text.strip())
    for start in starts[1:]:
        assert not text[start].isspace()
        assert not text[start - 1].isalnum()
    if starts:
        assert not text[: starts[0]].strip()


@pytest.mark.parametrize("unit", [".", ".)", "।", "。", "\n", "a. ", ". \n", '"', " "])
def test_a_long_text_is_read_in_one_pass(unit: str) -> None:
    text = unit * (200_000 // len(unit)) + "a"
    started = time.process_time()
    assert sum(1 for _ in sentence_starts(text)) <= len(text)
    # a pass takes some milliseconds, one from every character would take hours
    assert time.process_time() - started < 5
