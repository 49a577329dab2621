"""What workers write, as lines in the log of a run."""

from types import SimpleNamespace

import pytest

from tasks.computing import compute, deaths
from tasks.computing.compute import ProgressArtifact
from tasks.computing.traces import MARK, mark, show
from tasks.computing.worker_logs import BURST, BURST_SECONDS, PIECE, WorkerLogs
from tasks.progress import Stage


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said():
    return []


@pytest.fixture
def logs(tmp_path, said, clock):
    return WorkerLogs(tmp_path, said.append, "01", clock)


def write(folder, text, name="worker-1-01-7.err"):
    with (folder / name).open("a") as file:
        file.write(text)


def test_a_line_is_told_with_the_trial_that_it_is_of(tmp_path, logs, said):
    write(
        tmp_path, f"loading\n{MARK}ab12\nUserWarning: odd\n{MARK}cd34 and 2 more\nValueError: x\n"
    )
    write(tmp_path, f"{MARK}ef56\nprinted\n", "worker-2-01-8.out")
    logs.look()
    assert said == [
        "trial ef56: printed",
        "a worker: loading",
        "trial ab12: UserWarning: odd",
        "trial cd34 and 2 more: ValueError: x",
    ]


def test_a_line_is_told_once_and_when_it_is_whole(tmp_path, logs, said):
    write(tmp_path, f"{MARK}ab12\nfirst\nsec")
    logs.look()
    logs.look()
    assert said == ["trial ab12: first"]
    write(tmp_path, "ond\n")
    logs.look()
    assert said[1:] == ["trial ab12: second"]


def test_the_last_words_of_a_worker_that_crashed_are_told_too(tmp_path, logs, said):
    write(tmp_path, "Fatal Python error: Segm")
    logs.look(last=True)
    assert said == ["a worker: Fatal Python error: Segm"]


def test_what_ray_itself_writes_is_left_out(tmp_path, logs, said):
    write(tmp_path, ":job_id:01\n:actor_name:TrialWorker\n\n[2026-01-01 00:00:00,1 I 7 7] up\n")
    logs.look()
    assert said == []


def test_workers_of_another_job_on_the_same_ray_are_left_out(tmp_path, logs, said):
    write(tmp_path, ":job_id:02\ntheirs\n")
    write(tmp_path, ":job_id:01\nours\n", "worker-2-01-8.err")
    logs.look()
    write(tmp_path, "theirs, later\n")
    logs.look(last=True)
    assert said == ["a worker: ours"]


def test_of_what_another_job_has_written_no_more_is_read_than_whose_it_is(tmp_path, logs):
    days = tmp_path / "worker-1-01-7.err"
    days.write_text(":job_id:02\n" + "theirs\n" * PIECE)
    for _ in range(2):
        logs.look()
    assert logs._files[days].position == PIECE < days.stat().st_size


def test_a_long_file_is_told_whole_and_a_line_of_two_pieces_once(tmp_path, logs, said):
    write(
        tmp_path, ":job_id:01\n" + "x" * (PIECE - 15) + "\nacross\n" + "y" * 3 * PIECE + "\nend\n"
    )
    logs.look()
    assert [line.removeprefix("a worker: ")[:6] for line in said] == [
        *("xxxxxx", "across"),
        *("yyyyyy", "end"),
    ]


def test_a_worker_that_writes_much_is_held_back_and_the_rest_is_counted(
    tmp_path, logs, said, clock
):
    write(tmp_path, "".join(f"line {n}\n" for n in range(BURST + 5)))
    logs.look()
    assert len(said) == BURST
    clock.now = BURST_SECONDS + 1
    write(tmp_path, "later\n")
    logs.look()
    assert said[BURST:] == [f"5 more lines of workers are in {tmp_path}", "a worker: later"]


def test_a_password_and_what_a_terminal_obeys_are_not_passed_on(tmp_path, logs, said):
    write(tmp_path, "GET https://anna:s3cret@host/x \x1b[2J\n")
    logs.look()
    assert "s3cret" not in said[0]
    assert "\x1b" not in said[0]


def test_a_worker_marks_both_of_its_streams(capsys):
    mark(["ab12", "cd34"])
    written = capsys.readouterr()
    assert written.out == written.err == f"{MARK}ab12 and 1 more\n"


