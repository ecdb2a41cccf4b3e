"""The models that this encoder knows: our own cards, and those of the operator's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from searchmesh_encoder.models.card import CardError, ModelCard, read_card

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN_CARDS = Path(__file__).with_name("cards")


def read_catalogue(extra_cards: Path | None = None) -> Mapping[str, ModelCard]:
    """Every card by name, in the order of names.

    extra_cards: folder of further `*.yaml` cards; one of a known name replaces it.
    Raises CardError where the folder is missing, a card is faulty or two extra ones share a name.
    """
    cards = {card.name: card for card in map(read_card, sorted(OWN_CARDS.glob("*.yaml")))}
    if extra_cards:
        cards.update(_read_extra(extra_cards))
    return dict(sorted(cards.items()))


def _read_extra(folder: Path) -> Mapping[str, ModelCard]:
    if not folder.is_dir():
        raise CardError(f"{folder} is not a folder of cards")
    cards: dict[str, ModelCard] = {}
    for path in sorted(folder.glob("*.yaml")):
        card = read_card(path)
        if card.name in cards:
            raise CardError(f"{path}: name: another card of this folder is called {card.name}")
        cards[card.name] = card
    return cards
