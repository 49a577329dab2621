"""Images: encoded bytes that decode fully."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any

import numpy as np

from data_catalog.deep_pixels import KEPT
from data_catalog.kinds.base import PREVIEW, Checked, Kept, Preview
from data_catalog.kinds.decoding import CONSTANT, RESCALED, check_image, decode
from data_catalog.kinds.looks import LOOK_BYTES, RADIUS, alike, hashes_of
from data_catalog.kinds.pool import check_in_order
from data_catalog.sources.base import Example, read_file
from data_catalog.wording import plural, some

_LISTED = 20  # images named in card.json


class Images:
    """Each example is one encoded image; equal bytes are duplicates. See `Kind`."""

    noun = "image"
    column = "image"
    arrow = "binary"
    compression = "NONE"  # JPEG and PNG do not shrink further
    measures: tuple[str, ...] = ("width", "height")
    template = "a photo of a {}."
    look_bytes = LOOK_BYTES
    radius = RADIUS
    near = "resized, compressed again or brightened"

    def check(self, examples: Iterable[Example]) -> Iterator[Checked]:
        """Decodes every image fully, on all cores; see `check_image`."""
        yield from check_in_order(check_image, examples)

    def hashes(self, looks: np.ndarray) -> np.ndarray:
        """Perceptual hashes of looks; see `data_catalog.kinds.looks`."""
        return hashes_of(looks)

    def alike(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether looks show the same but for brightness and contrast; see `Kind`.

        Args:
            first: Looks.
            second: Likewise.
        """
        return alike(first, second)

    def named(self, text: str) -> bytes:
        """The bytes of the file at a path or URL; see `Kind`."""
        return read_file(text)

    def stored(self, content: bytes) -> bytes:
        """The encoded bytes as they are."""
        return content

    def content(self, value: bytes) -> bytes:
        """The encoded bytes as they are."""
        return value

    def preview(self, value: bytes) -> Preview:
        """The image, no larger than a thumbnail; see `Kind`."""
        from PIL import Image

        try:
            small = Image.fromarray(decode(value))
        except Exception as error:  # Pillow's readers raise a dozen kinds on damaged data
            raise ValueError(f"it cannot be decoded: {error}.") from error
        small.thumbnail((PREVIEW, PREVIEW))
        drawn = BytesIO()
        small.save(drawn, "WEBP", quality=70)
        return Preview(picture=drawn.getvalue())

    def check_template(self, dataset: str, template: str) -> None:
        """Refuses a template without exactly one `{}`, the place of the class; see `Kind`.

        Args:
            dataset: What to call the dataset in errors.
            template: Of the card.
        """
        rest = template.replace("{}", "", 1) if isinstance(template, str) else "{"
        if rest == template or "{" in rest or "}" in rest:
            raise ValueError(
                f"{dataset}: template {template!r} does not hold {{}} exactly once, and no other "
                f"brace. Write for instance {self.template!r}"
            )

    def report(self, kept: Iterable[Kept]) -> dict[str, Any]:
        """Images of one colour, and those that were brought to 8 bits."""
        constant: list[str] = []
        count = 0
        rules: Counter[str] = Counter()
        for row in kept:
            if row.findings.get(CONSTANT):
                count += 1
                constant += [row.path] if count <= _LISTED else []
            if RESCALED in row.findings:
                rules[row.findings[RESCALED]] += 1
        return {
            "constant_images": {"count": count, "first": constant},
            "rescaled_images": dict(rules),
        }

    def doubts(self, report: Mapping[str, Any]) -> list[str]:
        """Images that show nothing, and values of more than 8 bits."""
        found: list[str] = []
        constant = report["constant_images"]
        if constant["count"]:
            found.append(
                f"{plural(constant['count'], 'image')} with all pixels equal, so nothing is to be "
                f"seen in them: {some(constant['first'], 3)}."
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
        return found
