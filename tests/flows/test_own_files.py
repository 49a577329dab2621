"""Methods of a user's own on the command line."""

import pytest

MINE = '''
"""Nearest class text. Source: ours, 2026."""
from operators.blocks.class_text import class_vectors
from operators.bounds import Share
from operators.methods import MethodCard, StaticClassifier


class Mine(StaticClassifier):
    """Class prompts, and a share of nothing."""

    card = MethodCard(
        title="Mine", family="hand_written", tunes="nothing", source="ours, 2026", cost="none",
        learns=False,
    )

    def __init__(self, backbone, classes, *, generator, shift: Share = 0.0):
        super().__init__(backbone, classes)
        self.register_buffer("texts", class_vectors(backbone, classes, classes.templates))

    def class_features(self):
        return self.texts
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.setattr("operators.methods._OWN", {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path / "mine.py"


def test_a_broken_promise_is_told_and_ends_with_1(shotboard, mine):
    mine.write_text(MINE.replace("ours, 2026", "ours").replace("return self.texts", "1 / 0"))
    answer = shotboard("methods", "check", "./mine.py")
    assert answer.code == 1
    assert "BROKEN  the card is filled\n" in answer.out
    assert "names no year" in answer.out
    assert "it raised ZeroDivisionError in line 21: division by zero\n" in answer.out
    assert "kept    it extends the contract of a track\n" in answer.out
    assert answer.out.rstrip().endswith("promises broken.")


def test_a_check_for_machines(shotboard, mine):
    mine.write_text(MINE.replace("shift: Share", "shift: float"))
    answer = shotboard("methods", "check", "./mine.py:Mine", "--json")
    assert answer.code == 1
    assert answer.json[-1]["broken"][0].startswith("shift has no bounds")


def test_a_file_is_planned_with_a_hyperparameter_of_its_own(shotboard, mine, tmp_path):
    command = ["plan", "--methods", "mine.py:Mine", "--set", "./mine.py:Mine.shift=0.5"]
    command += ["--datasets", "digits", "--protocols", "zero_shot", "--home", tmp_path / "store"]
    answer = shotboard(*command, "--json")
    assert answer.code == 0, answer.err
    (trial,) = answer.json["trials"]
    assert trial["method"] == "mine:Mine"
    assert trial["hyperparameters"] == {"shift": 0.5}
    assert len(trial["method_source"]) == 16


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "--methods", "./gone.py:Mine"], "gone.py cannot be read"),
        (["plan", "--methods", "./mine.py:Mein"], "has no Mein. Did you mean Mine?"),
        (["methods", "show", "./mine.py:Mein"], "has no Mein. Did you mean Mine?"),
        (["methods", "check", "coup"], "no method is called 'coup'. Did you mean"),
        (["plan", "--backbones", "./mine.py:Mine"], "it is no backbone: write a class that"),
        (["plan", "--datasets", "./mine.py:Mine"], "is a ABCMeta, not a dataset card"),
    ],
)
def test_what_cannot_be_is_one_sentence(shotboard, mine, arguments, said):
    answer = shotboard(*arguments)
    assert answer.code == 2
    assert said in answer.sentence
