"""Whatever is wrong with a kubeconfig is told in a line, by every command that takes one."""

from pathlib import Path

import pytest
from kubernetes.aio.config import ConfigException

from rollback_operator.__main__ import main
from rollback_operator.adapters.kube.login import log_in
from rollback_operator.cli.plugin.connection import USAGE, Login, Stop, connect

WHOLE = """\
apiVersion: v1
kind: Config
clusters: [{name: here, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: me, user: {}}]
contexts: [{name: it, context: {cluster: here, user: me, namespace: shop}}]
current-context: it
"""
BAD = {
    "no YAML": (b"a: [", "ParserError"),
    "no text": (b"\xff\xfe\x00", "UnicodeDecodeError"),
    "empty": (b"", "is no usable kubeconfig"),
    "a list": (b"[]", "is no usable kubeconfig"),
    "no current context": (b"{}", "current-context"),
    "a server that is a number": (WHOLE.replace('"https://127.0.0.1:1"', "5").encode(), "usable"),
    "no users": (WHOLE.replace("[{name: me, user: {}}]", "[]").encode(), "usable"),
    "a certificate that is none": (
        WHOLE.replace("user: {}", "user: {client-certificate-data: aGkK, client-key-data: aGkK}")
        .encode(),
        "SSL",
    ),
    "a certificate that is no base64": (
        WHOLE.replace("user: {}", "user: {client-certificate-data: a, client-key-data: a}")
        .encode(),
        "base64",
    ),
    "a token's file that is missing": (
        WHOLE.replace("user: {}", "user: {tokenFile: /nowhere/token}").encode(),
        "/nowhere/token: No such file",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "told"), BAD.values(), ids=BAD)
async def test_a_bad_kubeconfig_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)

    with pytest.raises(ConfigException, match=told):
        await log_in(str(file))
    with pytest.raises(Stop, match=told) as stop:
        async with connect(Login(kubeconfig=str(file))):
            pass
    assert stop.value.status == USAGE


@pytest.mark.parametrize("content", [one for one, _ in BAD.values()], ids=BAD)
@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["release"],
        ["backtest", "--from-cluster", "--namespace", "shop", "--deployment", "shop"],
    ],
    ids=lambda command: command[0],
)
def test_commands_end_with_a_line_of_it(
    command: list[str], content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)

    assert main([*command, "--kubeconfig", str(file)]) == 2
    assert capsys.readouterr().err.startswith("rollback-operator: --kubeconfig: ")


@pytest.mark.parametrize("name", ["", "missing"], ids=["a directory", "nothing"])
async def test_a_file_that_cannot_be_read_is_named(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / name)

    with pytest.raises(ConfigException, match=path):
        await log_in(path)
    assert not caplog.records


async def test_a_context_s_namespace_is_meant_where_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(WHOLE)

    async with connect(Login(kubeconfig=str(file))) as found:
        assert found.namespace == "shop"
    async with connect(Login(kubeconfig=str(file), namespace="other")) as found:
        assert found.namespace == "other"


async def test_without_a_kubeconfig_and_outside_a_pod_one_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(ConfigException, match="no pod of a cluster"):
        await log_in(None)