@pytest.fixture
def sent(monkeypatch):
    """What would go to the server, which is none here."""
    sent = []
    monkeypatch.setattr(compute, "create_progress_artifact", lambda *_, **__: "an id")
    monkeypatch.setattr(
        compute, "update_progress_artifact", lambda _, progress, description: sent.append(progress)
    )
    return sent


@pytest.mark.parametrize(
    ("done", "failed", "seconds", "text"),
    [
        (0, 0, 5.0, "0 of 185 trials done"),
        (37, 2, 60.0, "37 of 185 trials done, 2 failed, about 4 min left"),
        (100, 0, 100.0, "100 of 185 trials done, about 85 s left"),
        (1, 0, 60.0, "1 of 185 trials done, about 3.1 h left"),
        (185, 3, 900.0, "185 of 185 trials done, 3 failed"),
    ],
)
def test_progress_says_what_is_done_what_failed_and_what_is_left(sent, done, failed, seconds, text):
    assert ProgressArtifact("progress", 185, "trials").said(done, failed, seconds) == text


def test_progress_is_sent_at_most_every_few_seconds_and_at_the_end(sent, clock, monkeypatch):
    monkeypatch.setattr(compute.time, "monotonic", clock)
    bar = ProgressArtifact("progress", 4, "trials")
    for at, done in ((1.0, 1), (3.5, 2), (4.0, 3), (4.1, 4)):
        clock.now = at
        bar.show(done)
    assert sent == [50.0, 100.0]


def test_a_server_that_does_not_answer_progress_is_asked_once_and_waited_for_by_nobody(
    sent, clock, monkeypatch
):
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES

    asked = []

    def gone(*_, **__):
        asked.append(PREFECT_CLIENT_MAX_RETRIES.value())
        raise ConnectionError("nobody listens")

    monkeypatch.setattr(compute.time, "monotonic", clock)
    monkeypatch.setattr(compute, "update_progress_artifact", gone)
    bar = ProgressArtifact("progress", 4, "trials")
    for at in (10.0, 20.0, 30.0):
        clock.now = at
        bar.show(1)
    assert asked == [0]


def test_a_stage_tells_who_watches_it_how_many_failed():
    from tasks.progress import reporter

    seen = []
    stage = Stage("trials", 4, reporter())
    stage.watch = lambda this: seen.append((this.done, this.failed))
    stage.step(2)
    stage.step(1, failed=1)
    assert seen == [(2, 0), (3, 1)]


def test_lines_of_another_host_are_told_with_it_and_with_their_trial(logs, said):
    def sent(*lines, pid: object = 7, is_err=True):
        return {"ip": "10.0.0.3", "pid": pid, "is_err": is_err, "lines": list(lines)}

    logs.hear(sent("loading", f"{MARK}ab12", "UserWarning: odd"))
    logs.hear(sent("printed", pid=8))
    logs.hear(sent("more"))
    logs.hear(sent("a new node is needed", pid="autoscaler"))
    assert said == [
        "a worker on 10.0.0.3: loading",
        "trial ab12 on 10.0.0.3: UserWarning: odd",
        "a worker on 10.0.0.3: printed",
        "trial ab12 on 10.0.0.3: more",
    ]


def test_the_last_words_of_a_worker_are_of_the_trial_that_it_died_with(tmp_path, monkeypatch):
    node = SimpleNamespace(get_logs_dir_path=lambda: tmp_path)
    monkeypatch.setattr(deaths, "this_node", lambda: node)
    log = tmp_path / "worker-0123-7.err"
    before = f":job_id:01\n:actor_name:TrialWorker\n{MARK}one\nValueError: the oven is cold\n"
    log.write_text(f"{before}{MARK}two\nabout to die\n")
    assert deaths.last_words(7) == ["about to die"]
    log.write_text(f"{before}{MARK}two\n")
    assert deaths.last_words(7) == []
    log.write_text(":job_id:01\nno room\n")  # before any trial
    assert deaths.last_words(7) == ["no room"]


def test_where_an_error_comes_from_is_written_without_its_secrets(capsys):
    try:
        raise OSError("https://anna:s3cr3t@example.org/w.pt?sig=s3cr3t answers 403")
    except OSError as error:
        show(error)
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.endswith("OSError: https://anna:***@example.org/w.pt?sig=*** answers 403\n")
