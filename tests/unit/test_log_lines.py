"""Lines of the log: one JSON object each, whatever is said, and not one for each of many events."""

from __future__ import annotations

import io
import json
import logging
import sys

from hypothesis import given
from hypothesis import strategies as st

from models.log_lines import Seldom, log_line
from serving.logs import JsonFormatter


def test_a_line_says_when_how_bad_who_and_what_and_which_slate():
    line = log_line(1_700_000_000_123, "WARN", logger="flinkrec.recommend", message="slow slate", slate_id="ab", arm=None)
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "WARN",
        "logger": "flinkrec.recommend",
        "message": "slow slate",
        "slate_id": "ab",
    }


@given(st.text(), st.one_of(st.text(), st.integers(), st.floats(), st.dictionaries(st.text(), st.integers())))
def test_whatever_is_said_is_one_line_of_json(key, value):
    line = log_line(0, "INFO", logger="l", message="m", key=key, value=value)
    assert "\n" not in line
    assert json.loads(line)["message"] == "m"


def test_texts_that_no_utf8_can_hold_are_said_all_the_same():
    assert json.loads(log_line(0, "INFO", logger="l", message="m", detail="\ud800"))["detail"] == "?"


def test_a_long_text_is_cut():
    assert len(json.loads(log_line(0, "INFO", logger="l", message="m", detail="x" * 10_000))["detail"]) == 1_024


def test_of_many_lines_of_a_kind_one_is_let_through_in_a_while_with_the_number_of_the_others():
    seldom = Seldom(10_000)
    assert [seldom.admit("a", now_ms) for now_ms in (0, 1, 9_999)] == [0, None, None]
    assert seldom.admit("b", 5) == 0
    assert [seldom.admit("a", now_ms) for now_ms in (10_000, 10_001, 30_000)] == [2, None, 1]


def test_python_logs_the_same_lines_with_what_is_given_beside_the_message():
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("flinkrec.test_log_lines")
    logger.addHandler(handler)
    try:
        raise ValueError("of this kind")
    except ValueError:
        logger.warning("%s failed", "it", exc_info=sys.exc_info(), extra={"user_id": "u", "slate_id": "ab"})
    line = json.loads(written.getvalue())
    assert (line["level"], line["logger"], line["message"]) == ("WARN", "flinkrec.test_log_lines", "it failed")
    assert (line["user_id"], line["slate_id"]) == ("u", "ab")
    assert line["error"].rstrip().endswith("ValueError: of this kind")
    assert written.getvalue().count("\n") == 1
