"""qmail-send's rewriting: Q-SEND-1..5, Q-VDOM-*, E-1..E-21."""

from __future__ import annotations

import pytest
from tests.mailhost.qmail.support import Home

from mailhost.qmail.rewrite import Local, Remote, rewrite, virtual_keys


def local(host: Home, rcpt: bytes) -> bytes | None:
    """The local address of a recipient, None when it is remote."""
    result = rewrite(host.controls(), rcpt)
    return result.address if isinstance(result, Local) else None


def test_q_send_1_the_order_of_the_rules(host: Home) -> None:
    host.control("envnoathost", "Hack.org\n")
    host.control("percenthack", "hack.org\n")
    host.control("locals", "here.org\n")
    host.control("virtualdomains", "here.org:never\nv.org:p\n")
    assert local(host, b"a%here.org") == b"a@here.org"
    result = rewrite(host.controls(), b"a%v.org")
    assert [step.rule for step in result.steps] == ["envnoathost", "percenthack", "virtualdomains"]
    assert [step.line for step in result.steps] == [0, 1, 2]
    assert result == Local(b"p-a@v.org", result.steps, prefix=b"p")
    assert rewrite(host.controls(), b"a@far.org") == Remote(b"a@far.org", ())


@pytest.mark.parametrize(
    ("rcpt", "address"),
    [(b"a%b@hack", b"a@b"), (b"a%b%c@hack", b"a%b@c"), (b"a%b%HACK@hack", b"a@b"), (b"a@hack", b"a@hack"),
     (b"a%@hack", b"a@"), (b"a%b@other", b"a%b@other")],
)  # fmt: skip
def test_q_send_2_percenthack_repeats_from_the_right(host: Home, rcpt: bytes, address: bytes) -> None:
    host.control("percenthack", "Hack\n")
    assert rewrite(host.controls(), rcpt).address == address


def test_q_send_5_an_at_that_percenthack_or_envnoathost_brings_in_splits_anew(host: Home) -> None:
    host.control("percenthack", "hack\n")
    host.control("envnoathost", "x@d.com\n")
    host.control("virtualdomains", "d.com:p\n.com:q\n")
    assert local(host, b"a%x@d.com@hack") == b"p-a@x@d.com"
    assert local(host, b"joe") == b"p-joe@x@d.com"


def test_e_18_percenthack_is_off_by_default(host: Home) -> None:
    host.control("locals", "d.com\n")
    assert local(host, b"a%b@d.com") == b"a%b@d.com"


def test_e_6_q_send_3_locals_has_no_wildcards(host: Home) -> None:
    host.control("locals", ".d.com\nE.com\n")
    assert local(host, b"j@x.d.com") is None
    assert local(host, b"j@.d.com") == b"j@.d.com"
    assert local(host, b"j@e.COM") == b"j@e.COM"


def test_e_17_q_send_4_h_10_a_domain_in_locals_is_not_virtual(host: Home) -> None:
    host.control("locals", "d.com\n")
    host.control("virtualdomains", "d.com:p\n")
    assert local(host, b"joe@d.com") == b"joe@d.com"


def test_e_21_q_send_5_the_host_follows_the_last_at(host: Home) -> None:
    host.control("virtualdomains", "d.com:p\n")
    assert local(host, b"a@b@d.com") == b"p-a@b@d.com"
    assert local(host, b"a@d.com.") is None


def test_q_vdom_1_b_1_keys_in_order() -> None:
    keys = [b"Joe@mail.d.com", b"mail.d.com", b".d.com", b".com", b""]
    assert list(virtual_keys(b"Joe", b"mail.d.com")) == keys
    assert list(virtual_keys(b"joe", b"")) == [b"joe@", b""]


def test_q_vdom_1_the_empty_key_catches_the_rest(host: Home) -> None:
    host.control("virtualdomains", ":all\n")
    assert local(host, b"joe@far.org") == b"all-joe@far.org"


def test_e_3_q_vdom_2_case_is_kept_and_the_dash_is_fixed(host: Home) -> None:
    host.control("virtualdomains", "D.com:Pre\n")
    assert local(host, b"JOE@d.COM") == b"Pre-JOE@d.COM"


def test_e_8_q_vdom_3_an_empty_value_ends_the_search(host: Home) -> None:
    host.control("virtualdomains", "d.com:\n.x.com: \n.com:p\n:q\n")
    result = rewrite(host.controls(), b"j@d.com")
    assert isinstance(result, Remote)
    assert [(step.line, step.key) for step in result.steps] == [(1, b"d.com")]
    assert local(host, b"j@a.x.com") is None
    assert local(host, b"j@e.com") == b"p-j@e.com"


def test_e_5_q_vdom_4_suffix_lines(host: Home) -> None:
    host.control("virtualdomains", ".d.com:p\n.deep.d.com:q\n")
    addresses = [b"j@d.com", b"j@x.d.com", b"j@y.x.d.com", b"j@deep.d.com", b"j@x.deep.d.com"]
    expected = [None, b"p-j@x.d.com", b"p-j@y.x.d.com", b"p-j@deep.d.com", b"q-j@x.deep.d.com"]
    assert [local(host, address) for address in addresses] == expected


def test_e_9_e_10_q_vdom_5_what_the_value_is(host: Home) -> None:
    host.control("virtualdomains", "d.com:a:b\t \ne.com: p\nf.com:p\r\ng.com\n#h.com:p\n i.com:p\n")
    hosts = [b"d.com", b"e.com", b"f.com", b"g.com", b"h.com", b"#h.com", b"i.com", b" i.com"]
    expected = [b"a:b-u@d.com", b" p-u@e.com", b"p\r-u@f.com", None, None, None, None, b"p-u@ i.com"]
    assert [local(host, b"u@" + name) for name in hosts] == expected


def test_e_1_q_vdom_6_the_last_of_two_lines_wins(host: Home) -> None:
    host.control("virtualdomains", "d.com:p1\nD.COM:p2\n")
    result = rewrite(host.controls(), b"j@d.com")
    assert (result.address, result.steps[-1].line) == (b"p2-j@d.com", 2)


def test_e_7_q_vdom_7_a_whole_address_beats_its_domain(host: Home) -> None:
    host.control("virtualdomains", "d.com:p\nJoe@d.com:special\n")
    assert local(host, b"jOE@d.com") == b"special-jOE@d.com"


def test_q_vdom_8_h_8_dots_stay_dots(host: Home) -> None:
    host.control("virtualdomains", "domain.com:domain.com\n")
    assert local(host, b"joe@domain.com") == b"domain.com-joe@domain.com"


def test_e_20_q_vdom_9_an_empty_user(host: Home) -> None:
    host.control("virtualdomains", "d.com:p\n")
    assert local(host, b"@d.com") == b"p-@d.com"


def test_e_19_the_empty_recipient_becomes_at_me(host: Home) -> None:
    assert local(host, b"") == b"@mx1.example.net"


def test_h_4_q_ctl_2_recipientmap_and_virtualhosts_are_read_by_nothing(host: Home) -> None:
    host.control("recipientmap", "joe@d.com:bob\n")
    host.control("virtualhosts", "d.com:p\n")
    assert rewrite(host.controls(), b"joe@d.com") == Remote(b"joe@d.com", ())
