"""The names that forms offer and requests may have, known without torch.

What a name stands for is looked up later, in `tasks.planning.choices.check`, which takes torch. So
that a name that nothing has is refused before that, it is looked for here first.
"""

from collections.abc import Container

from operators.files import at_home
from tasks.pages import known
from tasks.planning import resolve
from tasks.planning.knobs import knobs
from tasks.planning.suite import Suite
from tasks.storage.store import Store


def offered(store: Store) -> dict[str, list[str]]:
    """Names by kind: what ships, what installed packages add, and what the store has.

    Args:
        store: Whose registered datasets and pretrained models are offered too.
    """
    pretrained = sorted(str(folder) for folder in store.pretraining.glob("*/model"))
    return {
        "dataset": list(resolve.dataset_cards(store)),
        "backbone": [*(row["backbone"] for row in known.backbone_rows()), *pretrained],
        "method": [row["method"] for row in known.method_rows()],
        "protocol": [row["protocol"] for row in known.protocol_rows()],
    }


def refuse_unknown(store: Store, suite: Suite, imagined: Container[str] = ()) -> None:
    """Refuses a name that nothing has; whatever may be a file or a hub id is left to others.

    Args:
        store: Has the names.
        suite: What is asked for.
        imagined: Names that are taken as if they were there.

    Raises:
        RequestError: Nothing is called so; the nearest names are offered.
    """
    names = offered(store)
    for name, knob in knobs(type(suite)).items():
        kind = knob.asked.choices
        for value in getattr(suite, name) if kind else ():
            text = value if isinstance(value, str) else value.id
            taken = text in imagined or knob.is_own(text)
            if not taken and not at_home(text).is_dir():
                resolve.resolve(kind, text, dict.fromkeys(names[kind]))
