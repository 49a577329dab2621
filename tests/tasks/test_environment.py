from tasks.environment import for_workers, set_defaults, set_local_ray


def test_telemetry_is_off_by_default():
    environ = {}
    set_defaults(environ)
    assert environ["DO_NOT_TRACK"] == "1"
    assert environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environ["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_a_choice_of_the_user_wins():
    environ = {"DO_NOT_TRACK": "0"}
    set_defaults(environ)
    assert environ["DO_NOT_TRACK"] == "0"


def test_the_hub_stays_reachable():
    environ = {}
    set_defaults(environ)
    assert "HF_HUB_OFFLINE" not in environ


def test_only_a_local_ray_is_kept_off_the_network():
    environ = {}
    set_defaults(environ)
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in environ
    set_local_ray(environ)
    assert environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_a_worker_gets_one_thread_unless_the_user_says_more():
    assert for_workers({})["OMP_NUM_THREADS"] == "1"
    assert for_workers({"OMP_NUM_THREADS": "4"})["OMP_NUM_THREADS"] == "4"
