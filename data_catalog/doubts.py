"""What an ingested dataset shows that a person should look at, as sentences."""

from collections.abc import Mapping
from typing import Any

from data_catalog.deep_pixels import KEPT
from data_catalog.wording import plural, some


def doubts(report: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that hints at data read wrongly, or at rows that mislead.

    Args:
        report: What `card.json` says of the images.
    """
    found: list[str] = []
    aside = report["quarantined"]
    if aside["count"]:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in aside["kinds"].items())
        found.append(f"{plural(aside['count'], 'image')} set aside: {kinds}.")
    constant = report["constant_images"]
    if constant["count"]:
        found.append(
            f"{plural(constant['count'], 'image')} with all pixels equal, so nothing is to be seen "
            f"in them: {some(constant['first'], 3)}."
        )
    rules = report["rescaled_images"]
    if rules:
        done = "; ".join(f"{count:,}: {rule}" for rule, count in rules.items())
        found.append(f"images of more than 8 bits were brought to 8 ({done}).")
    if KEPT in rules and len(rules) > 1:
        found.append(
            f"{plural(rules[KEPT], 'image')} of more than 8 bits without a value above 255, "
            "beside others that have one: if they are only dark, save all of them with 8 bits."
        )
    repeated = report["duplicates"]
    if repeated["conflicting_images"]:
        found.append(f"{plural(repeated['conflicting_images'], 'image')} with more than one class.")
    if repeated["leaked_images"]:
        found.append(f"{plural(repeated['leaked_images'], 'image')} in more than one split.")
    if repeated["rows"]:
        found.append(f"{plural(repeated['rows'], 'row')} with an image that an earlier row has.")
    return found
