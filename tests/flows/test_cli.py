"""Every command: what it answers, and that a wrong request is one sentence and starts nothing."""

import csv
import hashlib
import io
import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
import yaml
from PIL import Image

from flows.cli.common import one_sentence
from flows.cli.running import _by_shots
from operators.backbones import DualEncoder
from operators.backbones.language import LanguageModel
from operators.methods import METHODS, MethodCard
from operators.methods.image_classification.hand_written.zero_shot import ZeroShot
from tasks.pages.method_page import page
from tasks.services.children import free_port


class NeedsViT(ZeroShot):
    card = MethodCard(
        title="Needs a ViT",
        family="feature_heads",
        tunes="nothing",
        source="",
        needs=frozenset({"visual-prompts"}),
    )


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture
def refused(shotboard, tmp_path):
    """Calls the command line in an empty store, and returns the sentence of its refusal."""

    def call(*arguments):
        answer = shotboard(*arguments, "--home", tmp_path / "store")
        assert answer.code == 2, (answer.out, answer.err, answer.trouble)
        assert answer.out == ""
        assert not (tmp_path / "store").exists()
        return answer.sentence

    return call


@pytest.fixture
def suite_file(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "co-op"], "'co-op'. Did you mean coop, mocoop or kgcoop?"),
        (["text", "--methods", "coop"], "Choose another with --protocols, such as few_shot."),
        (["--methods", "verbalizer"], "--protocols, such as text_few_shot."),
        (["--datasets", "mini-reviews"], "asks about images. Choose another with --protocols,"),
        (["text", "--backbones", "mini-clip"], "a language model. Choose one with --backbones,"),
        (
            ["--targets", "digits"],
            "learned. Add cross_dataset, domain_generalization or multi_task to them.",
        ),
        (["text", "--targets", "digits"], "Leave targets out: cross_dataset and domain_general"),
        (["--test-rows-per-class", "0"], "give 1 to 10000000. `all` keeps all rows."),
        (["--datasets", "digit"], "no dataset is called 'digit'. Did you mean digits?"),
        (["--datasets", "oxford_pet"], "called 'oxford_pet'. Did you mean oxford_pets?"),
        (["--backbones", "efnet-minilm"], "'efnet-minilm'. Did you mean effnet-minilm"),
        (["--protocols", "few-shot"], "no protocol is called 'few-shot'. Did you mean few_shot"),
        (["quikstart"], "no suite is called 'quikstart'. Did you mean quickstart?"),
        (
            ["absent.yaml"],
            "no suite file at absent.yaml. There is: base-to-new, compositional, coop",
        ),
        (["quickstrt.yaml"], "at quickstrt.yaml. Did you mean quickstart? The path of a YAML file"),
        (["--shots", "0"], "shots=0: give 1 to 100000."),
        (["--shots", "x"], "--shots x: give whole numbers"),
        (["--shots", ""], "shots=[]: give at least one."),
        (["--seeds", "1,1"], "seeds names 1 twice"),
        (["--views", "bank"], "views='bank': give none for the centre crop, bank:K for K random"),
        (["--setting", "papers"], "setting='papers'"),
        (["--precision", "fp8"], "precision='fp8'"),
        (["--test-rows-per-class", "0"], "test_rows_per_class=0: give 1 to 10000000"),
        (["--test-rows-per-class", "few"], "test_rows_per_class='few' is a str, but must be"),
        (["--time-limit", "-3"], "time_limit=-3: give seconds above 0, or auto"),
        (["--time-limit", "long"], "time_limit='long' is a str, but must be a number"),
        (["--methods", "coop", "--protocols", "zero_shot"], "nothing to run: coop in zero_shot"),
        (["--set", "coop"], "--set coop: write METHOD.NAME=VALUE"),
        (["--set", "coop.epoch=3"], "no hyperparameter of coop is called 'epoch'."),
        (["--set", "coop.epochs=-1"], "coop.epochs=-1: give 1 to 10000."),
        (["--set", "coop.epochs=[1"], "--set coop.epochs=[1"),
        (["--set", "coop.lr=-1e-3"], "coop.lr=-0.001: give above 0, up to 100."),
        (["--set", "cop.epochs=3"], "no method is called 'cop'. Did you mean coop"),
        (["--set", "kgcoop.epochs=3"], "a hyperparameter of kgcoop was set"),
        (["--backbones", "/no/such/clip"], "no folder at '/no/such/clip'."),
        (["--backbones", "nobody/no-clip"], "backbone 'nobody/no-clip' is not on this machine"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_starts_nothing(refused, command, arguments, said):
    assert said in refused(command, *arguments)


def test_an_unknown_key_of_a_suite_is_refused_by_name(refused, suite_file):
    path = suite_file("datasets: [digits]\nmethods: [coop]\nshot: [1]\n")
    assert "no key of a suite is called 'shot'. Did you mean shots?" in refused("run", path)


def test_a_method_that_the_backbone_cannot_do_is_refused(refused, monkeypatch):
    monkeypatch.setitem(METHODS, "needs-vit", NeedsViT)
    said = refused("run", "--methods", "needs-vit", "--backbones", "effnet-minilm")
    assert said.startswith("needs-vit needs visual-prompts, which effnet-minilm does not have.")


def test_a_gpu_that_is_not_there_is_refused(refused, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "this machine has no GPU" in refused("run", "--gpus-per-worker", "1")


def test_a_part_of_a_gpu_is_below_one_or_whole(refused):
    assert "gpus_per_worker=1.5" in refused("run", "--gpus-per-worker", "1.5")


def test_tf32_without_a_gpu_is_refused(refused):
    assert "precision 'tf32' is how a GPU multiplies" in refused("run", "--precision", "tf32")


def test_no_workers_at_all_are_refused(refused):
    assert "workers=0: a run needs at least 1 worker" in refused("run", "--workers", "0")


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:999999"])
def test_a_ray_address_that_is_none_is_refused(refused, address):
    assert f"no Ray cluster answers at {address}" in refused("run", "--ray-address", address)


def test_a_ray_address_where_nobody_listens_is_refused(refused):
    said = refused("run", "--ray-address", f"127.0.0.1:{free_port()}")
    assert "no Ray cluster answers at 127.0.0.1:" in said
    assert "leave out --ray-address" in said


def test_a_prefect_server_that_does_not_answer_is_refused(shotboard, filled, tiny, monkeypatch):
    url = f"http://127.0.0.1:{free_port()}/api"
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setattr("tasks.services.server.configured_api", lambda: url)
    arguments = ["--datasets", "pets", "--backbones", tiny, "--methods", "zero-shot"]
    answer = shotboard("run", *arguments, "--home", filled.home)
    assert answer.code == 2
    assert f"error: PREFECT_API_URL is {url}, but no Prefect server answers" in answer.err
    assert not filled.prefect.exists()


@pytest.fixture
def tiny(clip_folder):
    return str(clip_folder)


@pytest.mark.parametrize("url", ["s3://me:hunter2@bucket/store", "https://example.org/store"])
def test_a_url_that_no_store_can_be_at_is_refused(shotboard, url):
    answer = shotboard("run", "--home", url)
    assert answer.code == 2
    assert "docs/object-stores.md" in answer.sentence or "no store can be at" in answer.sentence
    assert "hunter2" not in answer.err


@pytest.mark.parametrize("under", ["", "store"])
def test_a_store_in_the_place_of_a_file_is_refused(shotboard, tmp_path, under):
    (tmp_path / "notes").write_text("")
    answer = shotboard("plan", "--home", tmp_path / "notes" / under)
    assert answer.code == 2
    assert f"must be a folder, but {tmp_path / 'notes'} is none. Give --home" in answer.sentence


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["rn"], "no such command 'rn'. Did you mean 'run', 'runs'? See `shotboard --help`."),
        (["datasets", "frob"], "no such command 'frob'. See `shotboard datasets --help`."),
        (["run", "--frob"], "no such option: --frob. Did you mean --fresh? See `shotboard run"),
        (["plan", "--ray-address", "x"], "no such option: --ray-address. See `shotboard plan"),
        (["datasets", "add", "pets"], "missing option '--path'. See `shotboard datasets add"),
        (["sql", "SELECT 1", "--format", "xml"], "invalid value for '--format': 'xml' is not"),
        (["run", "--methods"], "option '--methods' requires an argument. See `shotboard COMMAND"),
    ],
)
def test_a_command_that_is_written_wrongly_is_one_sentence(shotboard, command, said):
    answer = shotboard(*command)
    assert (answer.code, answer.out) == (2, "")
    assert answer.sentence.startswith(said)


