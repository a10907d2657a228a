"""The workflows that users copy: valid, frugal with rights, and made of things that exist."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stillwired.cli import _parser
from stillwired.options import OPTIONS
from stillwired.records.record import read_record
from tests.test_shard_runs import FAILING, HOLDING, shards, suite  # noqa: F401

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "ci" / "github"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
BIN = Path(sys.executable).parent


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def workflow(path):
    return yaml.safe_load(path.read_text())


def steps_of(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def script_of(path, name):
    """Return the script of a step and the variables that it is given."""
    (step,) = [s for s in steps_of(yaml.safe_load(path.read_text())) if s.get("name") == name]
    return step["run"], step.get("env", {})


def test_they_are_workflows(path):
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_actionlint_finds_nothing(path):
    command = ["actionlint", "-config-file", FOLDER / "actionlint.yaml", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_they_can_do_no_more_than_they_need(path, workflow):
    text = path.read_text()
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    assert "pull_request_target" not in text
    secrets = set(re.findall(r"secrets\.(\w+)", text))
    assert secrets <= {"HF_TOKEN"}
    for step in steps_of(workflow):
        # What a pull request names must not become a part of a script.
        assert "${{" not in step.get("run", "")
        if "HF_TOKEN" in step.get("env", {}):
            assert "pytest" not in step["run"]
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


def test_they_are_bounded(workflow):
    assert workflow["concurrency"]["group"]
    assert all(job["timeout-minutes"] <= 720 for job in workflow["jobs"].values())


def test_actions_are_github_s_own_by_major_version(workflow):
    used = [step["uses"] for step in steps_of(workflow) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z/-]+@v\d+", action), action


def test_runners_of_ones_own_do_not_run_strangers_code(workflow):
    jobs = workflow["jobs"]
    own = [name for name, job in jobs.items() if "self-hosted" in job["runs-on"]]
    for name in own:
        (first,) = [jobs[name]["needs"]]
        assert "head.repo.full_name == github.repository" in jobs[first]["if"]


def parsers():
    """The command's own parsers, by command."""
    (found,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return found.choices


def test_every_command_and_option_exists(workflow):
    commands, seen = parsers(), set()
    claims = {option.flag for option in OPTIONS} | {"--junitxml"}
    for step in steps_of(workflow):
        script = step.get("run", "")
        words = shlex.split(script.replace("(", " ").replace(")", " "), comments=True)
        known = set()
        for before, word in zip(["", *words], words, strict=False):
            if Path(before).name == "stillwired":
                assert word in commands, word
                known |= {o for a in commands[word]._actions for o in a.option_strings}
                seen.add(word)
        if "pytest" in words:
            known |= claims
            seen.add("pytest")
        if known:
            options = {word for word in words if word.startswith("--")}
            assert options
            assert options <= known, options - known
    assert {"fetch", "pytest"} <= seen


def test_files_that_they_name_are_there(path, workflow):
    named = set(re.findall(r"\b(?:ci|docs|tests)/[\w./-]+\w", path.read_text()))
    assert named
    for name in named:
        assert (ROOT / name).exists(), name
    hashed = re.findall(r"hashFiles\(([^)]*)\)", path.read_text())
    for name in {name for one in hashed for name in re.findall(r"'([^']+)'", one)}:
        assert (ROOT / name).exists() or name.startswith("out/"), name


# --- scripts, as they stand -------------------------------------------------------------------


def bash(script, folder, **variables):
    """Run a script as a runner does."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **variables}
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def planned(folder, models, shards="2"):
    (folder / "ci").mkdir(exist_ok=True)
    (folder / "ci" / "models.json").write_text(json.dumps(models))
    script, _ = script_of(FOLDER / "gpu.yml", "Read ci/models.json")
    done = bash(script, folder, SHARDS=shards, GITHUB_OUTPUT=str(folder / "output"))
    if done.returncode:
        return done.stderr
    lines = (folder / "output").read_text().splitlines()
    return {name: json.loads(value) for name, _, value in (line.partition("=") for line in lines)}


def test_the_plan_is_models_by_shards(tmp_path):
    models = json.loads((ROOT / "ci" / "models.json").read_text())
    assert planned(tmp_path, models, "3") == {"models": models, "shards": [1, 2, 3], "of": 3}
    for model in models:
        assert all((ROOT / model[key]).is_file() for key in model if key not in ("name", "spec"))


@pytest.mark.parametrize(
    "models",
    [
        [],
        [{"name": "a", "spec": "x"}, {"name": "a", "spec": "y"}],
        [{"name": "a/b", "spec": "x"}],
        [{"name": "a__b", "spec": "x"}],
        [{"name": "a", "spec": "x", "expected": "e.json", "baseline": "b.json"}],
    ],
)
def test_models_that_cannot_be_meant_stop_the_plan(models, tmp_path):
    assert "AssertionError" in planned(tmp_path, models)


def test_the_merge_job_gates_and_shows(suite, pytester, monkeypatch):  # noqa: F811
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    folder = pytester.path
    parts = shards(suite, HOLDING | FAILING, 2)
    assert [part.ret for part in parts] == [0, 0]
    (folder / "shards").mkdir()
    for file in folder.glob("shard?.*"):
        file.rename(folder / "shards" / file.name.replace("shard", "shard-", 1))
    merge, given = script_of(FOLDER / "gpu.yml", "Merge the shards, and gate")
    assert set(given) == {"BASELINE", "EXPECTED"}
    summary = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    nothing = {"BASELINE": "", "EXPECTED": ""}
    done = bash(merge, folder, **nothing, **summary)
    assert done.returncode == 1, done.stderr
    assert "a-paper/failing[ahead=1] FAILS" in done.stdout
    assert "the gate fails" in (folder / "summary.md").read_text()
    # What failed before does not fail an upgrade.
    baseline = ["baseline", "accept", "out/record.json", "--out", "base.json", "--note", "first"]
    accepted = subprocess.run([BIN / "stillwired", *baseline], cwd=folder, check=False)
    assert accepted.returncode == 0
    done = bash(merge, folder, BASELINE="base.json", EXPECTED="", **summary)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shard" not in read_record(folder / "out" / "record.json").data
    show, _ = script_of(FOLDER / "gpu.yml", "Write the page")
    done = bash(show, folder, BASELINE="base.json", EXPECTED="", **summary)
    assert done.returncode == 0, done.stderr
    assert "KEPT" in (folder / "out" / "report.html").read_text()
