"""Identity: hashes, names and draws are the same for ever, everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import identity
from models.identity import EMPTY, hash64, item_hash64, mix64, slate_id, uniform

ANY_TEXT = st.text(st.characters(exclude_categories=()))
ANY_INT64 = st.integers(-(2**63), 2**63 - 1)


def test_a_hash_is_the_signed_little_endian_blake2b_digest_of_the_utf8_bytes():
    # `printf item-1 | b2sum -l 64` prints the same digests.
    assert hash64("item-1") == 8406168460641299428
    assert hash64("") == -5426141060434712860
    assert hash64("naïve ☃") == -5705639438645954379


def test_a_text_with_a_lone_surrogate_is_hashed_like_any_other():
    assert hash64("\ud800") != hash64("\ud801")


@given(ANY_TEXT)
def test_a_hash_fits_a_signed_64_bit_integer_and_is_never_the_reserved_zero(text):
    hashed = hash64(text)
    assert int(np.int64(hashed)) == hashed
    assert hashed != EMPTY


def test_a_digest_of_zeros_becomes_one(monkeypatch):
    class Zeros:
        def digest(self):
            return bytes(8)

    monkeypatch.setattr(identity, "blake2b", lambda *_, **__: Zeros())
    assert hash64("whose digest is zero") == 1


@given(ANY_TEXT)
def test_the_remembered_hash_of_an_item_is_its_hash(text):
    assert item_hash64(text) == item_hash64(text) == hash64(text)


def test_a_hundred_thousand_ids_do_not_collide():
    assert len({hash64(f"item-{number}") for number in range(100_000)}) == 100_000


def test_a_slate_is_named_by_16_hexadecimal_characters_of_its_cause_and_user():
    assert slate_id("e1", "u1") == "1f3827a562ecf717"
    assert slate_id("e1", "u2") != slate_id("e1", "u1") != slate_id("e2", "u1")


def test_moving_a_character_between_cause_and_user_names_another_slate():
    assert slate_id("ab", "c") != slate_id("a", "bc")


def test_mix64_gives_the_published_splitmix64_sequence():
    # Seed 1234567, as listed by rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64.
    golden = 0x9E3779B97F4A7C15
    assert [mix64(1234567 + step * golden) for step in range(1, 6)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_a_draw_is_the_same_for_ever():
    assert uniform(5, 7, 3) == 0.8227482508147149
    assert uniform(-1, 7, 0) == uniform(2**64 - 1, 7, 0)


@given(ANY_INT64, ANY_INT64, st.integers(0, 2**40))
def test_a_draw_lies_in_zero_to_below_one(key, seed, draw):
    assert 0.0 <= uniform(key, seed, draw) < 1.0


@pytest.mark.parametrize(
    "draws",
    [
        [uniform(7, 7, draw) for draw in range(20_000)],
        [uniform(key, 7, 0) for key in range(20_000)],
        [uniform(7, seed, 0) for seed in range(20_000)],
    ],
    ids=["by draw", "by key", "by seed"],
)
def test_draws_that_differ_in_one_argument_are_uniform_and_uncorrelated(draws):
    counts, _ = np.histogram(draws, bins=20, range=(0, 1))
    chi_square = float(((counts - 1_000) ** 2 / 1_000).sum())
    assert chi_square < 43.8  # the 0.1 % point of 19 degrees of freedom
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 4 / math.sqrt(len(draws))
