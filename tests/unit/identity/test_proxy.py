"""A proxy that checks certificates: believed only where the settings say so."""

from pathlib import Path

import pytest

from idds.domain.access import Grant, Proof
from idds.domain.errors import InvalidInput, Unauthenticated
from idds.domain.request import Principal, Role
from idds.identity.options import ProxyOptions
from idds.identity.proxy import CertificateProxy

ROBOT = "/DC=org/DC=example/CN=Robot: production"
NAMES = f"""
["{ROBOT}"]
owner = "robot"
vo = "atlas"
role = "wfms"
shares = ["physics"]

["CN=Somebody,DC=example,DC=org"]
owner = "somebody"
vo = "atlas"
"""


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.toml"
    path.write_text(NAMES)
    return path


def proxy_at(names: Path, *networks: str) -> CertificateProxy:
    return CertificateProxy(ProxyOptions(networks=networks, names=names))


def test_a_trusted_proxy_is_believed(names: Path) -> None:
    proxy = proxy_at(names, "10.0.0.0/28", "2001:db8::7")
    robot = Grant(Principal("robot", "atlas", Role.WFMS, frozenset({"physics"})), by=Proof.PROXY)
    for peer in ("10.0.0.1", "10.0.0.15", "2001:db8::7", "::ffff:10.0.0.3"):
        assert proxy.identify(peer, [ROBOT]) == robot
    somebody = Grant(Principal("somebody", "atlas", Role.USER), by=Proof.PROXY)
    assert proxy.identify("10.0.0.1", ["CN=Somebody,DC=example,DC=org"]) == somebody


@pytest.mark.parametrize(
    "peer", ["10.0.0.16", "127.0.0.1", "2001:db8::8", "", "unix", "10.0.0.1:80", "10.0.0.1, 10.0.0.2"]
)
def test_nobody_else_is(names: Path, peer: str) -> None:
    assert proxy_at(names, "10.0.0.0/28", "2001:db8::7").identify(peer, [ROBOT]) is None


@pytest.mark.parametrize(
    "told", [["unknown"], [""], [ROBOT, ROBOT], [ROBOT, "unknown"], [f"{ROBOT} "], [ROBOT.lower()], []]
)
def test_a_name_counts_as_it_stands_and_alone(names: Path, told: list[str]) -> None:
    with pytest.raises(Unauthenticated) as refused:
        proxy_at(names, "10.0.0.0/28").identify("10.0.0.1", told)
    assert "Robot" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["a"]\nowner = "a"', "a.vo: Field required"),
        ('["a"]\nowner = "a"\nvo = "b"\nrole = "king"', "a.role: Input should be"),
        ('["a"]\nowner = ""\nvo = "b"', "a.owner: "),
        ('["a"]\nowner = "a"\nvo = "b"\nshares = []', "a.shares: "),
        ('["a"]\nowner = "a"\nvo = "b"\nadmin = true', "a.admin: "),
        ("= 7", "cannot be read"),
    ],
)
def test_what_is_wrong_with_the_names_is_told(names: Path, text: str, said: str) -> None:
    names.write_text(text)
    with pytest.raises(InvalidInput) as refused:
        proxy_at(names, "10.0.0.0/28")
    assert [problem.pointer for problem in refused.value.problems] == ["/access/proxy/names"]
    assert said in str(refused.value)


def test_without_its_file_there_is_no_proxy(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        proxy_at(tmp_path / "nothing", "10.0.0.0/28")
