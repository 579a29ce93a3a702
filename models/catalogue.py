"""Records of `items`: the catalogue's entries, as the recommender and whoever serves its slates read them."""

from __future__ import annotations

import msgspec

from models.events import Refusal, Rejected, decode_value
from models.topics import CatalogueItem

MAX_ITEM_ID_BYTES = 1_024
_MAX_TITLE = 1_000
_decode = msgspec.json.Decoder(CatalogueItem).decode


def decode_catalogue_entry(key: str | None, value: bytes | None) -> tuple[str, CatalogueItem | None]:
    """Id of an item, and what the catalogue says of it; None where it is gone.

    Raises
    ------
    Rejected
        When the record has neither key nor item_id, or its value is not a catalogue entry.
    """
    if value is None:
        if key is None:
            raise Rejected(Refusal.TOMBSTONE_KEY, "a tombstone without a key names no item")
        return key, None
    item = decode_value(_decode, value)
    item_id = key or ("" if item.item_id is None else str(item.item_id))
    if not item_id:
        raise Rejected(Refusal.MISSING_FIELD, "item_id: expected it in the key or in the value")
    size_bytes = len(item_id.encode("utf-8", "surrogatepass"))
    if size_bytes > MAX_ITEM_ID_BYTES:
        raise Rejected(Refusal.BAD_ID, f"item_id: expected at most {MAX_ITEM_ID_BYTES} bytes, got {size_bytes}")
    # both stand in every slate that shows the item, which has to fit a record
    if item.title is not None and len(item.title) > _MAX_TITLE:
        item = msgspec.structs.replace(item, title=item.title[:_MAX_TITLE])
    return item_id, item
