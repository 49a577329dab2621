"""A teacher's logits: what they are, who is asked, and how often."""

import numpy as np
import pytest
import torch

from operators.episodes.episode import Batch, Classes, batch_of
from operators.episodes.views import View
from operators.methods import METHODS, Teacher
from operators.methods.image_classification.deep_prompts.promptkd import TeacherLogits

ROWS = np.arange(6)
CLASSES = Classes(("cat", "dog", "boat"), ("a photo of a {}.",))


def zero_shot(backbone, classes=CLASSES):
    return METHODS["zero-shot"](backbone, classes, generator=torch.Generator()).eval()


@pytest.fixture
def source(clip, drawn_pictures):
    return drawn_pictures(clip, [0, 1, 2] * 2)


class Asked:
    """A source that remembers which rows were read under which view."""

    def __init__(self, source):
        self.source = source
        self.read = []

    def features(self, rows, view=None):
        self.read += [(row, view) for row in rows.tolist()]
        return self.source.features(rows, view)

    def pixels(self, rows, view=None):
        return self.source.pixels(rows, view)


def test_a_teacher_reads_the_students_images_with_its_own_eyes(clip, siglip, drawn_pictures):
    theirs, ours = drawn_pictures(siglip, [0, 1, 2] * 2), drawn_pictures(clip, [0, 1, 2] * 2)
    method = zero_shot(siglip)
    rows = np.array([4, 1])
    found = Teacher(method, theirs).logits(Batch(ours, rows, None))
    wanted = method.logits(batch_of(theirs, rows, np.zeros(6, int), (0,), torch.device("cpu")))
    torch.testing.assert_close(found, wanted)


def test_a_teacher_of_other_classes_has_their_vectors(clip):
    others = Classes(("tree",), ("a photo of a {}.",))
    teacher = Teacher(zero_shot(clip))
    assert teacher.over(CLASSES) is teacher
    torch.testing.assert_close(
        teacher.over(others).class_vectors, zero_shot(clip, others).weights()
    )


def test_a_teacher_may_read_descriptions_that_its_student_does_not(clip, classes):
    """`classes` have descriptions; the student names some of them without."""
    method = METHODS["cupl"](clip, classes, generator=torch.Generator()).eval()
    bare = Classes((classes.names[2], classes.names[0]), classes.templates)
    cached = Teacher(method, known=classes).over(bare)
    torch.testing.assert_close(cached.class_vectors, method.weights()[[2, 0]])
    with pytest.raises(ValueError, match="reads sentences about each class, and there are none"):
        Teacher(method, known=classes).over(Classes(("zebra",), classes.templates))


@pytest.mark.parametrize("view", [None, View(1)])
def test_each_image_is_asked_about_once_for_each_view(clip, source, view):
    watched = Asked(source)
    teacher = Teacher(zero_shot(clip))
    cached, batch = TeacherLogits(teacher), Batch(watched, ROWS, None).under(view)
    wanted = teacher.logits(Batch(source, ROWS, None).under(view))
    for index in ([0, 3], [3, 5, 0], [5, 4]):
        found = cached.logits(batch.select(torch.tensor(index)))
        torch.testing.assert_close(found, wanted[index], rtol=1e-4, atol=1e-4)
    for row in (0, 3, 4, 5):
        assert cached.kept.values[view][row].shape == (3,)
    assert set(cached.kept.values[view]) == {0, 3, 4, 5}


def test_what_is_beyond_the_budget_is_asked_again_and_stays_the_same(clip, source):
    teacher = Teacher(zero_shot(clip))
    cached, batch = TeacherLogits(teacher, budget=2 * 3 * 4), Batch(source, ROWS, None)
    first, again = cached.logits(batch), cached.logits(batch)
    torch.testing.assert_close(first, again, rtol=1e-4, atol=1e-4)
    assert set(cached.kept.values[None]) == {0, 1}


def test_fresh_views_are_not_kept(clip, source):
    cached = TeacherLogits(Teacher(zero_shot(clip)))
    cached.logits(Batch(source, ROWS, None).under(View(0, seed=1)))
    assert cached.kept.values == {}


def test_no_gradient_reaches_a_teacher(clip, source):
    method = METHODS["ivlp"](clip, CLASSES, generator=torch.Generator().manual_seed(0)).eval()
    teacher = Teacher(method)
    assert not teacher.logits(Batch(source, ROWS, None)).requires_grad
    assert not teacher.class_vectors.requires_grad