def test_no_command_at_all_shows_the_commands(shotboard):
    answer = shotboard()
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Usage: shotboard")
    assert "Show the leaderboard" in answer.err


@pytest.mark.parametrize(
    ("name", "path", "said"),
    [
        ("pets", "/no/such/folder", "no file or folder at /no/such/folder."),
        ("Pets", "{pictures}", "dataset name 'Pets' is not made of lower-case letters"),
        ("digits", "{pictures}", "'digits' is an embedded dataset. Choose another name."),
        ("pets", "{pictures}/dog/0.jpg", "is a single file and no set of images"),
        ("pets", "hf://models/owner/name", "is no dataset of the hub"),
    ],
)
def test_what_is_no_dataset_cannot_be_added(refused, pictures, name, path, said):
    assert said in refused("datasets", "add", name, "--path", path.format(pictures=pictures))


def test_a_parquet_without_images_cannot_be_added(refused, tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"says": ["a", "b"], "label": [0, 1]}), path)
    said = refused("datasets", "add", "pets", "--path", path)
    assert "has no column of images" in said
    assert "If it is a table of texts, say which column has them (--columns text=..)." in said


def test_a_template_without_a_place_for_the_name_is_refused(refused, pictures):
    said = refused("datasets", "add", "pets", "--path", pictures, "--template", "a photo")
    assert "template 'a photo' does not hold {}" in said


