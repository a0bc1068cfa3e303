"""The pytest plugin, run by pytest in a directory of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

SCENARIO = 'title = "t"\n[needs]\nhost = ["docker"]\n[[step]]\nsend = { from = "a@b", to = ["c@d"] }\n'


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    pytester.makeini("[pytest]\npopbox_scenarios = scenarios\npopbox_worlds = local/standin docker/standin\n")
    pytester.mkdir("scenarios")
    return pytester


def test_a_scenario_runs_in_each_world_and_a_missing_world_says_why(project: pytest.Pytester) -> None:
    (project.path / "scenarios/area-behaviour.toml").write_text(SCENARIO.replace('"docker"', '"local", "docker"'))
    done = project.runpytest_subprocess("scenarios")
    done.assert_outcomes(failed=1, skipped=1)
    done.stdout.fnmatch_lines(
        [
            "*FAIL send: refused at RCPT TO:<c@d>: 553*",
            "*popbox: hosts and MTAs*",
            "  exercised  host local, MTA stand-in  (tests: 1)",
            "  skipped    docker/standin: host docker is not available: the engine does not answer*",
        ]
    )


def test_a_need_that_the_world_does_not_meet_is_a_skip(project: pytest.Pytester) -> None:
    (project.path / "scenarios/area-behaviour.toml").write_text(SCENARIO)
    done = project.runpytest_subprocess("-rs", "scenarios")
    done.assert_outcomes(skipped=2)
    done.stdout.fnmatch_lines(["popbox: every scenario was skipped*", "*needs host docker, this is local*"])
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED, "nothing is proved"
    assert project.runpytest_subprocess("scenarios", "--popbox-allow-empty").ret == 0
    project.makepyfile("def test_other(): pass")
    assert project.runpytest_subprocess().ret == 0, "a run of other tests too is theirs to judge"


def test_a_malformed_file_fails_with_its_golden_words(project: pytest.Pytester) -> None:
    (project.path / "scenarios/area-behaviour.toml").write_text("title = 1\n")
    done = project.runpytest_subprocess("scenarios", "-k", "local")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*area-behaviour.toml: line 1: title: Input should be a valid string*"])


def test_an_unknown_world_is_a_usage_error(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\npopbox_scenarios = scenarios\npopbox_worlds = mars/qmail\n")
    (project.path / "scenarios/area-behaviour.toml").write_text(SCENARIO)
    done = project.runpytest_subprocess("scenarios")
    done.stdout.fnmatch_lines(["*popbox_worlds: 'mars/qmail' is no world; write for example local/standin*"])


def test_a_folder_that_cannot_be_used_is_a_usage_error_before_any_test(project: pytest.Pytester) -> None:
    project.makepyfile("def test_other(): pass")
    taken = project.makefile(".txt", taken="")
    result = project.runpytest_subprocess("--popbox-report", str(taken))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --popbox-report */taken.txt: File exists"])
    (project.path / "scenarios").rmdir()
    result = project.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: popbox_scenarios: */scenarios is no directory"])


def test_a_plan_of_setups_brings_no_host_up(project: pytest.Pytester) -> None:
    (project.path / "scenarios/area-behaviour.toml").write_text(SCENARIO.replace('"docker"', '"local"'))
    project.makepyfile("def test_other(mailbox): pass")
    done = project.runpytest_subprocess("--setup-plan", "--popbox-host", "local")
    done.stdout.fnmatch_lines(["*SETUP*F mailbox*"])
    assert not (project.path / "state").exists(), "where each host has its record"


def test_other_toml_files_are_left_alone(project: pytest.Pytester) -> None:
    (project.path / "pyproject.toml").write_text("")
    (project.path / "scenarios/deeper").mkdir()
    (project.path / "scenarios/deeper/x.toml").write_text("title = 1\n")
    assert project.runpytest_subprocess().ret == pytest.ExitCode.NO_TESTS_COLLECTED
