"""Which trials are tried again, and how: a trial that costs its worker costs no other one's."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from operators.episodes.protocols import PROTOCOLS
from operators.episodes.shots import ALL_SHOTS
from operators.methods import known_method
from operators.spec import TrialSpec
from tasks.computing.deaths import HostLost, OutOfTime, WorkerDied
from tasks.computing.failures import MOST_DEATHS
from tasks.computing.worker_pool import TRIES

if TYPE_CHECKING:
    from data_catalog import Dataset

HOSTS_FORGIVEN = 3  # with a trial on them, before it counts as its doing
BASE_SECONDS = 3600.0  # of a time limit: what no image is to blame for


def time_limit(spec: TrialSpec, datasets: "Mapping[str, Dataset]", asked: float | None) -> float:
    """Seconds that a trial may take.

    Unless asked for, an hour and what the method's card grants for each image, as often as it is
    learned from or classified: far more than it takes, but not for ever.

    Args:
        spec: The trial.
        datasets: Of the trial, by name; its targets among them.
        asked: What the user said.
    """
    if asked is not None:
        return asked
    method = known_method(spec)
    if method is None:
        return BASE_SECONDS
    dataset = datasets[spec.dataset]
    train = len(dataset.rows_of("train"))
    reads_all = method.card.unlabelled or spec.shots == ALL_SHOTS
    learned = train if reads_all else min(spec.shots * len(dataset.classes), train)
    if method.card.unlabelled and PROTOCOLS[spec.protocol].unlabelled == "test":
        learned = len(dataset.rows_of("test"))
    values = spec.hyperparameters
    steps = values.get("total_steps", 0) * values.get("batch_size", 0)
    steps *= len(method.tuned_on(values, images=1, classes=1, labelled=0, unlabelled=1))
    images = steps or max(1, method.passes(values)) * learned
    images += sum(datasets[name].rows for name in (spec.dataset, *spec.targets))
    return BASE_SECONDS + method.card.seconds_per_image * images


class Attempts:
    """Decides what becomes of the trials of a call that its worker did not survive.

    In a call of several, nobody knows which one it was: each is tried alone. One that was alone is
    to blame, unless its host went with the worker, as hosts do; but one with which host after host
    goes may have taken their memory. It has as many tries as any call, since the system may have
    ended its worker for another's hunger; but one that took too long would take too long again.

    Args:
        suspects: How many workers trials have cost earlier runs, by id: they are tried alone, and
            once.
        fail: Keeps the reason of a trial that is given up, why it is in quarantine, and how many
            workers it has cost.
    """

    def __init__(
        self, suspects: Mapping[str, int], fail: Callable[[TrialSpec, str, str, int], None]
    ) -> None:
        self.suspects = suspects
        self.fail = fail
        self._deaths: Counter[str] = Counter()
        self._hosts: Counter[str] = Counter()  # that were lost with a trial on them
        self._alone: list[TrialSpec] = []

    def hold_back(self, specs: Iterable[TrialSpec]) -> list[TrialSpec]:
        """The trials that may share a call; the suspects have theirs at the end."""
        specs = list(specs)
        self._alone += [spec for spec in specs if spec.trial_id in self.suspects]
        return [spec for spec in specs if spec.trial_id not in self.suspects]

    def lost(
        self, call: Sequence[TrialSpec], left: Iterable[TrialSpec], error: WorkerDied | OutOfTime
    ) -> None:
        """Takes note of a call whose worker is gone: its trials are given up or tried alone.

        Args:
            call: Its trials.
            left: Those that are not in the store.
            error: What became of the worker.
        """
        for spec in left:
            self._hosts[spec.trial_id] += isinstance(error, HostLost)
            if isinstance(error, HostLost) and self._hosts[spec.trial_id] <= HOSTS_FORGIVEN:
                self._alone.append(spec)
                continue
            self._deaths[spec.trial_id] += isinstance(error, WorkerDied)
            reason = self._reason(spec, error) if len(call) == 1 else None
            if reason is None:
                self._alone.append(spec)
            else:
                before = self.suspects.get(spec.trial_id, 0)
                self.fail(spec, *reason, before + self._deaths[spec.trial_id])

    def next_round(self) -> list[tuple[TrialSpec, ...]]:
        """Calls of one trial each, for what is to be tried alone; empty where nothing is."""
        calls, self._alone = [(spec,) for spec in self._alone], []
        return calls

    def _reason(self, spec: TrialSpec, error: WorkerDied | OutOfTime) -> tuple[str, str] | None:
        """Why a trial that was alone is given up, and its quarantine; None: it is tried again."""
        if isinstance(error, OutOfTime):
            return (
                f"it took longer than its time limit of {error.seconds:g} s, and was ended. Raise "
                "it with --time-limit, or `time_limit` in the suite. The next run tries it once.",
                "late",
            )
        deaths = self._deaths[spec.trial_id]
        if deaths < TRIES and spec.trial_id not in self.suspects:
            return None
        times = f"all of {deaths} tries" if deaths > 1 else "its one try"
        more = "the next run tries it once, alone."
        if self.suspects.get(spec.trial_id, 0) + deaths >= MOST_DEATHS:
            more = "no run tries it again unless told by --retry-quarantined."
        died = f"its worker died in {times}: {error.cause} It is in quarantine: {more}"
        return died, "died"


def seconds_of(limits: Mapping[str, float]) -> Callable[[Sequence[TrialSpec]], float]:
    """What a call may take: the time of all its trials."""
    return lambda call: sum(limits[spec.trial_id] for spec in call)