def test_a_dataset_is_added_ingested_and_verified(shotboard, pictures, tmp_path):
    home = ["--home", tmp_path / "store"]
    answer = shotboard("datasets", "add", "pets", "--path", pictures, *home)
    assert answer.code == 0
    assert "shotboard run --datasets pets" in answer.out
    listed = shotboard("datasets", "list", "--json", *home).json
    assert {row["name"]: row["fingerprint"] for row in listed}["pets"] is None

    answer = shotboard("datasets", "ingest", "pets", *home)
    assert answer.code == 0
    assert "40 images, 4 classes, 1 quarantined" in " ".join(answer.err.split())
    assert answer.out.startswith("quarantined in pets: dog/torn.jpg: ")
    answer = shotboard("datasets", "verify", "pets", *home)
    assert (answer.code, answer.out) == (0, "pets: 40 images, 0 faults.\n")


def test_what_was_understood_is_told_before_anything_is_read(shotboard, pictures, tmp_path):
    home = ["--home", tmp_path / "store"]
    folder = shutil.copytree(pictures, tmp_path / "wrapped" / "pets")
    (folder / "cat" / "about.txt").write_text("mine")
    (folder / "table.csv").write_text("image_id,breed\n0,tabby\n")
    said = shotboard("datasets", "add", "pets", "--path", folder.parent, *home).out
    assert said.startswith(f"pets: images in folders <class> at {folder}")
    assert f"registered pets: {tmp_path / 'store'}" in said
    assert "classes: 4 (" in said
    assert "images: 41: train 2" in said
    assert "2 files of other kinds, not read: 1 .txt (cat/about.txt), 1 .csv (table.csv)" in said
    assert "(no official split: " in said


def test_texts_are_added_shown_and_verified_as_images_are(shotboard, tmp_path):
    home = ["--home", tmp_path / "store"]
    rows = [
        f"it was {word} {n},{label}" for n in range(10) for label, word in enumerate(("bad", "ok"))
    ]
    (tmp_path / "says.csv").write_text("\n".join(["review,stars", *rows, ",1", ""]))
    said = shotboard(
        *("datasets", "add", "says", "--path", tmp_path / "says.csv", "--classes", "bad,good"),
        *("--verbalizer", "terrible,great", "--template", "{text} It was {answer}", *home),
    ).out
    assert "says: texts in column 'review', classes in 'stars', of 1 table at" in said
    assert "texts: 21: train 1" in said
    assert "next: shotboard run text --datasets says\n" in said
    planned = shotboard("plan", "text", "--datasets", "says", "--shots", "1", *home)
    assert (planned.code, "text-linear-probe" in planned.out) == (0, True)
    answer = shotboard("datasets", "ingest", "says", *home)
    assert answer.out == (
        "quarantined in says: says.csv#20: empty: no character is in it\n"
        "says: 1 text set aside: 1 empty.\n"
    )
    listed = shotboard("datasets", "list", "--json", *home).json
    kinds = {row["name"]: row["card"]["kind"] for row in listed}
    assert (kinds["says"], kinds["mini-topics"], kinds["digits"]) == ("text", "text", "image")
    shown = shotboard("datasets", "show", "says", *home).out
    assert all(each in shown for each in ("kind", "text", "terrible, great", "longest: 12"))
    assert shotboard("datasets", "verify", "says", *home).out == "says: 20 texts, 0 faults.\n"


def test_domains_are_told_before_anything_is_read(shotboard, pictures, tmp_path):
    for domain in ("photo", "sketch"):
        shutil.copytree(pictures, tmp_path / "pets" / domain)
    home = ["--home", tmp_path / "store"]
    said = shotboard("datasets", "add", "pets", "--path", tmp_path / "pets", *home).out
    assert "images in folders <domain>/<class> at" in said
    assert "domains: 2: photo 41, sketch 41" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--columns", "file"], "--columns file: 'file' is no pair, such as --columns train=a"),
        (["--columns", "file=a,file=b"], "--columns: file is given 2 times. Give it once."),
        (["--columns", "file=a"], "columns was given, but"),
        (["--table", "labels.csv"], "no file labels.csv in"),
        (["--layout", "klass"], "layout 'klass' is not made of class"),
        (["--splits", "training=a"], "split_names names training. Splits are train, val and test"),
        (
            ["--splits", "train=a"],
            "no split of the source has a name that the card wants; it has no split",
        ),
    ],
)
def test_what_settles_a_guess_must_fit(refused, pictures, options, said):
    assert said in refused("datasets", "add", "pets", "--path", pictures, *options)


