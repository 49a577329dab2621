"""`python -m shotboard`."""

import sys
from pathlib import Path

from shotboard import main

# Python looks first in the working folder, which may have a `torch.py` of the user.
if not sys.flags.safe_path and Path(sys.path[0] or ".").resolve() == Path.cwd():
    del sys.path[0]
main()
