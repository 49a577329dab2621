"""Which rows of a dataset a trial reads, and under which views."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from operators.episodes.episode import Episode, Evaluation, Pool
from operators.episodes.joined import joined_table
from operators.episodes.protocols import PROTOCOLS, pool_of
from operators.episodes.sampling import drawn_order
from operators.episodes.table import Setup, Table
from operators.episodes.views import CENTRE, View, ViewPolicy
from operators.methods import method_for
from operators.methods.hyperparameters import defaults, in_epochs
from operators.spec import VALIDATION, TrialSpec


def episode_of(
    spec: TrialSpec, table: Table, targets: Mapping[str, Table] | None = None
) -> Episode:
    """The rows that a trial learns from and is tested on.

    Args:
        spec: Says which protocol and draw.
        table: Of the dataset that is learned.
        targets: Of the datasets that `spec` names as targets; without them the episode says what
            is learned, and tests the learned dataset alone.
    """
    chosen_between = spec.tested_on == VALIDATION
    setup = Setup(
        # Of a candidate of a search no protocol gets to know which rows are tested.
        table=table.untested if chosen_between else table,
        shots=spec.shots,
        seed=spec.seed,
        cap=spec.test_rows_per_class,
        targets={name: targets[name] for name in spec.targets} if targets is not None else {},
        held_out=spec.held_out,
    )
    episode = PROTOCOLS[spec.protocol].episode(setup)
    if not chosen_between:
        return episode
    asked = episode.validation or Evaluation(VALIDATION, episode.classes, episode.val)
    if PROTOCOLS[spec.protocol].unlabelled == "test":  # what is asked about is what may be seen
        seen = Pool(episode.classes, drawn_order(episode.val, spec.seed))
        return replace(episode, evaluations=(asked,), unlabelled=seen)
    return replace(episode, evaluations=(asked,))


def learned_table(spec: TrialSpec, table: Table, targets: Mapping[str, Table]) -> Table:
    """The rows that a trial learns from as one dataset, where its protocol learns several at once.

    Args:
        spec: Says which protocol and targets.
        table: Of the dataset that is learned.
        targets: Of the datasets that `spec` names as targets, by name.
    """
    if not PROTOCOLS[spec.protocol].joins:
        return table
    return joined_table([table, *(targets[name] for name in spec.targets)])


def validation_of(spec: TrialSpec, table: Table, episode: Episode) -> np.ndarray:
    """The rows that a trial chooses on: those of the draw, or the val split of the learned classes.

    There are none where the protocol gives no label. The draw stays that of all methods, so that
    trials of other methods can be paired with it.

    Args:
        spec: Says which method.
        table: Of the dataset that is learned.
        episode: The draw.
    """
    whole = method_for(spec).whole_validation(spec.hyperparameters)
    if not (whole and PROTOCOLS[spec.protocol].learns):
        return episode.val
    rows = table.without(spec.held_out).rows("val")
    return rows[np.isin(table.labels[rows], episode.classes)]


def unlabelled_of(spec: TrialSpec, table: Table, episode: Episode) -> Pool | None:
    """The examples that a trial learns from without labels; None where its method asks for none.

    They are those that the protocol says, else the train split.

    Args:
        spec: Says which method and setting.
        table: Of the dataset that is learned.
        episode: The draw.
    """
    if not method_for(spec).card.unlabelled:
        return None
    if episode.unlabelled is not None:
        return episode.unlabelled
    return pool_of(table.without(spec.held_out), episode, clean=spec.setting == "clean")


def is_fitted(spec: TrialSpec) -> bool:
    """Whether a trial learns from anything, be it labelled or not."""
    reads_unlabelled = PROTOCOLS[spec.protocol].unlabelled and method_for(spec).card.unlabelled
    return bool(spec.shots or reads_unlabelled)


def sees_tested(spec: TrialSpec) -> bool:
    """Whether what a trial learns depends on the examples that it is tested on."""
    return PROTOCOLS[spec.protocol].unlabelled == "test" and method_for(spec).card.unlabelled


def view_policy(spec: TrialSpec) -> ViewPolicy:
    """How a trial sees its training images.

    Raises:
        ValueError: `views` is no policy, or one that the method would never look at: that would
            be another trial with the same number.
    """
    policy = ViewPolicy.parse(spec.views)
    if policy != CENTRE and not method_for(spec).view_epochs(spec.hyperparameters):
        raise ValueError(
            f"views={spec.views!r}: {spec.method} reads the centre crop alone, so its trials have "
            "the views none."
        )
    return policy


def published_views(spec: TrialSpec) -> str:
    """The view policy that the method of a trial was published with, where the trial learns.

    `none` where it learns nothing, or never looks at views.
    """
    method = method_for(spec)
    values = {**defaults(method), **spec.hyperparameters}
    looks = is_fitted(spec) and method.view_epochs(values)
    return method.card.views if looks else CENTRE.kind


def views_shown(spec: TrialSpec, images: int) -> tuple[View | None, ...]:
    """The different views that a trial has of its training images; None is the centre crop.

    Args:
        spec: Of the trial.
        images: That it learns from.
    """
    method = method_for(spec)
    epochs = method.view_epochs(in_epochs(method, spec.hyperparameters, images))
    return view_policy(spec).shown(epochs, seed=spec.seed)
