"""A grammar of what is written about companies: a text of a topic, a mood, an entity and a kind, and edited copies of texts.

The mood of a text is not in its words alone: it is negated ("fears of a profit warning proved unfounded"), conceded ("despite strong
margins"), left open, and beside details of either colour. docs/domains/opinion.md has the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.monitor.texts import Sentiment, TextKind

ENTITIES: dict[str, list[str]] = {
    "Norvik Bank": ["NVB", "Norvik"],
    "Halden Motors": ["HLDM", "Halden"],
    "Cassini Pharma": ["CSPH", "Cassini"],
    "Orrin Energy": ["ORRN", "Orrin"],
    "Teleplan": ["TPLN", "Teleplan Networks"],
    "Bruma Foods": ["BRMA", "Bruma"],
    "Quill Software": ["QLSW", "Quill"],
    "Astera Air": ["ASTR", "Astera"],
}


@dataclass(frozen=True, slots=True)
class TopicWords:
    """What is said of a topic: good and bad things as nouns, and clauses of each mood with ``{E}`` for whom it is about."""

    good: Sequence[str]
    bad: Sequence[str]
    positive: Sequence[str]
    negative: Sequence[str]
    neutral: Sequence[str]


TOPICS: dict[str, TopicWords] = {
    "earnings": TopicWords(
        good=("a record quarter", "strong margins", "higher guidance", "a profit beat", "a fatter dividend", "growing sales"),
        bad=("a profit warning", "thin margins", "a revenue miss", "a cut dividend", "a writedown", "rising costs"),
        positive=(
            "{E} earned more than anyone had forecast",
            "{E} raised its outlook for the full year",
            "quarterly sales at {E} climbed by a fifth",
            "{E} pays the highest dividend in its history",
            "operating income at {E} came in well ahead of estimates",
            "{E} turned last year's loss into a solid surplus",
        ),
        negative=(
            "{E} earned far less than forecast",
            "{E} took back its outlook for the full year",
            "quarterly sales at {E} shrank by a fifth",
            "{E} suspends its dividend",
            "operating income at {E} came in well short of estimates",
            "{E} slid from a surplus into a deep loss",
        ),
        neutral=(
            "{E} publishes its half-year figures",
            "{E} closed its books for the quarter",
            "{E} will hold its results call as planned",
            "{E} changes the date of its annual accounts",
        ),
    ),
    "deals": TopicWords(
        good=("a generous takeover premium", "a bidding war", "quick approval of the merger", "synergies", "a friendly offer"),
        bad=("a collapsed merger", "a lowball bid", "a hostile takeover", "an overpriced purchase", "a broken deal"),
        positive=(
            "{E} gets the rival it wanted for a bargain price",
            "the merger of {E} wins applause from both boards",
            "a buyer offers half again the market price for {E}",
            "{E} seals the acquisition that it had been waiting for",
            "shareholders of {E} welcome the tie-up",
        ),
        negative=(
            "{E} walks away from the merger with nothing",
            "{E} overpays for a struggling rival",
            "the takeover of {E} falls apart at the last minute",
            "shareholders of {E} revolt against the bid",
            "{E} loses the auction that its plan depended on",
        ),
        neutral=(
            "{E} is in talks about a stake in a supplier",
            "{E} asks a bank to look at its options for the unit",
            "{E} completes the purchase that it announced in spring",
            "the offer period for {E} runs for another month",
        ),
    ),
    "regulation": TopicWords(
        good=("a clean bill from the watchdog", "a dropped investigation", "lighter rules", "a won appeal", "a new licence"),
        bad=("a record fine", "a fraud probe", "tougher capital rules", "a lost lawsuit", "a revoked licence"),
        positive=(
            "the watchdog clears {E} of all charges",
            "a court throws out the case against {E}",
            "{E} gets its licence renewed without conditions",
            "{E} wins its appeal and gets the money back",
            "regulators praise the controls of {E}",
        ),
        negative=(
            "the watchdog fines {E} for misleading clients",
            "prosecutors search the offices of {E}",
            "{E} loses its licence in two markets",
            "a court finds {E} guilty of price fixing",
            "regulators accuse {E} of hiding risks",
        ),
        neutral=(
            "the ministry consults on rules that cover {E}",
            "{E} files its yearly report with the supervisor",
            "a hearing on the case of {E} is scheduled",
            "{E} answers the questionnaire of the authority",
        ),
    ),
    "governance": TopicWords(
        good=("an independent board", "a respected chair", "open books"),
        bad=("a boardroom feud", "a scandal around the chair", "a conflict of interest"),
        positive=("investors applaud the new chair of {E}", "{E} gives small shareholders a real vote"),
        negative=("the chair of {E} resigns amid a scandal", "directors of {E} fight in public"),
        neutral=("{E} proposes two directors for its board", "{E} invites to its general meeting"),
    ),
}

_FRAMES: dict[Sentiment, Sequence[str]] = {
    "positive": (
        "Despite {bad}, {positive}",
        "Fears of {bad} at {E} proved unfounded",
        "What looked like {bad} turned into {good} for {E}",
        "Nobody at {E} has to worry about {bad} any more",
        "{E} surprises with {good}",
        "After {bad} last year, {positive}",
        "No trace of {bad}: {positive}",
    ),
    "negative": (
        "Despite {good}, {negative}",
        "Hopes of {good} at {E} faded",
        "What looked like {good} turned into {bad} for {E}",
        "There is no sign of {good} at {E}",
        "{E} shocks with {bad}",
        "After {good} last year, {negative}",
        "So much for {good}: {negative}",
    ),
    "neutral": (
        "Whether it will be {good} or {bad} for {E} is open",
        "{E} says on {day} if there will be {good}",
        "{E} declined to comment on talk of {bad}",
        "Analysts discuss {good} and {bad} at {E}, nothing is decided",
        "{neutral}; expectations range from {bad} to {good}",
        "{neutral}, as it does every year",
    ),
}
_DETAILS = (
    "The shares last changed hands at {price}",
    "A call is scheduled for {hour} on {day}",
    "{person} has run the {unit} division since {year}",
    "The wider market {moved} {percent} percent",
    "{house} keeps its price target of {price}",
    "The statement of {day} has {pages} pages",
    "About {thousand} thousand people work there",
    "{person} spoke to reporters in {city}",
    "The company was founded in {city} in {year}",
    "Peers in {city} {moved} {percent} percent on {day}",
    "Trading volume was {percent} percent of the monthly average",
    "{house} holds {percent} percent of the stock",
    "The next update comes in {month}",
    "The {unit} division makes {percent} percent of the turnover",
    "{person} of {house} follows the company from {city}",
    "It was the {pages}th item on the agenda in {month}",
)
_SLOTS: dict[str, Sequence[str]] = {
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "month": ("January", "March", "April", "June", "July", "September", "October", "December"),
    "city": ("Oslo", "Milan", "Leeds", "Porto", "Ghent", "Graz", "Malmo", "Lyon", "Basel", "Cork", "Turku", "Brno"),
    "person": ("Ines Falk", "Tom Okoro", "Lena Brandt", "Raj Patel", "Mia Costa", "Jon Vik", "Eva Rossi", "Max Moreau", "Ada Lind"),
    "house": ("Berg & Co", "Alder Research", "Finch Capital", "Stonebridge", "Maris Partners", "North Pier"),
    "unit": ("retail", "industrial", "overseas", "digital", "leasing", "wholesale", "service"),
    "moved": ("gained", "lost", "rose", "fell", "added", "dropped"),
}
_NUMBERS = {"price": (8, 400), "percent": (1, 40), "year": (1890, 2020), "hour": (7, 19), "pages": (4, 90), "thousand": (2, 200)}
_OPENINGS: dict[TextKind, Sequence[str]] = {
    "news": ("", "", "Update: ", "Exclusive: ", "From {city}: ", "{day} briefing: ", "Market report: "),
    "post": ("", "Just in: ", "Hm. ", "Look at this: ", "Thread on {E}. ", "{day} note to self: ", "Heads up: "),
    "comment": ("", "As a customer in {city}: ", "I said it in {month}: ", "My two cents: ", "Honestly, ", "For what it is worth, "),
}
_CLOSINGS: dict[TextKind, Sequence[str]] = {
    "news": ("", "", ", {house} reports", ", according to {person}", ", says a filing of {day}"),
    "post": (" #{tag}", " #stocks", "", " what do you think?", " ${tag}"),
    "comment": (
        *("", ", that is all I know", ", and I have followed them since {year}"),
        *(", my neighbour {person} says", ", we will see in {month}"),
    ),
}


class Writer:
    """Draws texts.

    Parameters
    ----------
    draw : generator of the draws
    """

    def __init__(self, draw: np.random.Generator) -> None:
        self._draw = draw

    def write(self, topic: str, mood: Sentiment, entities: Sequence[str], kind: TextKind) -> str:
        """A text of a topic in a mood about one entity, or about two, in the manner of its kind."""
        words = TOPICS[topic]
        first = self._pick((entities[0], *ENTITIES[entities[0]]))
        plain = self._draw.random() < 0.4
        frame = "{" + mood + "}" if plain else self._pick(_FRAMES[mood])
        sentence = frame
        for name in ("positive", "negative", "neutral", "good", "bad"):
            sentence = sentence.replace("{" + name + "}", self._pick(getattr(words, name)))
        opening, closing = self._pick(_OPENINGS[kind]), self._pick(_CLOSINGS[kind])
        sentence = f"{opening}{sentence}{closing}"
        details = [self._pick(_DETAILS) for _ in range(int(self._draw.integers(1, 3 if kind == "comment" else 4)))]
        if len(entities) > 1:
            details.append(f"{self._pick((entities[1], *ENTITIES[entities[1]]))} is named as well")
        tag = ENTITIES[entities[0]][0]
        text = ". ".join((sentence, *details)).replace("{E}", first).replace("{tag}", tag)
        return self._filled(text[0].upper() + text[1:]) + ("" if kind == "post" else ".")

    def _filled(self, text: str) -> str:
        for name, choices in _SLOTS.items():
            while "{" + name + "}" in text:
                text = text.replace("{" + name + "}", self._pick(choices), 1)
        for name, (low, high) in _NUMBERS.items():
            while "{" + name + "}" in text:
                text = text.replace("{" + name + "}", str(int(self._draw.integers(low, high))), 1)
        return text

    def edited(self, text: str) -> str:
        """A copy of a text as people pass it on: some of its words dropped, exchanged or added, a tag, a link, a cut end."""
        words = text.split()
        for _ in range(int(self._draw.integers(1, 4))):
            place = int(self._draw.integers(len(words)))
            edit = self._draw.random()
            if edit < 0.35 and len(words) > 8:
                del words[place]
            elif edit < 0.7:
                words[place] = self._pick(_FILLERS)
            else:
                words.insert(place, self._pick(_FILLERS))
        if self._draw.random() < 0.2:
            words = words[: max(8, int(0.85 * len(words)))]
        copy = " ".join(words)
        for share, change in (
            (0.3, lambda t: f"RT @{self._pick(_HANDLES)}: {t}"),
            (0.2, lambda t: f"{t} https://short.example/{self._draw.integers(10_000)}"),
            (0.2, lambda t: f"{t} #{self._pick(_FILLERS)}"),
            (0.15, str.upper),
        ):
            if self._draw.random() < share:
                copy = change(copy)
        return copy

    def _pick(self, choices: Sequence[str]) -> str:
        return choices[int(self._draw.integers(len(choices)))]


_FILLERS = ("now", "wow", "today", "really", "still", "again", "apparently", "breaking", "finally", "here", "so", "just")
_HANDLES = ("marketfox", "bullandbear", "ninaT", "dividendjoe", "chartist", "opentrade")
