"""What a person should know of a method, from its card: for a terminal, and as docs/methods.md."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.pages.known import capabilities, method_rows
from tasks.plain_text import Marked, markdown_table

COMMAND = "shotboard methods page > docs/methods.md"
COLUMNS = ("hyperparameter", "default", "may be", "elsewhere")
FLAGS = {
    "transductive": "transductive: sees unlabelled test examples or new class names as it learns",
    "test_time": "test-time: adapts to test examples as they come",
    "stream": "stream: what it says of a test example depends on those before",
    "external_knowledge": "external knowledge: reads texts that are not in the dataset",
    "teacher": "teacher: learns from another tuned model",
    "unlabelled": "unlabelled: learns from examples without labels, of the train split or, in a "
    "transductive protocol, those that are tested",
    "unsupervised": "unsupervised: needs no label at all",
}


def facts(row: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """All but title and settings, in the order in which one asks for it.

    Args:
        row: One of `method_rows`.

    Returns:
        A sentence by what it is about, or several of them; nothing empty.
    """
    card = row["card"]
    found: dict[str, str | list[str]] = {
        "tunes": card["tunes"],
        "costs": card["cost"],
        "reads": f"unlabelled examples{'; its teacher reads labelled ones' * row['teacher']}"
        if row["unlabelled"]
        else f"labelled examples{', before them those of other datasets' * _starts(card)}"
        if card["learns"]
        else "no labelled example",
        "needs": [f"{name}: {capabilities()[name]}" for name in row["needs"]]
        + ["descriptions: sentences about each class of the dataset"] * row["descriptions"]
        + ["domains: that of each training example"] * card.get("domains", False)
        or "frozen features and text prompts, which every backbone has",
        "new classes": "classifies classes that it has not seen"
        if card["new_classes"]
        else "learns something of its own for each class, so it classifies no others",
        # The board of an earlier version has none.
        "head for unseen classes": card.get("unseen_head", ""),
        "flags": [text for flag, text in FLAGS.items() if row[flag]] or "none",
        "views": _views(card),
        "without validation": _last_step(card.get("without_validation", "")),
        "source": row["source"],
        "departures": card["departures"],
        "revision": str(row["revision"]),
    }
    return {key: value for key, value in found.items() if value}


def _starts(card: Mapping[str, Any]) -> bool:
    """Whether it starts from what was learned before."""
    return "source_datasets" in card.get("hyperparameters", {})


def _last_step(why: str) -> str:
    """What is done where there is nothing to choose an epoch on; empty where nothing is said."""
    return f"the last step is kept: {why}" if why else ""


def _views(card: Mapping[str, Any]) -> str:
    """How training images were seen where it was published; empty where nobody trains on any."""
    if not card.get("views_source"):  # nor has the board of an earlier version
        return ""
    return f"{card['views']}, {card['views_show']} ({card['views_source']})"


def settings(row: Mapping[str, Any]) -> list[list[str]]:
    """Each hyperparameter, its default, what it may be, and where another value was published.

    Args:
        row: One of `method_rows`.
    """
    card = row["card"]
    return [
        [name, _written(value), card["bounds"][name], _elsewhere(name, card["recipes"])]
        for name, value in sorted(card["hyperparameters"].items())
    ]


def _elsewhere(name: str, recipes: Sequence[Mapping[str, Any]]) -> str:
    """Where the published value of a hyperparameter is not its default, and which it is."""
    places: dict[tuple[str, str], list[str]] = {}  # value and when: datasets
    for recipe in recipes:
        if name in recipe["values"]:
            place = _written(recipe["values"][name]), recipe["when"]
            places.setdefault(place, []).extend(recipe["on"])
    told = []
    for (value, when), datasets in places.items():
        on = f"on {', '.join(datasets)}" if datasets else ""
        told.append(f"{value} ({' '.join(part for part in (when, on) if part)})")
    return "; ".join(told)


def page() -> str:
    """All methods as Markdown."""
    rows = method_rows()
    parts = [
        "# Methods",
        f"Written by `{COMMAND}` from the cards in `operators/methods/`: change a card and run it "
        "again.",
        _table(
            ["method", "tunes", "new classes", "flags"],
            [
                [
                    f"[{row['method']}](#{row['method']})",
                    row["card"]["tunes"],
                    "yes" if row["card"]["new_classes"] else "no",
                    ", ".join(flag.replace("_", " ") for flag in FLAGS if row[flag]),
                ]
                for row in rows
            ],
        ),
        "All hyperparameters can be set: `shotboard run --set coop.n_context=8`. The last column "
        "of a table says where the published value is not the default.",
    ]
    for row in rows:
        parts += [f"## {row['method']}", f"**{row['title']}**", _list(facts(row))]
        if row["card"]["hyperparameters"]:
            parts.append(_table(COLUMNS, settings(row)))
    return "\n\n".join(parts) + "\n"


def _list(known: Mapping[str, str | Sequence[str]]) -> str:
    lines = []
    for key, value in known.items():
        if isinstance(value, str):
            lines.append(f"- {key}: {value}")
        else:
            lines += [f"- {key}:", *(f"  - {sentence}" for sentence in value)]
    return "\n".join(lines)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are Markdown, as cards are written."""
    return markdown_table(columns, (map(Marked, row) for row in rows)).rstrip()


def _written(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
