"""Whom to trust is told without room for mistakes."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from idds.domain.addresses import is_safe
from idds.identity.options import IssuerOptions, OpenSamples, ProxyOptions

ISSUER: dict[str, Any] = {"url": "https://iam.example.org", "audiences": {"idds"}, "vo": "atlas"}


@pytest.mark.parametrize(
    "url",
    [
        "https://iam.example.org",
        "https://iam.example.org:8443/atlas/",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://127.8.9.1:1",
        "http://[::1]:8080",
    ],
)
def test_https_is_safe_and_this_machine(url: str) -> None:
    assert is_safe(url)
    assert IssuerOptions(**ISSUER | {"url": url}).url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://iam.example.org",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@iam.example.org",
        "https://iam.example.org:0",
        "https://iam.example.org:99999",
        "https://iam.example.org/#x",
        "https://[::1",
        "iam.example.org",
        "",
    ],
)
def test_all_else_is_not(url: str) -> None:
    assert not is_safe(url)
    with pytest.raises(ValidationError) as refused:
        IssuerOptions(**ISSUER | {"url": url})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"audiences": []},
        {"vo": ""},
        {"url": "https://iam.example.org?x=1"},
        {"keys_refresh_s": 100, "keys_kept_s": 90},
        {"leeway_s": 3600},
        {"secret": "x"},
        {"grants": [{"role": "user"}]},
        {"grants": [{"role": "user", "group": "/a", "scope": "b"}]},
        {"grants": [{"role": "king", "group": "/a"}]},
        {"grants": [{"role": "user", "group": "/a", "shares": []}]},
    ],
)
def test_an_issuer_that_would_be_trusted_too_far_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IssuerOptions(**ISSUER | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"networks": ["10.0.0.1"]},
        {"names": "names.toml"},
        {"networks": ["10.0.0.1/8"], "names": "names.toml"},
        {"networks": ["example.org"], "names": "names.toml"},
        {"networks": ["10.0.0.1"], "names": "names.toml", "header": "X: y"},
    ],
)
def test_a_proxy_is_told_of_in_full_or_not_at_all(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProxyOptions(**wrong)
    assert ProxyOptions().ranges == ()
    assert len(ProxyOptions(networks=("10.0.0.0/8", "::1"), names=Path("names.toml")).ranges) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"networks": ["10.0.0.1"]},
        {"vo": "atlas"},
        {"networks": ["10.0.0.1/8"], "vo": "atlas"},
        {"networks": ["10.0.0.1"], "vo": ""},
        {"networks": ["10.0.0.1"], "vo": "atlas", "role": "operator"},
    ],
)
def test_samples_are_open_to_networks_and_of_a_vo_or_not_at_all(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OpenSamples(**wrong)
    assert OpenSamples(networks=(), vo=None).vo_of("10.0.0.1") is None
    some = OpenSamples(networks=("10.0.0.0/8", "2001:db8::/32"), vo="atlas")
    assert [some.vo_of(peer) for peer in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1")] == ["atlas"] * 3
    assert [some.vo_of(peer) for peer in ("11.1.2.3", "::1", "", "unix", "10.1.2.3.4")] == [None] * 5
