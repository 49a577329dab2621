"""The tracks. A new one is a file here, the contract of its methods, and a line in `TRACKS`."""

from operators.episodes.protocols import PROTOCOLS
from operators.tracks.base import Data, TargetData, Track
from operators.tracks.compositional import Compositional
from operators.tracks.image_classification import ImageClassification
from operators.tracks.text_classification import TextClassification

TRACKS: dict[str, Track] = {
    track.name: track for track in (ImageClassification(), TextClassification(), Compositional())
}


def track_of(protocol: str) -> Track:
    """The track that a protocol belongs to; `protocol` is a key of `PROTOCOLS`."""
    return TRACKS[PROTOCOLS[protocol].track]


__all__ = ["TRACKS", "Data", "TargetData", "Track", "track_of"]
