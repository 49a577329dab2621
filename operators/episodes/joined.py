"""Several datasets as one: their rows one after the other, and so their classes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from operators.episodes.episode import Classes, ImageSource
from operators.episodes.table import Table
from operators.episodes.views import View
from operators.shapes import Float

ANY_IMAGE = ("a photo of a {}.",)  # the prompt of classes whose datasets ask in different words


def starts_of(tables: Sequence[Table]) -> list[int]:
    """Where the rows of each dataset begin among those of all.

    Args:
        tables: Of the datasets, in order.
    """
    return np.cumsum([0, *(len(table.labels) for table in tables[:-1])]).tolist()


def joined_table(tables: Sequence[Table]) -> Table:
    """Several datasets as one.

    Classes of the same name stay apart: they are of different tasks. Domains are left out, for
    none of them is one of the whole.

    Args:
        tables: Of the datasets, in order.
    """
    if len(tables) == 1:
        return tables[0]
    offsets = np.cumsum([0, *(table.classes for table in tables)])
    labels = [
        table.labels + offset for table, offset in zip(tables, offsets[:-1].tolist(), strict=True)
    ]
    return Table(
        np.concatenate(labels),
        np.concatenate([table.splits for table in tables]),
        int(offsets[-1]),
        tuple(name for table in tables for name in table.names),
        fingerprint="+".join(table.fingerprint for table in tables),
    )


def joined_classes(each: Sequence[Classes]) -> Classes:
    """The classes of several datasets, with the task that each is of.

    A prompt of the whole is that of the datasets where they share one. Sentences about classes
    are kept where all datasets have them.

    Args:
        each: Of the datasets, in order.
    """
    if len(each) == 1:
        return each[0]
    same = len({(own.templates, own.ensemble) for own in each}) == 1
    described = all(own.descriptions for own in each)
    return Classes(
        tuple(name for own in each for name in own.names),
        each[0].templates if same else ANY_IMAGE,
        each[0].ensemble if same else (),
        tuple(said for own in each for said in own.descriptions) if described else (),
        tasks=tuple(task for task, own in enumerate(each) for _ in own.names),
    )


class JoinedImages:
    """The images of several datasets; rows as `joined_table` has them.

    Args:
        sources: Of the datasets, in order.
        starts: Where the rows of each begin.
    """

    def __init__(self, sources: Sequence[ImageSource], starts: Sequence[int]) -> None:
        self.sources = sources
        self.starts = np.array(starts)

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """See `ImageSource.features`.

        Args:
            rows: (b,) rows.
            view: What they are seen under.
        """
        return self._each("features", rows, view)

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b 3 s s"]:
        """See `ImageSource.pixels`.

        Args:
            rows: (b,) rows.
            view: What they are seen under.
        """
        return self._each("pixels", rows, view)

    def _each(self, what: str, rows: np.ndarray, view: View | None) -> Tensor:
        """What the sources have of some rows, in the order asked for."""
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        order = np.argsort(owner, kind="stable")
        parts = []
        for number in np.unique(owner).tolist():
            own = rows[owner == number] - self.starts[number]
            parts.append(getattr(self.sources[number], what)(own, view))
        whole = torch.cat(parts)
        place = torch.from_numpy(np.argsort(order)).to(whole.device)
        return whole[place]
