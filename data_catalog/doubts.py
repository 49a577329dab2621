"""What an ingested dataset shows that a person should look at, as sentences."""

from collections.abc import Mapping
from typing import Any

from data_catalog.kinds import Kind
from data_catalog.quality import quality_doubts
from data_catalog.wording import plural


def doubts(kind: Kind, report: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that hints at data read wrongly, or at rows that mislead.

    Args:
        kind: Of the data.
        report: What `card.json` says of the examples.
    """
    found: list[str] = []
    noun = kind.noun
    aside = report["quarantined"]
    if aside["count"]:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in aside["kinds"].items())
        found.append(f"{plural(aside['count'], noun)} set aside: {kinds}.")
    found += kind.doubts(report)
    repeated = report["duplicates"]
    if conflicting := repeated[f"conflicting_{noun}s"]:
        found.append(f"{plural(conflicting, noun)} with more than one class.")
    if leaked := repeated[f"leaked_{noun}s"]:
        found.append(f"{plural(leaked, noun)} in more than one split.")
    if repeated["rows"]:
        article = "an" if noun[0] in "aeiou" else "a"
        found.append(
            f"{plural(repeated['rows'], 'row')} with {article} {noun} that an earlier row has."
        )
    return found + quality_doubts(kind, report)
