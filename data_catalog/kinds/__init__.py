"""Kinds of data: what one example is. Adding one is one file, and one line in `KINDS`.

A kind has one content an example, which ingestion digests, stores and reads back by row. Those to
come fit as follows; whatever is not content is an extra column, as masks of drawn sets are today.

- A pair of texts: the content is their canonical JSON (`["premise", "hypothesis"]`), so that the
  digest takes in both; `stored` gives a struct of two texts, the template has two places.
- Image and mask: the content is the image, the mask an extra of bytes; `check` decodes both and
  refuses a mask of another size.
- Image and text (captions): the content is the image, the text an extra; labels are not needed,
  which `labels.py` has to learn.
- Frames of a video: the content is the encoded file, or its frames one after the other with their
  lengths before them; `measures` has the number of frames.
- Features: the content is the raw bytes of one vector, `arrow` a list of floats, and `check`
  refuses another length and what is not finite.
"""

from data_catalog.kinds.base import Checked, Kept, Kind, Preview
from data_catalog.kinds.image import Images
from data_catalog.kinds.text import Texts

IMAGE = "image"  # the kind of a card that names none

KINDS: dict[str, Kind] = {
    IMAGE: Images(),
    "text": Texts(),
}

__all__ = ["IMAGE", "KINDS", "Checked", "Images", "Kept", "Kind", "Preview", "Texts"]
