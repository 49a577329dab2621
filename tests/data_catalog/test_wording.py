"""Phrases that messages share."""

from data_catalog.wording import folded


def test_skipped_combinations_that_say_the_same_are_told_once():
    """Three methods on eleven datasets are a line, and a single one stays as it is."""
    described = "{} on {}: it reads sentences. Give them with `datasets describe {} --file FILE`."
    said = [
        described.format(method, place, place)
        for place in ("pets", "pets-2", "dtd")
        for method in ("cupl", "kapt")
    ]
    alone = "coop on dtd: its teacher has no place."
    other = "base_to_new on three: it has 3 classes, and 4 are needed."
    free = "nothing of the form"
    assert folded([*said, alone, other, free]) == (
        "cupl, kapt on pets, pets-2, dtd: it reads sentences. Give them with `datasets describe "
        "PLACE --file FILE`.",
        alone,
        other,
        free,
    )
    assert folded(said[:2]) == (
        "cupl, kapt on pets: it reads sentences. Give them with `datasets describe pets --file "
        "FILE`.",
    )
    assert folded([]) == ()
    assert folded(said[:1]) == (said[0],)


def test_methods_that_one_protocol_has_no_place_for_are_told_together():
    reason = "it learns something of its own for each class and cannot classify new ones."
    said = [f"{method} in base_to_new: {reason}" for method in ("linear-probe", "tip-adapter")]
    assert folded(said) == (f"linear-probe, tip-adapter in base_to_new: {reason}",)