def test_a_dataset_whose_source_is_gone_is_still_listed(shotboard, pictures, tmp_path):
    copies = {name: shutil.copytree(pictures, tmp_path / name) for name in ("read", "unread")}
    home = ["--home", tmp_path / "store"]
    for name, folder in copies.items():
        shotboard("datasets", "add", name, "--path", folder, *home)
    shotboard("datasets", "ingest", "read", *home)
    for folder in copies.values():
        shutil.rmtree(folder)
    listed = shotboard("datasets", "list", "--json", *home).json
    places = {row["name"]: row["source"] for row in listed}
    assert places["read"] == f"images in folders <class> at {copies['read']}"
    assert places["unread"] == f"image_folder: {copies['unread']}"
    for name in copies:
        assert shotboard("datasets", "show", name, *home).code == 0


def test_what_cannot_be_read_is_not_registered(shotboard, tmp_path):
    archive, home = tmp_path / "pets.zip", ["--home", tmp_path / "store"]
    archive.write_bytes(b"PK")
    add = ["datasets", "add", "pets", "--path", archive, "--sha256", "0" * 64, *home]
    assert f"has sha256 {hashlib.sha256(b'PK').hexdigest()}" in shotboard(*add).sentence
    listed = shotboard("datasets", "list", "--json", *home).json
    assert "pets" not in [row["name"] for row in listed]


@pytest.fixture
def behind_a_token(tmp_path, pictures):
    """The URL of a dataset with a token in it; its file system minds none."""
    import fsspec

    photos = [path.read_bytes() for path in sorted(pictures.glob("*/[0-9].jpg"))]
    labels = [path.parent.name for path in sorted(pictures.glob("*/[0-9].jpg"))]
    url = "memory://anna:s3cr3t@host/pets.parquet"
    with fsspec.open(url, "wb") as file:
        pq.write_table(pa.table({"image": photos, "label": labels}), file)
    return url


def test_a_token_in_a_url_is_shown_nowhere(shotboard, behind_a_token, tmp_path):
    home = ["--home", tmp_path / "store"]
    said = ""
    for command in (
        ["datasets", "add", "pets", "--path", behind_a_token],
        ["datasets", "ingest", "pets", "--json"],
        ["datasets", "show", "pets"],
        ["datasets", "show", "pets", "--json"],
        ["datasets", "list", "--json"],
    ):
        answer = shotboard(*command, *home)
        assert answer.code == 0, answer.err
        said += answer.out + answer.err
    for path in (behind_a_token + "x", "http://anna:s3cr3t@127.0.0.1:9/a.zip?sig=s3cr3t"):
        answer = shotboard("datasets", "add", "more", "--path", path, *home)
        assert answer.code == 2
        said += answer.out + answer.err
    answer = shotboard("backbones", "show", "https://anna:s3cr3t@host/clip")
    assert answer.code == 2
    said += answer.err
    assert "s3cr3t" not in said
    assert "only you may read it" in said
    assert "anna:***@host" in said
    holding = [
        path.name
        for path in (tmp_path / "store").rglob("*")
        if path.is_file() and b"s3cr3t" in path.read_bytes()
    ]
    assert holding == ["pets.yaml"]


@pytest.fixture
def numbered(tmp_path, pictures):
    """A table of three classes by number."""
    photos = sorted(pictures.glob("dog/[0-9].jpg"))[:6]
    lines = [f"{photo},{number // 2}" for number, photo in enumerate(photos)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    return tmp_path / "list.csv"


SHARKS = ("great white shark, white shark", "tench, Tinca tinca", "owl")


def test_names_with_commas_are_quoted_or_in_a_file(shotboard, numbered, tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("\n".join(SHARKS) + "\n")
    for number, classes in enumerate([f'"{SHARKS[0]}", "{SHARKS[1]}",owl', f"@{file}"]):
        add = ["datasets", "add", f"fish{number}", "--path", numbered, "--classes", classes]
        answer = shotboard(*add, "--home", tmp_path / "store")
        assert answer.code == 0, answer.err
        card = (tmp_path / f"store/datasets/fish{number}.yaml").read_text()
        assert tuple(yaml.safe_load(card)["classes"]) == SHARKS
    assert "quotes" in shotboard("datasets", "add", "--help").out


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (",".join(SHARKS), "5 classes are named, and the data shows 3 of them"),
        ("cat,dog", "the card names 2 classes"),
        ("cat,,owl", "name 2 is empty"),
        ("cat,dog,owl,", "name 4 is empty"),
        ('"cat,dog,owl', "a quote does not close"),
        ("@/no/such/names.txt", "the file cannot be read (No such file or directory)"),
        ("cat,Cat,owl", "'cat' and 'Cat' are spelled apart, but make the same prompt"),
    ],
)
def test_names_that_do_not_fit_the_data_are_refused_at_once(refused, numbered, classes, said):
    assert said in refused("datasets", "add", "fish", "--path", numbered, "--classes", classes)


