"""A tuned prompt on examples of the user's own: finds what its trial needs, and asks it."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from data_catalog import KINDS, Dataset, DatasetCard, Example
from data_catalog.bare import DIGITS
from data_catalog.descriptions import Descriptions
from data_catalog.naming import prompt_key
from data_catalog.reasons import remedy
from data_catalog.sources import SourceError
from data_catalog.wording import some
from operators.engine.arithmetic import products_in
from operators.episodes.episode import Classes
from operators.methods import Classifier, method_for
from operators.spec import TrialSpec
from operators.tracks import track_of
from operators.trials.tuned import Ranked, classify, method_of
from tasks.computing.found import (
    NAMING,
    backbones_of,
    dataset_of,
    load_backbone,
    refuse_other_texts,
    refuse_other_version,
    spec_of,
)
from tasks.computing.tuned import learned_by, teacher_from
from tasks.planning.data import TrialData, data_of
from tasks.planning.own_methods import read_method
from tasks.planning.resolve import RequestError
from tasks.storage.store import Store
from tasks.without_pandas import spare_pandas

TOGETHER = 64  # examples that are read and classified at a time


class Prediction(NamedTuple):
    """What a trial says of an example.

    Attributes:
        example: As it was asked for: a path or URL, or a text.
        ranked: The most probable classes, best first; empty where there is an error.
        error: Why the example could not be read; empty when it was.
    """

    example: str
    ranked: tuple[Ranked, ...] = ()
    error: str = ""


class Held:
    """Examples of any origin as rows of a dataset, so that methods read them as they read its own.

    A row decides the random views of its image. One that the dataset has too has its row there,
    any other a number that follows from its content: so what is said of an example does not depend
    on those beside it, and of a test row it is what the trial said.

    Args:
        dataset: Of the trial.
    """

    def __init__(self, dataset: Dataset) -> None:
        digests = [digest[:DIGITS] for digest in dataset.column("sha256").tolist()]
        last = np.argsort(dataset.splits == "test", kind="stable")  # so a test row is what stays
        self.kind = KINDS[dataset.kind]
        self.rows = {digests[row]: row for row in last.tolist()}
        self.contents: dict[int, bytes] = {}

    def hold(self, contents: Sequence[bytes]) -> np.ndarray:
        """Takes the place of the examples held before, and gives their rows."""
        digests = [hashlib.sha256(content).hexdigest()[:DIGITS] for content in contents]
        rows = [self.rows.get(digest, int(digest, 16)) for digest in digests]
        self.contents = dict(zip(rows, contents, strict=True))
        return np.array(rows, dtype=np.int64)

    def examples(self, rows: np.ndarray) -> list[Any]:
        """What some rows hold, as `Dataset.examples` gives it."""
        return [self.kind.stored(self.contents[row]) for row in rows.tolist()]

    def read(self, named: str) -> Example:
        """An example as a person names it; `error` is a sentence where it cannot be used."""
        try:
            content = self.kind.named(named)
        except SourceError as error:
            return Example(b"", named, error=str(error))
        return self.checked(content, named)

    def checked(self, content: bytes, named: str) -> Example:
        """An example as it is stored; `error` is a sentence where it cannot be used.

        Args:
            content: Of a file, or what a kind has in its place.
            named: What to call it in that sentence.
        """
        (checked,) = self.kind.check([Example(content, named)])
        if checked.error:
            sentence = (
                f"{named} is no {self.kind.noun} that can be used ({checked.error}). "
                f"{remedy(checked.error)}"
            )
            return Example(b"", named, error=sentence)
        return checked.example


@dataclass(frozen=True)
class Predictor:
    """A trial that is ready to classify.

    Attributes:
        spec: Of the trial.
        method: What it learned, over the classes that it chooses from.
        held: Holds the examples that are classified.
    """

    spec: TrialSpec
    method: Classifier
    held: Held

    def __call__(self, named: Sequence[str], top: int) -> Iterator[Prediction]:
        """Classifies examples, in the order asked for; one that cannot be read costs itself alone.

        Args:
            named: Paths or URLs of images, or texts.
            top: Classes an example, at most.
        """
        yield from self.answers(map(self.held.read, named), top)

    def answers(self, examples: Iterable[Example], top: int) -> Iterator[Prediction]:
        """Classifies examples that were read already, as `__call__` does.

        Args:
            examples: As `Held.checked` gives them.
            top: Classes an example, at most.
        """
        track = track_of(self.spec.protocol)
        source = track.source(self.held.examples, self.method.backbone, None)
        examples = iter(examples)
        while asked := list(islice(examples, TOGETHER)):
            whole = [example.content for example in asked if not example.error]
            ranked: Iterator[tuple[Ranked, ...]] = iter(())
            if whole:
                with products_in(self.spec.precision):
                    ranked = iter(classify(self.method, source, self.held.hold(whole), top))
            for each in asked:
                yield Prediction(each.path, () if each.error else next(ranked), each.error)


def predictor(
    store: Store,
    trial_id: str,
    *,
    classes: Sequence[str] | None = None,
    descriptions: Descriptions | None = None,
    backbones: Sequence[str] = (),
    naming: str = NAMING,
) -> Predictor:
    """Makes a completed trial ready to classify.

    Args:
        store: Where the trial and its dataset are.
        trial_id: Of the trial.
        classes: Names to choose from; None for all classes of the dataset, or those that were
            learned where the method knows no others.
        descriptions: Sentences about these classes, for a method that reads some.
        backbones: Where those of the trial and its teacher are, if their names do not say it.
        naming: How whoever asks says where a backbone is, with `{}` for the place.

    Raises:
        ValueError: Something that the trial was computed with is gone or has changed, or its
            method cannot answer with these classes.
    """
    spare_pandas()
    spec = spec_of(store, trial_id)
    specs = [spec] if spec.teacher is None else [spec, spec.teacher]
    read_method(store, spec)
    for each in specs:
        refuse_other_version(each)
    dataset = dataset_of(store, spec)
    data = {each.template_set: data_of(store, dataset, each.template_set) for each in specs}
    known = track_of(spec.protocol).known(data[spec.template_set])
    asked = _asked(specs, data, classes, descriptions)
    found = backbones_of(store, specs, backbones, naming)
    for each in specs:
        card = found[each.backbone_fingerprint].card
        refuse_other_texts(each, card, data[each.template_set].all_classes)
    held = Held(dataset)

    backbone, teacher = load_backbone(spec, found), None
    if spec.teacher is not None:
        own, images = backbone, None
        if spec.teacher.backbone_fingerprint != spec.backbone_fingerprint:
            own = load_backbone(spec.teacher, found)
            track = track_of(spec.teacher.protocol)
            images = track.source(held.examples, own, None)
        theirs = data[spec.teacher.template_set]
        teacher = teacher_from(store, spec.teacher, own, theirs, images)
    learned = learned_by(store, spec, str(backbone.device))
    method = method_of(spec, backbone, data[spec.template_set], learned, teacher)
    if asked is None:
        whole = known != method.classes and method.card.new_classes
        with products_in(spec.precision):
            return Predictor(spec, method.with_classes(known) if whole else method, held)
    if asked == method.classes:
        return Predictor(spec, method, held)
    try:
        with products_in(spec.precision):
            return Predictor(spec, method.with_classes(asked), held)
    except ValueError as error:
        raise RequestError(
            f"{error} Without --classes, trial {trial_id} answers with those of {spec.dataset}."
        ) from error


def _asked(
    specs: Sequence[TrialSpec],
    data: Mapping[str, TrialData],
    names: Sequence[str] | None,
    said: Descriptions | None,
) -> Classes | None:
    """The classes that a user asks for; None where they are those of the trial.

    Args:
        specs: Of the trial, and of its teacher if it has one.
        data: The dataset as they see it, by template set.
        names: What the user gave.
        said: Likewise.
    """
    known = track_of(specs[0].protocol).known(data[specs[0].template_set])
    readers = [spec for spec in specs if method_for(spec).card.descriptions]
    if said is not None and not readers:
        raise RequestError(
            f"--descriptions: {specs[0].method} reads no sentences about classes. Leave it out."
        )
    if names is None and said is None:
        return None
    given = names is not None
    names = DatasetCard.prompt_names(names) if names is not None else known.names
    if given and (len(names) < 2 or len({prompt_key(name) for name in names}) < len(names)):
        raise RequestError(
            f"--classes {','.join(names)}: give two classes or more, each once (case, blanks and "
            "underscores tell none apart), with commas between, such as --classes cat,dog."
        )
    places = {name: place for place, name in enumerate(known.names)}
    strange = [name for name in names if name not in places]
    if said is not None:
        if not strange and specs[0] not in readers:
            raise RequestError(
                f"--descriptions: {readers[0].method}, the teacher of {specs[0].method}, has "
                "sentences about all of these classes. Leave it out."
            )
        try:
            return Classes(names, known.templates, known.ensemble, said.of(names))
        except ValueError as error:
            raise RequestError(f"--descriptions: {error}") from error
    if readers and strange:
        raise RequestError(
            f"--classes {some(strange)}: {readers[0].method} reads sentences about each class, "
            "and there are none. Give some about all of the classes with --descriptions FILE, "
            'a JSON of {"class name": ["sentence", ..], ..}.'
        )
    if not strange:
        return known.subset([places[name] for name in names])
    # A language model answers with the words of the classes that it knows, with names else.
    words = [known.verbalizer[places[n]] if n in places else n for n in names if known.verbalizer]
    return Classes(names, known.templates, known.ensemble, verbalizer=tuple(words))
