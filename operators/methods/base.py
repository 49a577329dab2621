"""What a method is: a module that adapts a frozen backbone to an episode."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from operators.backbones import Backbone
from operators.episodes.episode import Batch, FewShot
from operators.episodes.views import View, ViewPolicy
from operators.methods.constructing import EPISODE, own_defaults
from operators.methods.leaning import Leaning, Starting, Teaching
from operators.methods.material import Material
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """What a user should know of a method before running it.

    Attributes:
        title: Name in the paper.
        family: What it shares with its neighbours: the folder that it lies in, within that of
            its track.
        tunes: What is learned, in one sentence.
        cost: What a step and a test image take, in one sentence.
        source: Paper, year and address.
        needs: What it asks of the backbone as published, as in `BackboneCard.capabilities`.
        tower_steps: Whether its steps pass a tower; where none does, trials that are tuned side by
            side have nothing to share.
        learns: Whether it reads labelled examples at all.
        new_classes: Whether what it learned carries over to classes it has not seen.
        unseen_head: Which of its heads answers for classes that were not learned, as a sentence
            goes on after "they are classified by"; empty where the same one does.
        transductive: It sees unlabelled test examples or new class names while it learns; with
            `unlabelled`, it has a place in the protocol of that name.
        test_time: It adapts to test examples as they come.
        stream: What it has seen of test examples changes what it says of those that follow, so
            their order counts; see `Method.forget`.
        external_knowledge: It reads texts that are not in the dataset; a teacher's are not its own.
        features: It reads frozen features of whole examples, which are then encoded beforehand.
        pixels: It reads preprocessed images, and asks nothing more of the image tower for that.
        domains: It learns from the domain that each training example is of, so the dataset must
            have domains.
        descriptions: Those texts are sentences about each class, which the dataset must come with.
        teacher: It learns from another tuned model; it has a `Teaching` and takes a `Teacher`.
        unlabelled: It learns from examples without labels: all of the train split, or those that
            are tested where the protocol is transductive.
        unsupervised: They are enough: it can learn without any label, a teacher's included.
        seconds_per_image: Far more than it takes for one image, learned from or classified, on a
            slow core; the time limit of a trial follows from it.
        views: The policy by which it was published to see training images, as
            `operators/episodes/views.py` writes it; `none` where it reads centre crops.
        views_source: Where that is said; empty where it trains on no image.
        without_validation: Why its last step is as published where there are no validation rows to
            choose an epoch on, as a sentence goes on after "the last step is kept:"; empty where a
            published selection=val needs such rows.
        departures: Where it differs from the published code, one sentence each.
    """

    title: str
    family: str
    tunes: str
    source: str
    cost: str = ""
    needs: frozenset[str] = field(default_factory=frozenset)
    tower_steps: bool = True
    learns: bool = True
    new_classes: bool = True
    unseen_head: str = ""
    transductive: bool = False
    test_time: bool = False
    stream: bool = False
    external_knowledge: bool = False
    features: bool = True
    pixels: bool = False
    domains: bool = False
    descriptions: bool = False
    teacher: bool = False
    unlabelled: bool = False
    unsupervised: bool = False
    seconds_per_image: float = 5.0
    views: str = "none"
    views_source: str = ""
    without_validation: str = ""
    departures: tuple[str, ...] = ()


class Method(nn.Module, ABC):
    """Adapts a backbone to an episode.

    What it is asked for once it is tuned is the contract of its track: a `Classifier` gives
    logits. A subclass declares its hyperparameters as keyword-only arguments with the published
    defaults, and makes what it learns a parameter. What learns without gradient steps writes
    `fit`.

    Attributes:
        card: What it is.
        track: Key of `TRACKS`; its contract says so for all.
        selects_by: Key of `METRICS`, of what `validation_score` gives.
        other_backbone: What to use where one lacks something, in words.
        revision: Moves when its numbers do.
        source_digest: Of the file of a user's own method; empty for those that ship.
        tuning: Published settings of the tuning loop; None where it takes no gradient steps.
        teaching: The published teacher; None where it learns from no other tuned model.
        starting: The datasets that its start was published to be learned on; None where it starts
            from nothing that was learned.
        form: Hyperparameter by which `needs_of` differs; empty where it does not.
        block: Attribute of the block that the method is about. A prompt file has what that block
            learned by its own names, and what others did by those of their attributes too.
        repeats: Whether its loss does the same with every batch of a shape, so that a GPU may play
            steps back; not where the host draws or counts in it. See `operators/engine/graphs.py`.
        backbone: Frozen; its parameters are not this module's.
        hyperparameters: Those that it was built with.
        teacher_argument: The teacher that it was built with, as an argument; empty for most.
    """

    card: ClassVar[MethodCard]
    track: ClassVar[str]
    selects_by: ClassVar[str]
    other_backbone: ClassVar[str] = "another"
    revision: ClassVar[int] = 1
    source_digest: ClassVar[str] = ""
    tuning: ClassVar[Tuning | None] = None
    teaching: ClassVar[Teaching | None] = None
    starting: ClassVar[Starting | None] = None
    form: ClassVar[str] = ""
    block: ClassVar[str] = "prompt"
    repeats: ClassVar[bool] = False

    def __new__(cls, *_: Any, **keywords: Any):
        """Remembers what a twin is built with."""
        self = super().__new__(cls)
        given = {name: value for name, value in keywords.items() if name not in EPISODE}
        self.hyperparameters = given
        self.teacher_argument = {"teacher": keywords["teacher"]} if "teacher" in keywords else {}
        return self

    hyperparameters: dict[str, Any]
    teacher_argument: dict[str, Any]

    def __init__(self, backbone: Backbone) -> None:
        """Holds the backbone.

        Raises:
            ValueError: The backbone lacks something that the method needs.
        """
        super().__init__()
        values = {**own_defaults(type(self)), **self.hyperparameters}
        if lacking := self.needs_of(values) - backbone.card.capabilities:
            raise ValueError(
                f"{self.card.title}{self.said_form(values)} needs {', '.join(sorted(lacking))}, "
                f"which {backbone.card.name} does not have: use {self.other_backbone}"
                f"{f', or another {self.form}' if self.form else ''}."
            )
        self.backbone = backbone

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Published hyperparameters that depend on the protocol, the shots or the dataset.

        Args:
            protocol: Key of `PROTOCOLS`.
            shots: Labelled examples a class; where all are learned from, more than any number.
            dataset: Its name; one that nobody has published settings for has those of all.
        """
        return {}

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """Refuses values that cannot work, before anything starts.

        The types of the constructor's arguments refuse numbers out of bounds; here stand rules
        about text, and about several values together.

        Args:
            hyperparameters: All of them, resolved.
            protocol: Key of `PROTOCOLS`.

        Raises:
            ValueError: Names the value and the rule.
        """

    @classmethod
    def lacking(
        cls, hyperparameters: Mapping[str, Any], tuning: Tuning | None, material: Material
    ) -> str:
        """Why it cannot learn from what there is, as a sentence with the way out; empty if it can.

        A plan asks it, so that nothing is encoded or queued for a fit that would be refused. What
        has to be read to be known, such as the tokens of class names, is refused by the fit.

        Args:
            hyperparameters: All of its own, resolved.
            tuning: That part of them which the loop reads.
            material: What there is.
        """
        return ""

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """Hyperparameters that change nothing beside the others, and how to make them count.

        A trial with another value of one would have the same number under another id, so what a
        user asks for in vain is refused.
        """
        return {}

    @classmethod
    def needs_of(cls, hyperparameters: Mapping[str, Any]) -> frozenset[str]:
        """What it asks of the backbone with some settings: that of its card, for most.

        Args:
            hyperparameters: All of its own, resolved.
        """
        return cls.card.needs

    @classmethod
    def said_form(cls, hyperparameters: Mapping[str, Any]) -> str:
        """Which form of it is meant, as words behind its name; empty where there is one.

        Args:
            hyperparameters: All of its own, resolved.
        """
        return f" with {cls.form}={hyperparameters[cls.form]!r}" if cls.form else ""

    @classmethod
    def check_teacher(cls, teacher: "type[Method]") -> None:
        """Refuses a method that it cannot learn from, before anything starts.

        Raises:
            ValueError: Says why not.
        """

    @classmethod
    def leanings(cls) -> tuple[Leaning, ...]:
        """What it asks of other trials, as published."""
        return tuple(each for each in (cls.teaching, cls.starting) if each is not None)

    @classmethod
    def source_settings(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Settings of the trial that it starts from: as published, but for those that it names.

        Args:
            hyperparameters: All of its own, resolved. What shapes the prompt is usually the same.
        """
        return {}

    def start_from(self, learned: Mapping[str, Tensor]) -> None:
        """Takes over what the trial has learned that it starts from, before it learns itself.

        Args:
            learned: As that trial's `learned` gave it.
        """
        self.load_state_dict(learned)

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """Epochs in which it sees training images as the view policy of a trial shows them.

        0 where it reads the centre crop alone: its trials are then the same under any policy.
        """
        return 0 if cls.tuning is None else hyperparameters["epochs"]

    @classmethod
    def passes(cls, hyperparameters: Mapping[str, Any]) -> int | float:
        """How often it looks at all that it learns from, which its cost is estimated by.

        The epochs, for most; of one that tunes in rounds those of all rounds.
        """
        return hyperparameters.get("epochs", 0)

    @classmethod
    def tuned_on(
        cls,
        hyperparameters: Mapping[str, Any],
        *,
        images: int,
        classes: int,
        labelled: int,
        unlabelled: int,
    ) -> tuple[int, ...]:
        """On how many images the tuning loop runs, each time that it does: on all once, for most.

        Args:
            hyperparameters: All of them, resolved.
            images: That are learned from.
            classes: That these may show.
            labelled: Those with a label.
            unlabelled: Other ones without.
        """
        return (images,)

    @classmethod
    def encodings(cls, hyperparameters: Mapping[str, Any], views: ViewPolicy) -> tuple[int, int]:
        """How often it has each training and each test image encoded in a view that nobody keeps.

        That is by the frozen tower: one that is prompted or hooked reads its images in every epoch
        under any policy.

        Args:
            hyperparameters: All of them, resolved.
            views: The policy of a trial.
        """
        own_towers = {"visual-prompts", "layer-hooks"} & cls.needs_of(hyperparameters)
        if views.kind != "fresh" or own_towers:
            return 0, 0
        return cls.view_epochs(hyperparameters), 0

    @classmethod
    def views_of_tested(cls, hyperparameters: Mapping[str, Any]) -> tuple[View, ...]:
        """Views under which it has test images, and whose features are kept for all trials.

        Args:
            hyperparameters: All of them, resolved.
        """
        return ()

    @classmethod
    def chooses_on_validation(cls, hyperparameters: Mapping[str, Any]) -> bool:
        """Whether it reads validation images, where there are some, to choose anything by them.

        Args:
            hyperparameters: All of them, resolved.
        """
        return hyperparameters.get("selection") == "val"

    @classmethod
    def whole_validation(cls, hyperparameters: Mapping[str, Any]) -> bool:
        """Whether it chooses on the whole val split, where others have as few images as they learn.

        True where that is how it was published, and then its numbers have seen more labels.
        """
        return False

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Learns from the episode, in place.

        Args:
            shots: Labelled examples, and what there is without labels; see `FewShot`.
            tuning: Settings of the loop.
            generator: Source of all randomness, on the CPU.
        """
        if tuning is None:
            return FitReport()
        return tune(self, shots, tuning, generator)

    def forget(self) -> None:
        """Forgets what it has seen of test examples: the next one is the first of a stream.

        Called before and after each evaluation. What a method with `stream` on its card keeps
        between examples is no part of `state_dict`.
        """

    @abstractmethod
    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """What a step minimises."""

    @abstractmethod
    def validation_score(self, batch: Batch) -> float:
        """What `selection="val"` chooses an epoch by: the greater the better."""

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """As `nn.Module.named_parameters`, but for the names in `block`."""
        for name, parameter in super().named_parameters(*args, **kwargs):
            yield name.removeprefix(f"{self.block}."), parameter

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As `nn.Module.state_dict`, but for the names in `block`."""
        # Which block holds a tensor says how a method is built, and may change; files stay.
        found = super().state_dict(*args, **kwargs)
        return {name.removeprefix(f"{self.block}."): value for name, value in found.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As `nn.Module.load_state_dict`, of what `state_dict` gave."""
        inside = {name.removeprefix(f"{self.block}."): name for name in super().state_dict()}
        named = {inside.get(name, name): value for name, value in state_dict.items()}
        return super().load_state_dict(named, *args, **kwargs)

    def learned(self) -> dict[str, Tensor]:
        """Everything that fitting left behind, and nothing frozen: the prompt file."""
        return {name: value.detach().cpu() for name, value in self.state_dict().items()}
