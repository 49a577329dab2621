"""What tells the cells of one method apart: which settings were chosen, beside the published ones.

Published settings depend on the place: CoOp's epochs on the shots, others on the protocol or the
data set. So what was asked for once, `epochs=100`, is another difference in each place, and none
where 100 is what was published. A *line* is one such request: a cell is on it where the published
settings with that request are the cell's own. Cells of one line have one name, so that a curve over
shots and an average over data sets is not torn where a chosen value meets the published one; a
cell may be on two lines, as where both the published settings and others were run. A line that is
but a part of another says nothing of its own and is left out.
"""

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

PAPER, CUSTOM, UNKNOWN = "paper", "custom", "unknown"


@dataclass(frozen=True)
class Chosen:
    """The settings of a cell.

    Attributes:
        values: All hyperparameters by name.
        published: Those that are published for its method, protocol, shots and data set.
        marks: What else tells it apart, such as `precision=bf16`.
        known: Whether the code of its method is there to tell.
        views: The view policy, where it is not the one that is published for it; else empty.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] = field(default_factory=dict)
    marks: str = ""
    known: bool = True
    views: str = ""

    @property
    def differences(self) -> dict[str, Any]:
        """The hyperparameters that are not the published ones."""
        return {n: v for n, v in sorted(self.values.items()) if self.published.get(n) != v}

    @property
    def text(self) -> str:
        """What differs from the published settings of its own place; empty if nothing does."""
        return _named(self.differences, self.apart)

    @property
    def apart(self) -> str:
        """All that tells it apart beside hyperparameters, such as `views=none precision=bf16`."""
        views = [f"views={self.views}"] if self.views else []
        return " ".join([*views, *([self.marks] if self.marks else [])])

    def tuned(self, how: str, names: Collection[str]) -> str:
        """The line of the cells whose settings a search chose, whatever it chose in each.

        Args:
            how: They were chosen, in words.
            names: Hyperparameters that were searched.
        """
        rest = {n: v for n, v in self.differences.items() if n not in names}
        return _named(rest, " ".join(filter(None, [how, self.apart])))

    def is_of(self, request: Mapping[str, Any]) -> bool:
        """Whether these are the published settings with what a request changes."""
        return all(name in request for name in self.differences) and all(
            self.values.get(name) == value for name, value in request.items()
        )

    def setting(self, asked: str) -> str:
        """What the board says of it: `paper` only where its views are the published ones too.

        Args:
            asked: `paper` or `clean`, the form of the protocol.
        """
        if not self.known:
            return UNKNOWN
        said = asked
        if self.differences:
            said = CUSTOM if asked == PAPER else f"{asked}, {CUSTOM}"
        return f"{said}, views {self.views}" if self.views else said


def variants_of(cells: Mapping[str, tuple[Hashable, Chosen]]) -> dict[str, tuple[str, ...]]:
    """Names of the lines that each cell is on; the first is its own name on the board.

    Args:
        cells: By cell id: what its lines may go across, such as method and protocol, and its
            settings.
    """
    families: dict[Hashable, dict[str, Chosen]] = defaultdict(dict)
    for cell_id, (family, chosen) in cells.items():
        families[family, chosen.apart][cell_id] = chosen
    found: dict[str, tuple[str, ...]] = {}
    for members in families.values():
        requests = {chosen.text: chosen.differences for chosen in members.values()}
        lines = {
            text: frozenset(i for i, chosen in members.items() if chosen.is_of(request))
            for text, request in requests.items()
        }
        whole = {
            t: on for t, on in lines.items() if not any(on < other for other in lines.values())
        }
        for cell_id, chosen in members.items():
            names = sorted(
                (text for text, on in whole.items() if cell_id in on),
                key=lambda text: (text != chosen.text, -len(whole[text]), len(text), text),
            )
            found[cell_id] = tuple(names)
    return found


def _named(differences: Mapping[str, Any], marks: str) -> str:
    words = [f"{name}={value!r}" for name, value in differences.items()]
    return " ".join([*words, *([marks] if marks else [])])