def test_adding_the_same_again_changes_nothing_and_another_is_refused(
    shotboard, pictures, tmp_path
):
    add = ["datasets", "add", "pets", "--path", pictures, "--home", tmp_path / "store"]
    assert shotboard(*add).code == 0
    assert shotboard(*add).code == 0
    other = shotboard(*add, "--template", "a picture of a {}.")
    assert other.code == 2
    assert "registered already, with another card" in other.sentence
    assert shotboard(*add, "--template", "a picture of a {}.", "--replace").code == 0


def test_datasets_that_are_not_there_are_refused(shotboard, refused):
    for command in ("show", "ingest", "verify"):
        said = refused("datasets", command, "digitz")
        assert said.startswith("no dataset is called 'digitz'. Did you mean digits?")


def test_a_dataset_that_was_not_ingested_cannot_be_verified(refused):
    assert "has not been ingested" in refused("datasets", "verify", "digits")


def test_a_damaged_image_fails_verification_by_name(shotboard, pictures, tmp_path):
    home = ["--home", tmp_path / "store"]
    shotboard("datasets", "add", "pets", "--path", pictures, *home)
    shotboard("datasets", "ingest", "pets", *home)
    (data,) = (tmp_path / "store" / "data" / "pets").glob("*/data.parquet")
    content = data.read_bytes()
    image = (pictures / "cat" / "3.jpg").read_bytes()
    at = content.index(image)
    data.write_bytes(content[: at + 200] + b"\0\0\0\0" + content[at + 204 :])
    answer = shotboard("datasets", "verify", "pets", *home)
    assert answer.code == 1
    assert "cat/3.jpg" in answer.out


def test_a_card_tells_what_was_quarantined(shotboard, filled):
    shown = shotboard("datasets", "show", "pets", "--json", "--home", filled.home).json
    assert shown["card"]["quarantined"]["count"] == 1
    assert shown["card"]["quarantined"]["first"][0]["path"] == "dog/torn.jpg"
    text = shotboard("datasets", "show", "pets", "--home", filled.home)
    assert text.code == 0
    assert "torn.jpg" in text.out


def test_methods_are_listed_with_what_they_tune(shotboard):
    assert {row["method"] for row in shotboard("methods", "--json").json} == set(METHODS)
    assert {row["method"] for row in shotboard("methods", "list", "--json").json} == set(METHODS)
    text = shotboard("methods").out
    assert all(name in text for name in METHODS)


def test_a_method_shows_its_published_hyperparameters(shotboard):
    shown = shotboard("methods", "show", "coop", "--json").json
    assert shown["card"]["hyperparameters"]["n_context"] == 16
    text = shotboard("methods", "show", "coop")
    assert text.code == 0
    assert "n_context" in text.out
    assert "arxiv.org/abs/2109.01134" in text.out


def test_a_method_shows_what_it_costs_and_asks_of_a_comparison(shotboard):
    text = shotboard("methods", "show", "tpt").out
    assert "through the image tower" in text
    assert "test-time: adapts to test examples" in text
    assert "bicubic crops without AugMix" in text


def test_the_page_of_the_methods_can_be_written_to_a_file(shotboard):
    found = shotboard("methods", "page")
    assert found.code == 0
    assert found.out == page()


def test_an_unknown_method_or_backbone_is_refused(shotboard):
    assert "Did you mean coop" in shotboard("methods", "show", "cop").sentence
    assert "Did you mean effnet-minilm?" in shotboard("backbones", "show", "effnet").sentence


def test_backbones_are_listed_with_the_fingerprint_of_those_that_are_here(shotboard):
    rows = {row["backbone"]: row for row in shotboard("backbones", "--json").json}
    assert rows["effnet-minilm"]["fingerprint"]
    assert rows["clip-vit-b16"].get("fingerprint") is None
    assert "clip-vit-b16" in shotboard("backbones", "list").out


def test_a_folder_is_shown_as_a_backbone(shotboard, tiny):
    shown = shotboard("backbones", "show", tiny, "--json").json
    assert (shown["backbone"], shown["family"]) == ("tiny-clip", "clip")
    assert "visual-prompts" in shotboard("backbones", "show", tiny).out


def test_a_backbone_that_is_not_here_is_one_sentence(shotboard):
    answer = shotboard("backbones", "show", "clip-vit-b16")
    assert answer.code == 2
    assert "is not on this machine" in answer.sentence


def test_a_plan_shows_what_is_done_and_runs_nothing(shotboard, filled, tiny):
    arguments = ["plan", "--datasets", "pets", "--backbones", tiny, "--methods"]
    arguments += ["zero-shot,tip-adapter", "--shots", "1,2", "--seeds", "1,2"]
    arguments += ["--protocols", "few_shot", "--home", filled.home]
    before = filled.done()
    shown = shotboard(*arguments, "--json").json
    assert len(shown["trials"]) == 5
    assert filled.done() == before
    assert "5 trials, " in shotboard(*arguments).out


