"""GRIP, IFPL and FPL: prompts tuned on pseudo-labels that zero-shot CLIP starts.

Source: Menghini et al., "Enhancing CLIP with CLIP: Exploring Pseudolabeling for Limited-Label
Prompt Tuning", NeurIPS 2023, https://arxiv.org/abs/2306.01669, section 3; the training strategies
are in their code up to commit 1ad8412.

Images without labels are taken for examples of the classes that CLIP is surest of. Prompts are
tuned on them, beside labelled ones where there are some, and in later rounds give the pseudo-labels
themselves. FPL has one round with K images a class; IFPL ten rounds with K each; GRIP ten rounds,
in each of which K grows, until all images are used and every class has as many.

What is unlabelled is what the protocol hands over: without a label at all (unsupervised), the rest
of the train split beside a few labels (few-shot: semi-supervised), or images of classes that have
no label (transductive zero-shot).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.class_text import class_vectors, refuse_no_place
from operators.bounds import Bounds, Brief, Deviation, Share, Tokens
from operators.episodes.episode import Batch, Classes, FewShot, Unlabelled
from operators.episodes.views import CENTRE
from operators.methods.base import MethodCard
from operators.methods.classifier import logits_of
from operators.methods.image_classification.base import StaticClassifier
from operators.methods.image_classification.text_prompts.grip_prompts import (
    READ_BY,
    TOKENS,
    Modality,
    prompt_of,
)
from operators.methods.image_classification.text_prompts.pseudo_labels import (
    PseudoLabels,
    TwoPartLoss,
    confident_by_class,
    growing_count,
    joined,
    kept_apart,
    not_labelled,
    on_boards,
)
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

Strategy = Literal["fpl", "ifpl", "grip"]
Rules = Literal["paper", "released"]
Balance = Literal["released", "even"]
HELD_OUT_FROM = 10  # images a class; below it all pseudo-labels are learned from


class GRIP(StaticClassifier):
    """Classifies by prompts of the text tower, of the image tower or of both.

    Dimensions: b images, k classes, U images without labels, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the initial prompts.
        strategy: `fpl` labels once, `ifpl` in every round anew, `grip` more and more images.
        modality: Which prompts are learned: `text` (CoOp), `visual` (VPT-shallow), or those of
            both through one layer, `multimodal` (UPT). All but `text` need a ViT.
        rounds: Of `ifpl` and `grip`.
        pseudo_shots: K of `fpl` and `ifpl`, images that are taken for examples of a class.
        train_share: Share of the pseudo-labelled images that is learned from where a class has
            ten or more; the authors' code keeps the others to watch.
        n_context: Tokens of the text prompt.
        image_tokens: Tokens of the visual prompt.
        unified_tokens: Of each tower in the multimodal prompt.
        unified_width: Of the layer between them.
        unified_rate: What the learning rate is multiplied by in the multimodal form: published
            are 0.1, and 0.01 there.
        init_std: Standard deviation of a text prompt at the start.
        template: Sentence with one `{}`, for the first pseudo-labels and for visual prompts; empty
            for that of the dataset's card.
        rules: `paper` has the rules of the paper, `released` those of the authors' code where they
            differ: see the card.
        balance: What labelled images are weighed by beside pseudo-labels of the same classes. In
            `ifpl` and `grip` it is labelled / pseudo-labelled in the authors' code (`released`);
            `even` is pseudo-labelled / labelled, as in `fpl`, which makes both sums as large.
    """

    card = MethodCard(
        title="GRIP (with FPL and IFPL)",
        family="text_prompts",
        tunes="tokens of the text tower, of the image tower, or of both through one small layer",
        source="Menghini et al., NeurIPS 2023, https://arxiv.org/abs/2306.01669",
        cost="a step of each of ten rounds takes class prompts, or images, through their tower and "
        "back; after each round every unlabelled image is classified",
        transductive=True,
        unlabelled=True,
        unsupervised=True,
        views="none",
        views_source="authors' code, methods_config: augmentations=None, CLIP's own preprocessing",
        departures=(
            "an image is taken for one class alone, whatever the order of the images; the code's "
            "boards (rules=released) hold it in several, and compare with any entry until they "
            "are full",
            "beside few labels IFPL and GRIP weigh the labelled by labelled over pseudo-labelled, "
            "as the code does, where FPL has the inverse; balance=even has FPL's in all",
            "prompts start anew in every round; in the code (rules=released) learned tokens go on, "
            "and momentum starts anew",
            "the first pseudo-labels are from 'a photo of a cat'; the code (rules=released) leaves "
            "the place in its sentence: 'a photo of a {}cat'",
            "in multimodal prompts all tokens attend to all; in the code (rules=released) text "
            "token j and image token j to each other",
            "the multimodal layer that rules=released starts anew has the start of the first round",
            "the pseudo-labels that the code sets apart to validate on are left out, since its "
            "last epoch is what it returns, as here",
            "prompts in float32, not float16",
        ),
    )
    form = "modality"
    tuning = Tuning(
        lr=0.1,
        epochs=150,
        batch_size=16,
        weight_decay=0.1,
        warmup_epochs=5,
        schedule="ramp",
        drop_last=False,
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        strategy: Strategy = "grip",
        modality: Modality = "text",
        rounds: Annotated[int, Bounds(1, 100), Brief(2)] = 10,
        pseudo_shots: Annotated[int, Bounds(1, 10_000)] = 16,
        train_share: Share = 0.8,
        n_context: Tokens = 16,
        image_tokens: Tokens = 16,
        unified_tokens: Tokens = 4,
        unified_width: Annotated[int, Bounds(1, 4096)] = 128,
        unified_rate: Annotated[float, Bounds(0, 100, above=True)] = 0.1,
        init_std: Deviation = 0.02,
        template: str = "a photo of a {}",
        rules: Rules = "paper",
        balance: Balance = "released",
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = prompt_of(
            modality,
            backbone,
            classes,
            generator,
            n_context=n_context,
            image_tokens=image_tokens,
            template=template,
            unified_tokens=unified_tokens,
            unified_width=unified_width,
            pairs=rules == "released",
            init_std=init_std,
        )
        self.strategy, self.modality = strategy, modality
        self.rules, self.balance = rules, balance
        self.rounds = 1 if strategy == "fpl" else rounds
        self.pseudo_shots, self.train_share = pseudo_shots, train_share
        self.unified_rate, self.template = unified_rate, template
        self.two_parts: TwoPartLoss | None = None

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_no_place(hyperparameters["template"])

    @classmethod
    def needs_of(cls, hyperparameters: Mapping[str, Any]) -> frozenset[str]:
        """See `Method.needs_of`: text prompts ask for nothing."""
        return frozenset(() if hyperparameters["modality"] == "text" else {"visual-prompts"})

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        strategy, modality = hyperparameters["strategy"], hyperparameters["modality"]
        other = "strategy={} reads none. Ask for strategy={} as well."
        found = {"pseudo_shots": other.format("grip", "fpl")} if strategy == "grip" else {}
        if strategy == "fpl":
            found["rounds"] = "strategy=fpl has one. Ask for strategy=grip as well."
            found["balance"] = "strategy=fpl has one rule. Ask for strategy=grip as well."
        for name, forms in READ_BY.items():
            if modality not in forms:
                way_out = f"Ask for modality={forms[0]} as well."
                found[name] = f"modality={modality} reads none. {way_out}"
        return found

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """None: it reads centre crops alone. See `Method.view_epochs`."""
        return 0

    @classmethod
    def passes(cls, hyperparameters: Mapping[str, Any]) -> int | float:
        """Those of all rounds; a round of `grip` has its share of the images.

        See `Method.passes`.
        """
        rounds, epochs = hyperparameters["rounds"], hyperparameters["epochs"]
        of = {"fpl": 1.0, "ifpl": float(rounds), "grip": (rounds + 1) / 2}
        return epochs * of[hyperparameters["strategy"]] * hyperparameters["train_share"]

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
        """The labelled and the pseudo-labelled of each round. See `Method.tuned_on`."""
        if not unlabelled:
            return (labelled,)
        strategy, found = hyperparameters["strategy"], []
        rounds = 1 if strategy == "fpl" else hyperparameters["rounds"]
        for number in range(1, rounds + 1):
            count = hyperparameters["pseudo_shots"]
            if strategy == "grip":
                count = growing_count(number, rounds, unlabelled, classes)
            pseudo = min(count * classes, unlabelled)
            if count >= HELD_OUT_FROM:
                pseudo = max(1, int(pseudo * hyperparameters["train_share"]))
            found.append(labelled + pseudo)
        return tuple(found)

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Tunes in rounds; where every image has a label, in one round on the labels.

        See `Method.fit`.

        Raises:
            ValueError: There is no image to learn from.
        """
        if tuning is None:
            return FitReport()
        rest = not_labelled(shots)
        learner = self.over(rest.classes)
        report = learner.in_rounds(shots, rest, tuning, generator)
        if learner is not self:
            self.load_state_dict(learner.state_dict())
        self.train(False)
        return report

    def over(self, named: Classes) -> "GRIP":
        """This method, or where other classes are named one of all classes."""
        new = tuple(name for name in named.names if name not in self.classes.names)
        if not new:
            return self
        every = Classes((*self.classes.names, *new), self.classes.templates)
        twin = self.with_classes(every)
        assert isinstance(twin, GRIP)
        return twin

    def in_rounds(
        self, shots: FewShot, unlabelled: Unlabelled, tuning: Tuning, generator: torch.Generator
    ) -> FitReport:
        """Labels and tunes, in turn.

        Args:
            shots: Labelled images, maybe none; and to choose an epoch on, if that is asked for.
            unlabelled: U other images, and what they may show: some or all of the k classes.
            tuning: Of each round.
            generator: Draws the order of images.
        """
        place = {name: position for position, name in enumerate(self.classes.names)}
        shown = torch.tensor(
            [place[name] for name in unlabelled.classes.names], device=self.backbone.device
        )
        images = len(unlabelled.images)
        start = {name: value.clone() for name, value in self.state_dict().items()}
        rates = dict.fromkeys(start, self.unified_rate if self.modality == "multimodal" else 1.0)
        scores = self.first_scores(unlabelled)
        reports = []
        for number in range(1, (self.rounds if images else 1) + 1):
            count = self.pseudo_shots
            if self.strategy == "grip":
                count = growing_count(number, self.rounds, images, len(shown))
            found = self.labels_from(scores, count, generator)
            pseudo = unlabelled.images.select(found.images).labelled(shown[found.labels])
            self.two_parts = self.weighed(
                shots.train.rows, len(pseudo), apart=len(shown) < len(place)
            )
            given = replace(shots, train=pseudo.beside(shots.train), views=CENTRE)
            reports.append(tune(self, given, tuning, generator, rates=rates))
            if number < self.rounds and images:
                scores = logits_of(self, unlabelled.images)[:, shown]
                self.restart(start)
        self.two_parts = None
        return joined(reports)

    @torch.no_grad()
    def first_scores(self, unlabelled: Unlabelled) -> Float[Tensor, "U c"]:
        """Logits of hand-written prompts among the c classes that the images may show."""
        classes, backbone = unlabelled.classes, self.backbone
        templates = (self.template,) if self.template else classes.templates
        if self.rules == "released":  # the place for the name stays, and the name comes after it
            texts = unit(backbone.text_features([templates[0] + name for name in classes.names]))
        else:
            texts = class_vectors(backbone, classes, templates)
        return backbone.logit_scale * unit(unlabelled.images.features) @ texts.T

    def labels_from(
        self, scores: Float[Tensor, "U c"], count: int, generator: torch.Generator
    ) -> PseudoLabels:
        """The pseudo-labels of a round that are learned from.

        Args:
            scores: Logits of U images among the c classes that they may show.
            count: K.
            generator: Draws which are left out.
        """
        choose = on_boards if self.rules == "released" else confident_by_class
        found = choose(scores.softmax(dim=1), count)
        if count < HELD_OUT_FROM:
            return found
        return kept_apart(found, self.train_share, generator)

    def weighed(self, labelled: np.ndarray, pseudo: int, *, apart: bool) -> TwoPartLoss:
        """What a round minimises.

        Args:
            labelled: Row ids of images with known labels, maybe none.
            pseudo: How many images have pseudo-labels, maybe none.
            apart: Whether there are labels of other classes alone (transductive zero-shot).
        """
        later = self.balance == "released" and self.strategy != "fpl"
        power = 0.5 if self.modality == "multimodal" and not later else 1.0
        power *= -1 if later and not apart else 1
        return TwoPartLoss.of(labelled, pseudo, apart=apart, power=power)

    def restart(self, start: Mapping[str, Tensor]) -> None:
        """Prompts as the next round begins with them.

        Args:
            start: As the first round began with them.
        """
        goes_on = TOKENS[self.modality] if self.rules == "released" else ()
        kept = {name: value for name, value in self.state_dict().items() if name in goes_on}
        self.load_state_dict({**start, **kept})

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current prompts give, or the hand-written ones."""
        return self.prompt.class_features()

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the tower reads them, prompted or not."""
        return self.prompt.image_features(batch)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy; in a round the sum of its means over labelled and over other images."""
        each = F.cross_entropy(self.logits(batch), batch.labels, reduction="none")
        return each.mean() if self.two_parts is None else self.two_parts(each, batch.rows)
