"""How a GPU multiplies numbers of 32 bits: as they are, or cut to the 19 bits of TF32 where asked.

torch has one switch a process for each library, and that of convolutions is on by itself. So each
trial says what it wants while it lasts: TF32 with the precision of that name, and nowhere else.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_open: list[bool] = []  # blocks that last, of this process: lanes of a stack are in theirs at once


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Lets products of float32 on a GPU be those of a precision until the block ends.

    Blocks may overlap in any order, as those of trials that are tuned together do.

    Args:
        precision: Key of `PRECISIONS`; `tf32` alone cuts what is multiplied.

    Raises:
        RuntimeError: A block of the other kind lasts: one process has one switch.
    """
    wanted = precision == "tf32"
    if _open and _open[0] != wanted:
        raise RuntimeError(
            f"precision {precision!r}: this process is within a trial "
            f"{'without' if wanted else 'with'} TF32. Compute one after the other."
        )
    global _before
    if not _open:
        _before = _switches()
        _switch(wanted, wanted)
    _open.append(wanted)
    try:
        yield
    finally:
        _open.pop()
        if not _open:
            _switch(*_before)


_before = (False, True)  # what torch has at its start


def _switches() -> tuple[bool, bool]:
    """Whether matrix products and convolutions cut."""
    return bool(torch.backends.cuda.matmul.allow_tf32), torch.backends.cudnn.allow_tf32


def _switch(products: bool, convolutions: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions
