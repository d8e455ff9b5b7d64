"""Rules of a filtered network, and which addresses are public."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from art_core.contracts import Origin
from art_core.errors import UsageError
from art_core.network import destinations
from art_core.network.destinations import is_public, option_for, parse, target

HERE = Origin("--allow-domain")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Example.COM.", ("example.com", False, (80, 443))),
        ("*.example.com", ("example.com", True, (80, 443))),
        ("example.com:22", ("example.com", False, (22,))),
        ("example.com:*", ("example.com", False, (0,))),
        ("*", ("", True, (80, 443))),
        ("*:*", ("", True, (0,))),
        ("10.0.0.5", ("10.0.0.5", False, (80, 443))),
        ("::ffff:10.0.0.5", ("10.0.0.5", False, (80, 443))),
        ("[2600:1::5]:8080", ("2600:1::5", False, (8080,))),
        ("2600:1:0::5", ("2600:1::5", False, (80, 443))),
        ("localhost:8080", ("127.0.0.1", False, (8080,))),
        ("bücher.example", ("xn--bcher-kva.example", False, (80, 443))),
        ("under_score.example", ("under_score.example", False, (80, 443))),
    ],
)
def test_a_rule_is_read(text: str, rule: tuple[str, bool, tuple[int, ...]]) -> None:
    assert parse(text, HERE)[:3] == rule


@pytest.mark.parametrize(
    "text",
    (
        *("", "*.", "**.example.com", "a.*.com", "-a.example", "a..b", "a b", "a/b", "user@a"),
        *("[::1", "a:b:c", "0x7f.1", "a" * 64 + ".example", ("a" * 60 + ".") * 5 + "example"),
        *("fe80::1%eth0:80", "a:00", "a:65536", "a:+1"),
    ),
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--allow-domain"):
        parse(text, HERE)


@pytest.mark.parametrize(
    "address",
    (
        *("1.2.3.4", "9.255.255.255", "11.0.0.0", "100.63.255.255", "172.15.0.1", "172.32.0.1"),
        *("192.167.1.1", "223.255.255.255", "2600::1", "2a00:1450::1", "64:ff9b::102:304"),
        "::ffff:1.2.3.4",
    ),
)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    (
        *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
        *("172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.0.1", "198.18.0.1", "224.0.0.1"),
        *("255.255.255.255", "168.63.129.16", "::", "::1", "::ffff:10.0.0.1", "::127.0.0.1"),
        *("64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::1"),
        *("3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "5f00::1"),
    ),
)
def test_addresses_that_are_not(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f000001", "2130706433", "1.2.3.4.5", "a.0", "a.0x1", "[::1]", "a%b"]
)
def test_what_only_some_resolvers_take_for_an_address_is_nothing(host: str) -> None:
    assert target(host) is None


def test_a_name_below_localhost_is_this_machine() -> None:
    assert target("x.localhost.") == ip_address("127.0.0.1")


@pytest.mark.parametrize(
    ("host", "port", "option"),
    [
        ("example.com", 443, "--allow-domain example.com"),
        ("example.com", 22, "--allow-domain example.com:22"),
        ("10.0.0.5", 80, "--allow-domain 10.0.0.5"),
        ("fd00::5", 8080, "--allow-domain [fd00::5]:8080"),
        ("127.0.0.1", 8080, "--allow-domain 127.0.0.1:8080"),
        ("127.0.0.1", 80, ""),
        ("a b; rm", 80, ""),
    ],
)
def test_the_option_that_would_allow_it_does(host: str, port: int, option: str) -> None:
    assert option_for(host, port) == option
    if option:
        rules = [parse(option.split()[1], HERE)]
        wanted = target(host)
        assert wanted is not None
        if isinstance(wanted, str):
            assert destinations.names(rules, wanted, port)
        else:
            assert destinations.addresses(rules, wanted, port)
