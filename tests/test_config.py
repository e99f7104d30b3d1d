"""Settings from TOML."""

import subprocess
import sys
from pathlib import Path

import pytest

from raypipe.config import Config, Slurm, config_toml, load_config, parse_bytes
from raypipe.errors import UsageError
from raypipe.stages import BY_NAME, choose_stages


def test_the_printed_settings_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "raypipe.toml"
    path.write_text(config_toml())
    assert load_config(path) == Config() == load_config(None)


def test_lists_and_texts_with_commas_are_printed_as_they_are(tmp_path: Path) -> None:
    jobs = Slurm(setup=("export A=1,2,3", 'echo "a, b"'), extra_directives=("--exclude=node1,node2",))
    path = tmp_path / "raypipe.toml"
    path.write_text(config_toml(Config(slurm=jobs)))
    assert load_config(path).slurm == jobs


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[rpllfp]\nResampleRat = 500", "ResampleRat"),
        ("[rplfp]\nResampleRate = 500", "rplfp"),
        ("[rpllfp]\nResampleRate = 0", "ResampleRate"),
        ("[rpllfp]\nResampleRate = '500'", "ResampleRate"),
        ("[rpllfp]\nLowPassFrequency = [1]", "LowPassFrequency"),
        ("[run]\nprogress = 'loud'", "progress"),
        ("[mountain_batch]\ndetect_threshold = 0", "detect_threshold"),
        ("[mountain_batch]\ndetect_threshold = nan", "detect_threshold"),
        ("[mountain_batch]\nmax_events_hz = inf", "max_events_hz"),
        ("[mountain_batch]\nmask_chunk_size = 10_000_000", "mask_chunk_size"),
        ("[mountain_batch]\nadjacency_radius = 100", "adjacency_radius"),
        ("[mountain_batch]\nsorter = 'kilosort'", "sorter"),
        ("[run", "TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, text: str, names: str) -> None:
    path = tmp_path / "raypipe.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load_config(path)
    assert names in error.value.message
    assert str(path) in error.value.message


@pytest.mark.parametrize(
    ("text", "key", "kind"),
    [
        (
            "[notify]\nchannels = ['https://hooks.slack.com/services/T0/B0/hunter22']",
            "notify.channels",
            "a URL that is",
        ),
        ("[slurm]\nsetup = ['cd', 'export AWS_SECRET_ACCESS_KEY=hunter22']", "slurm.setup", "a password, key or token"),
        ("[cluster]\nkey = '-----BEGIN RSA PRIVATE KEY----- hunter22'", "cluster.key", "a private key"),
        ("[run]\nprogress = 'password=hunter22'", "run.progress", "a password, key or token"),
        ("unknown = 'password=hunter22'", "unknown", "a password, key or token"),
    ],
)
def test_a_secret_is_refused_and_not_repeated(tmp_path: Path, text: str, key: str, kind: str) -> None:
    path = tmp_path / "raypipe.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load_config(path)
    assert f"{path}: {key} seems to hold {kind}" in error.value.message
    assert "ssm:/name or file:/path" in error.value.hint
    assert "hunter22" not in str(error.value)


def test_settings_are_read_as_utf8_whatever_the_locale(tmp_path: Path) -> None:
    path = tmp_path / "raypipe.toml"
    path.write_text("# für die µV\n[rpllfp]\nResampleRate = 500\n", encoding="utf-8")
    program = "import sys; from pathlib import Path; from raypipe.config import load_config;"
    program += "print(load_config(Path(sys.argv[1])).rpllfp.ResampleRate)"
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, env=environment)
    assert run.stdout == "500\n", run.stderr


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no configuration file"):
        load_config(tmp_path / "none.toml")


def test_arguments_are_spelled_as_pyhipp_hashes_them(tmp_path: Path) -> None:
    path = tmp_path / "raypipe.toml"
    path.write_text("[rpllfp]\nLowPassFrequency = [1.0, 150.5]\n")
    arguments = BY_NAME["rpllfp"].arguments(load_config(path))
    assert repr(arguments) == "{'ResampleRate': 1000, 'LFPOrder': 8, 'LowPassFrequency': [1, 150.5]}"


@pytest.mark.parametrize(
    ("text", "size"), [("6GB", 6 << 30), ("1.5g", 3 << 29), ("500 MiB", 500 << 20), ("1024", 1024)]
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "lots", "0", "inf", "nan"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(UsageError, match="not an amount of memory"):
        parse_bytes(text)


def test_stages_are_chosen_by_name() -> None:
    assert [stage.name for stage in choose_stages()] == list(BY_NAME)
    assert [stage.name for stage in choose_stages(("rpllfp", "rplsplit"), ("rplsplit",))] == ["rpllfp"]
    with pytest.raises(UsageError) as error:
        choose_stages(("rplfp",))
    assert "rpllfp" in error.value.hint
    with pytest.raises(UsageError, match="no stage is left"):
        choose_stages(("rpllfp",), ("rpllfp",))