def test_a_plan_has_the_shots_of_a_method_in_one_row_where_they_are_alike(shotboard, filled, tiny):
    arguments = ["plan", "--datasets", "pets", "--backbones", tiny, "--methods", "tip-adapter"]
    arguments += ["--shots", "1,2,4", "--seeds", "1,2", "--protocols", "few_shot"]
    lines = shotboard(*arguments, "--home", filled.home).out.splitlines()
    assert [x.split()[-3:] for x in lines if x.startswith(" few_shot ")] == [["1,2,4", "6", "0"]]


def test_shots_that_are_done_and_those_that_are_not_have_rows_of_their_own():
    place = ("few_shot", "pets", "tiny", "coop")
    done = {1: [True, True], 2: [True, True], 4: [True, False], 8: [False, False], 16: [False]}
    assert [row[4:] for row in _by_shots({(*place, k): each for k, each in done.items()})] == [
        ["1,2", 4, 4],
        ["4", 2, 1],
        ["8,16", 3, 0],
    ]


def test_views_change_the_plan_of_methods_that_see_them(shotboard, filled, tiny):
    arguments = ["plan", "--datasets", "pets", "--backbones", tiny, "--methods"]
    arguments += ["zero-shot,tip-adapter", "--shots", "1", "--seeds", "1,2"]
    arguments += ["--protocols", "few_shot", "--home", filled.home, "--views", "bank:8", "--json"]
    trials = shotboard(*arguments).json["trials"]
    assert {(trial["method"], trial["views"]) for trial in trials} == {
        ("zero-shot", "none"),
        ("tip-adapter", "bank:8"),
    }


def test_a_plan_before_ingestion_says_so(shotboard, tmp_path):
    answer = shotboard("plan", "--home", tmp_path / "store")
    assert answer.code == 0
    assert "to ingest first: world-icons, world-domains, digits, textiles" in answer.out
    assert "names no classes" not in answer.out
    assert "\n185 trials, 0 done, 185 to do\n" in answer.out
    assert not (tmp_path / "store").exists()


def test_a_plan_says_which_dataset_it_cannot_know_yet(shotboard, pictures, tmp_path):
    home = ["--home", tmp_path / "store"]
    shotboard("datasets", "add", "pets", "--path", pictures, *home)
    answer = shotboard("plan", "--datasets", "pets", *home)
    assert answer.code == 0
    said = " ".join(answer.out.split())
    assert "its card names no classes" in said
    assert "ingested: shotboard datasets ingest pets" in said
    assert "0 trials" not in said


def test_a_plan_says_how_many_trials_there_can_be_of_a_dataset_it_cannot_know(
    shotboard, pictures, tmp_path
):
    home = ["--home", tmp_path / "store"]
    shotboard("datasets", "add", "pets", "--path", pictures, *home)
    plan = ["plan", "--datasets", "pets", *home]
    said = shotboard(*plan).out
    (most,) = re.findall(r"^pets: at most (\d+) trials; its card names no classes", said, re.M)
    assert shotboard(*plan, "--json").json["at_most"] == {"pets": int(most)}
    beside = shotboard("plan", "--datasets", "pets,digits", *home).out
    assert re.search(r"^\d+ trials, 0 done, \d+ to do, beside those of pets$", beside, re.M)
    targets = shotboard(*plan, "--protocols", "domain_generalization").out
    assert "pets: its card names no classes" in targets
    shotboard("datasets", "ingest", "pets", *home)
    trials = shotboard(*plan, "--json").json
    assert len(trials["trials"]) == int(most)  # it has four classes, which is enough for all
    assert trials["at_most"] == {}


def test_the_board_is_shown(shotboard, filled):
    rows = shotboard("board", "--json", "--home", filled.home).json
    assert {(row["method"], row["shots"], row["n"]) for row in rows} == {
        ("zero-shot", 0, 1),
        ("tip-adapter", 1, 2),
    }
    text = shotboard("board", "--home", filled.home).out
    assert "pets · few_shot · tiny-clip" in text
    assert "tip-adapter" in text


def test_the_board_can_be_cut_to_a_protocol(shotboard, filled):
    board = ["board", "--home", filled.home, "--json", "--protocol"]
    assert len(shotboard(*board, "few_shot").json) == 2
    assert shotboard(*board, "base_to_new").json == []
    assert "Did you mean few_shot" in shotboard(*board, "few-shot").sentence


def test_the_board_is_written_as_a_page_and_as_a_table(shotboard, filled, tmp_path):
    page, table = tmp_path / "out" / "board.html", tmp_path / "out" / "board.csv"
    answer = shotboard("board", "--html", page, "--csv", table, "--home", filled.home)
    assert answer.code == 0
    assert "tip-adapter" in page.read_text()
    assert page.read_text().endswith("</html>\n")
    with table.open() as file:
        assert [row["method"] for row in csv.DictReader(file)].count("zero-shot") == 1


