"""Passwords and tokens inside texts, such as URLs: taken out before anybody but the user sees them.

Whatever leaves this process goes through `redact`: screens, errors, logs, cards as they are shown,
the board, MLflow and Prefect. What must be kept to fetch data again, the URL in a registered card,
is kept in a file that only its owner may read.
"""

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"<>\\]+")
_USER = re.compile(  # in the second form of a password a slash is not written as %2F
    r"://(?P<user>[^\s/@:'\"?#]*)(?P<password>:(?!\d+/)(?:[^\s/'\"]*|[^\s@'\"]*))?@"
)
_VALUE = re.compile(r"([?&;#])([^=&;#?]*)=([^&;#]*)")
_LOOSE = re.compile(r"([?&])([\w.~-]+)=([^&\s'\"<>\\]+)")  # of a URL whose host is left out
_SECRET = re.compile(
    r"sig|token|key|secret|pass|pwd|auth|cred|session|jwt|sas|code|nonce|policy|^s[eprtv]$|^sk",
    re.IGNORECASE,
)
_hidden: dict[str, str] = {}  # by what is shown of it
_LONG = 9  # characters of a value that may be a secret, whatever it is called
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_])(?:(hf_|gh[pousr]_|AKIA|ASIA)[A-Za-z0-9]{16,}"
    r"|(github_pat_|glpat-|xox[a-z]-|sk-(?=\S*\d))[\w-]{16,}"
    r"|([Bb]earer )[\w.~+/=-]{8,})"
)


def redact(text: str) -> str:
    """The text with `***` in the place of each password, token and signature.

    Of URLs that is the password, or a user's name that stands alone or is long as tokens are, and
    the values of a query that are called like a secret or are long; anywhere it is what has the
    form of a token.
    """
    text = _URL.sub(_without_secrets, text)
    text = _LOOSE.sub(lambda found: _masked(found, everywhere=False), text)
    return _TOKEN.sub(lambda found: (found[1] or found[2] or found[3]) + MASK, text)


def holds_secret(text: str) -> bool:
    """Whether `redact` would change a text."""
    return redact(text) != text


def hidden(text: str) -> str:
    """The text as it may be stored elsewhere, such as among the parameters of a flow run.

    This process, and no other, has the whole text back from `revealed`.
    """
    shown = redact(text)
    if shown != text:
        _hidden[shown] = text
    return shown


def revealed(text: str) -> str:
    """What `hidden` was given in this process; any other text as it is."""
    return _hidden.get(text, text)


def redacted(value: Any) -> Any:
    """Plain values, such as those of JSON, with every text of them redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(each) for each in value]
    return value


def _without_secrets(found: re.Match[str]) -> str:
    place, mark, query = re.fullmatch(r"([^?#]*)([?#]?)(.*)", found[0], re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess]  # matches every text
    place = _USER.sub(_without_password, place)
    if "=" not in query and len(query) >= _LONG and place.startswith("http"):
        return f"{place}{mark}{MASK}"  # a signature without a name
    return place + _VALUE.sub(lambda pair: _masked(pair, everywhere=True), mark + query)


def _without_password(found: re.Match[str]) -> str:
    user, password = found["user"], found["password"]
    if password is None or password == ":" or len(user) > 2 * _LONG:
        return f"://{MASK}@"  # a token often stands in the place of a name
    return f"://{user}:{MASK}@"


def _masked(found: re.Match[str], *, everywhere: bool) -> str:
    mark, name, value = found.groups()
    secret = _SECRET.search(name) or (everywhere and len(value) >= _LONG)
    return f"{mark}{name}={MASK}" if secret and value else found[0]
