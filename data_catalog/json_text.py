"""JSON of files that may be damaged or made to harm: whatever is wrong with it is one error."""

import json
from collections.abc import Callable
from typing import Any


class JSONError(ValueError):
    """A text is no JSON; says where or why."""


def load_json(
    text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """The plain values of a JSON text.

    Args:
        text: UTF-8 where it is bytes.
        pairs: Makes an object of its pairs, where that is no dict; what it raises is raised.

    Raises:
        JSONError: It is no JSON, no text, nested too deeply, or a number has thousands of digits.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except RecursionError as error:
        raise JSONError("it is nested too deeply") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise JSONError(str(error)) from error
    except ValueError as error:
        if "int_max_str_digits" not in str(error):
            raise
        raise JSONError("a number has more digits than any that is meant") from error