def test_the_board_is_the_same_after_a_rebuild(shotboard, filled):
    board = ["board", "--json", "--home", filled.home]
    assert shotboard(*board, "--rebuild").json == shotboard(*board).json


def test_a_store_without_a_board_says_how_to_get_one(refused):
    assert "run `shotboard run`" in refused("board")
    assert "run `shotboard run`" in refused("sql", "SELECT 1")


SQL = "SELECT method, shots FROM leaderboard WHERE metric = 'accuracy' ORDER BY shots"
ROWS = [{"method": "zero-shot", "shots": 0}, {"method": "tip-adapter", "shots": 1}]


def test_sql_answers_as_a_table(shotboard, filled):
    lines = shotboard("sql", SQL, "--home", filled.home).out.splitlines()
    assert [line.split() for line in lines] == [
        ["method", "shots"],
        ["zero-shot", "0"],
        ["tip-adapter", "1"],
    ]


def test_sql_answers_as_json_and_csv(shotboard, filled):
    sql = ["sql", SQL, "--home", filled.home]
    assert shotboard(*sql, "--json").json == ROWS
    assert shotboard(*sql, "--format", "json").json == ROWS
    found = csv.DictReader(io.StringIO(shotboard(*sql, "--format", "csv").out))
    assert [row["method"] for row in found] == ["zero-shot", "tip-adapter"]


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_sql_writes_the_format_that_the_file_is_named_for(shotboard, filled, tmp_path, suffix):
    path = tmp_path / "out" / f"rows.{suffix}"
    answer = shotboard("sql", SQL, "-o", path, "--home", filled.home)
    assert (answer.code, answer.out) == (0, "")
    read = {
        "csv": lambda: list(csv.DictReader(io.StringIO(path.read_text()))),
        "json": lambda: json.loads(path.read_text()),
        "parquet": lambda: pq.read_table(path).to_pylist(),
    }[suffix]
    assert [row["method"] for row in read()] == ["zero-shot", "tip-adapter"]


def test_sql_as_parquet_needs_a_file(shotboard, filled):
    answer = shotboard("sql", SQL, "--format", "parquet", "--home", filled.home)
    assert answer.code == 2
    assert answer.sentence == "--format parquet needs a file: add -o FILE."


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM trials", "DELETE is refused: the board is read only"),
        ("SELECT * FROM leaderbord", "leaderbord does not exist"),
        ("SELEC 1", "syntax error"),
        ("", "the SQL is empty"),
    ],
)
def test_sql_that_is_wrong_or_writes_is_one_sentence(shotboard, filled, sql, said):
    answer = shotboard("sql", sql, "--home", filled.home)
    assert answer.code == 2
    assert said in answer.err.splitlines()[0]


def test_a_failed_trial_is_on_the_board_as_failed(shotboard, filled):
    sql = "SELECT method, error FROM trials WHERE status = 'failed'"
    (row,) = shotboard("sql", sql, "--json", "--home", filled.home).json
    assert row["method"] == "tip-adapter-f"
    assert "try a smaller lr" in row["error"]


def test_a_trial_is_shown_by_the_start_of_its_id(shotboard, filled):
    trial = min(filled.done())
    shown = shotboard("show", trial, "--json", "--home", filled.home).json
    assert shown["trial_id"] == trial
    assert any(path.endswith("trial.json") for path in shown["files"])
    text = shotboard("show", trial[:6], "--home", filled.home)
    assert text.code == 0
    assert trial in text.out
    assert "predictions.parquet" in text.out
    lines = [line.split(maxsplit=1) for line in text.out.splitlines()]
    assert ["numpy_version", np.__version__] in [[*map(str.strip, line)] for line in lines]
    (templates,) = [line[1] for line in lines if line[:1] == ["templates"]]
    assert shown["provenance"]["templates"][0] in templates


def test_a_trial_says_how_many_operations_it_saved(shotboard, filled):
    trials = [json.loads((filled.trial(i) / "trial.json").read_text()) for i in filled.done()]
    values = next(each for each in trials if each["spec"]["method"] == "tip-adapter")
    trial, cost = values["trial_id"], values["cost"]
    assert 0 < cost["tune_flops"] < cost["plain_tune_flops"]
    times = f"{cost['plain_tune_flops'] / cost['tune_flops']:.4f}".rstrip("0").rstrip(".")
    text = shotboard("show", trial, "--home", filled.home).out
    assert [times] == [line.split()[1] for line in text.splitlines() if "times_fewer" in line]


