import pytest

from flows.recipes import FOLDER, load_recipe
from flows.shipped import shipped
from tasks.planning.resolve import RequestError
from tasks.pretraining.recipe import make_recipe, override, read_recipe

LEAST = {"name": "mine", "data": "world"}


def recipe(**values):
    return make_recipe({**LEAST, **values}, where="mine.yaml")


@pytest.mark.parametrize("name", shipped(FOLDER))
def test_a_shipped_recipe_can_be_read_and_names_datasets_of_the_catalog(name):
    from data_catalog import CATALOG

    found = load_recipe(name)
    assert found.name == name
    assert set(found.evaluate) <= set(CATALOG)
    assert found.recipe.steps % found.evaluate_every == 0


def test_model_and_training_make_one_recipe():
    found = recipe(model={"image_size": 32}, training={"steps": 7, "warmup_steps": 0, "seed": 3})
    assert (found.recipe.image_size, found.recipe.steps, found.recipe.seed) == (32, 7, 3)


def test_a_small_number_is_written_as_people_write_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("data: world\ntraining: {learning_rate: 5e-4}\n")
    assert read_recipe(path).recipe.learning_rate == 5e-4


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"evaluat": []}, "no key of a recipe is called 'evaluat'. Did you mean evaluate"),
        ({"data": None}, "data=None: write `world` or {parquet: PATH_OR_URL}."),
        ({"data": {}}, "data: write `world` or `{parquet: PATH_OR_URL}`, one of them."),
        ({"data": {"parquet": "a", "world": {}}}, "one of them."),
        ({"data": {"parquet": "a", "imag": "b"}}, "recipe's data is called 'imag'. Did you mean"),
        ({"data": {"world": {}, "text": "b"}}, "image and text name columns of parquet"),
        ({"training": {"stepz": 3}}, "is called 'stepz'. Did you mean steps"),
        ({"training": {"steps": "many"}}, "steps='many' is a str, but must be a whole number"),
        ({"model": {"image_size": 30, "patch_size": 8}}, "is no multiple of patch_size=8"),
        ({"model": {"seed": 1}, "training": {"seed": 1}}, "seed is under model and under training"),
        ({"evaluate": ["digits", "digits"]}, "evaluate names digits twice"),
        ({"evaluate_every": 0}, "evaluate_every=0"),
        ({"name": "../up"}, "name='../up'"),
    ],
)
def test_a_wrong_value_is_named(values, said):
    with pytest.raises(RequestError) as refused:
        recipe(**values)
    assert str(refused.value).startswith("mine.yaml: ")
    assert said in str(refused.value)


def test_an_unknown_option_of_the_world_is_named():
    with pytest.raises(RequestError, match=r"the world has no option 'sed'. Did you mean seed\?"):
        recipe(data={"world": {"sed": 1}}).source()


def test_the_world_has_the_seed_of_the_training_unless_told():
    own = recipe(training={"seed": 3})
    assert own.source().signature() == recipe(data={"world": {"seed": 3}}).source().signature()
    assert own.source().signature() != recipe().source().signature()


def test_missing_pairs_are_a_wrong_request(tmp_path):
    with pytest.raises(RequestError, match="no file or folder at"):
        recipe(data={"parquet": str(tmp_path / "absent")}).source()


def test_another_length_keeps_the_shares_of_warm_up_and_dense_steps():
    before = recipe(training={"steps": 1000, "warmup_steps": 100, "dense_steps": 50})
    short = override(before, steps=100, seed=5).recipe
    assert (short.steps, short.warmup_steps, short.dense_steps, short.seed) == (100, 10, 5, 5)


def test_data_of_the_command_line_takes_the_place_of_the_recipes():
    assert override(recipe(), data="mine.parquet").data.parquet == "mine.parquet"
    columns = {"parquet": "a", "text": "caption"}
    assert override(recipe(data=columns), seed=2).data.parquet == "a"
    assert override(recipe(data=columns), data="b").data.text == "caption"
    assert override(recipe(data={"world": {"seed": 4}}), data="b").data.world is None


def test_an_unknown_recipe_is_refused(tmp_path):
    with pytest.raises(
        RequestError, match=r"no recipe is called 'mini-clap'. Did you mean mini-cl"
    ):
        load_recipe("mini-clap")
    with pytest.raises(RequestError, match=r"no recipe file at absent.yaml"):
        load_recipe("absent.yaml")
    path = tmp_path / "list.yaml"
    path.write_text("- a")
    with pytest.raises(RequestError, match=r"no mapping of keys to values. Start with `data: wor"):
        load_recipe(str(path))
