"""The configuration: what is given is used, what is wrong is named."""

from pathlib import Path

import pytest

from beemesh_node.daemon.config import ConfigError, DaemonConfig, load_config


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "beemeshd.yaml"
    path.write_text("max_pods: 5\nlog: {level: warning}\nstate: /a\n")
    config = load_config(path, {"BEEMESHD_STATE": "/b", "BEEMESHD_LOG__FORMAT": "json"}, {"state": "/c"})
    assert (config.state, config.max_pods, config.log.level, config.log.format) == ("/c", 5, "warning", "json")
    assert config.runtime_socket == DaemonConfig().runtime_socket


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("max_pods: many", "max_pods"),
        ("max_pods: 0", "max_pods"),
        ("max_podz: 3", "max_podz"),
        ("log: {level: loud}", "log.level"),
        ("- a list", "keys and values"),
        ("{", "not YAML"),
        ("taints: [{key: a, effect: Maybe}]", "taints"),
        ("metrics: 9460", "metrics"),
        ("metrics: '9460'", "127.0.0.1:9460"),
        ("metrics: localhost:9460", "127.0.0.1:9460"),
        ("metrics: 0.0.0.0:9460", "can be reached by others"),
        ("metrics: '[::]:9460'", "can be reached by others"),
        ("metrics: 192.0.2.1:9460", "can be reached by others"),
        ("metrics: 127.0.0.1:0", "no port"),
        ("metrics: 127.0.0.1:65536", "no port"),
        ("metrics: '127.0.0.1:'", "no port"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "beemeshd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named) as caught:
        load_config(path, {})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", None),
        ("127.0.0.1:9460", ("127.0.0.1", 9460)),
        ("127.8.0.1:1", ("127.8.0.1", 1)),
        ("[::1]:9460", ("::1", 9460)),
    ],
)
def test_metrics_are_served_to_this_machine_alone(text: str, address: tuple[str, int] | None) -> None:
    assert load_config(None, {"BEEMESHD_METRICS": f"'{text}'"}).metrics_address == address


def test_a_missing_or_huge_or_binary_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load_config(tmp_path / "none.yaml", {})
    (tmp_path / "huge.yaml").write_bytes(b"#" * 1_000_000)
    with pytest.raises(ConfigError, match="larger"):
        load_config(tmp_path / "huge.yaml", {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "binary.yaml", {})


def test_the_example_names_every_key_with_its_default() -> None:
    example = Path(__file__).parents[3] / "examples" / "beemeshd.yaml"
    assert load_config(example, {}) == DaemonConfig()
    text = example.read_text()
    for key in DaemonConfig.__struct_fields__:
        assert f"\n{key}:" in text or f"\n# {key}:" in text, key