def test_a_trial_that_counted_no_operations_is_shown_without(shotboard, filled, tmp_path):
    older = shutil.copytree(filled.home, tmp_path / "store")
    trial = min(filled.done())
    path = older / "trials" / trial / "trial.json"
    values = json.loads(path.read_text())
    del values["cost"]["tune_flops"], values["cost"]["plain_tune_flops"]
    path.write_text(json.dumps(values))
    answer = shotboard("show", trial, "--home", older)
    assert answer.code == 0
    assert "tune_seconds" in answer.out
    assert "times_fewer" not in answer.out


def test_a_trial_that_is_not_there_is_one_sentence(shotboard, filled):
    answer = shotboard("show", "xyz", "--home", filled.home)
    assert answer.code == 2
    assert answer.sentence.startswith("no trial 'xyz' in ")


def test_the_start_of_several_trials_asks_for_more(shotboard, filled):
    answer = shotboard("show", "", "--home", filled.home)
    assert answer.code == 2
    assert answer.sentence == "4 trials begin with ''; give more digits of the id."


def test_a_trial_that_failed_is_shown_with_its_error(shotboard, filled):
    (failure,) = filled.failures.glob("*.json")
    for start in (failure.stem, failure.stem[:6]):
        answer = shotboard("show", start, "--home", filled.home)
        assert answer.code == 2
        assert answer.sentence.startswith(f"trial {failure.stem} failed: ")


def test_doctor_names_every_check(shotboard, filled):
    checks = shotboard("doctor", "--json", "--home", filled.home).json
    assert {"python", "store", "trials", "board"} <= {check["name"] for check in checks}
    assert "status" in shotboard("doctor", "--home", filled.home).out


def test_a_full_disk_is_a_sentence_with_a_way_out(capsys):
    with pytest.raises(typer.Exit) as ended, one_sentence():
        raise OSError(28, "No space left on device", "/there/board")
    assert ended.value.exit_code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "/there/board" in said
    assert "make room, or give --home or SHOTBOARD_HOME another disk." in said


def test_listings_say_of_which_track_a_method_is_and_of_which_kind_a_backbone(shotboard):
    tracks = {row["method"]: row["track"] for row in shotboard("methods", "--json").json}
    assert (tracks["coop"], tracks["dept"]) == ("image-classification", "text-classification")
    kinds = {row["backbone"]: row["kind"] for row in shotboard("backbones", "--json").json}
    assert (kinds["minilm"], kinds["mini-clip"]) == (LanguageModel.title, DualEncoder.title)
    assert "text-classification" in shotboard("methods").out
    assert "language model" in shotboard("backbones").out


def test_what_is_known_and_not_here_is_listed_shown_and_asked_for(shotboard, refused, tmp_path):
    home = ["--home", tmp_path / "mine"]
    listed = {row["name"]: row for row in shotboard("datasets", "list", "--json", *home).json}
    assert listed["oxford_pets"]["card"]["registered"] is False
    said = " ".join(shotboard("datasets", "show", "oxford_pets", *home).out.split())
    assert "prompts, coop a photo of a {}, a type of pet." in said
    assert "rows, official train 3,680, test 3,669" in said
    assert "by_hand Fetch https://www.robots.ox.ac.uk" in said
    assert "oxford_pets is known and not registered here" in refused(
        "run", "--datasets", "oxford_pets"
    )


def test_a_dataset_of_test_rows_alone_is_offered_as_a_target(shotboard, tmp_path):
    for name, shade in {"cat": 0, "dog": 90}.items():
        (tmp_path / "data" / "test" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / "data" / "test" / name / "0.png")
    home = ["--home", tmp_path / "store"]
    said = shotboard("datasets", "add", "variant", "--path", tmp_path / "data", *home).out
    assert "next: shotboard run --protocols cross_dataset --datasets A --targets variant" in said


def test_a_published_dataset_takes_its_facts_from_what_is_known(shotboard, refused, tmp_path):
    home = ["--home", tmp_path / "mine"]
    data = tmp_path / "pets"
    rows = {split: [[f"{n}.jpg", n, f"c{n}"] for n in (0, 1)] for split in ("train", "val", "test")}
    (data / "images").mkdir(parents=True)
    for n in (0, 1):
        Image.new("RGB", (8, 8), (n, 0, 0)).save(data / "images" / f"{n}.jpg")
    (data / "split_zhou_OxfordPets.json").write_text(json.dumps(rows))
    add = ["datasets", "add", "mine", "--published", "oxford_pets", "--path", data]
    said = shotboard(*add, "--template-set", "clip-lora", *home).out
    assert "is not the published file" in " ".join(said.split())
    shown = shotboard("datasets", "show", "mine", "--json", *home).json
    assert shown["template"] == "a photo of a {}."
    assert shown["license"] == "CC BY-SA 4.0"
    assert "--layout says nothing of oxford_pets" in refused(*add, "--layout", "class")
    assert "no published dataset is called 'oxfordpets'. Did you mean oxford_pets?" in refused(
        "datasets", "add", "mine", "--published", "oxfordpets", "--path", data
    )
