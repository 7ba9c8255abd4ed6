# SPDX-License-Identifier: Apache-2.0
"""Reading what strongSwan's test programs and AddressSanitizer print."""

import pytest

from vici_mif.build import debianflags, mutants, sanitizer, suites
from vici_mif.build.errors import BuildError
from vici_mif.build.sanitizer import Finding
from vici_mif.build.series import Patch

GOOD = """\
Running 2 'exchanges' test suites:
  Running suite 'ike delete':
    Running case 'regular': ++
  Passed all 2 'ike delete' test cases
  Running suite 'childless':
  Passed all 3 'childless' test cases
Passed all 2 'exchanges' suites
"""
BAD = """\
  Running suite 'ike clone':
    Running case 'limit': +-
      Failure in 'test_limit': 6 != 5 (suites/test_ike_clone.c:80, i = 0)
  Passed 1/2 'ike clone' test cases
Passed 0 of 1 'exchanges' suites
"""
LEAKS = """\
=================================================================
==4711==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 40 byte(s) in 1 object(s) allocated from:
    #0 0x7f0001 in __interceptor_malloc ../../../../src/libsanitizer/asan/asan_malloc_linux.cpp:69
    #1 0x55aa02 in ike_clone_create sa/ikev2/tasks/ike_clone.c:300
    #2 0x55aa03 in queue_clone sa/ike_sa.c:10

Indirect leak of 8 byte(s) in 1 object(s) allocated from:
    #0 0x7f0001 in __interceptor_calloc ../asan_malloc_linux.cpp:77
    #1 0x7f0002  (/lib/x86_64-linux-gnu/libcrypto.so.3+0x1)

SUMMARY: AddressSanitizer: 48 byte(s) leaked in 2 allocation(s).
"""
USE_AFTER_FREE = """\
==1==ERROR: AddressSanitizer: heap-use-after-free on address 0x6020 at pc 0x1 bp 0x2 sp 0x3
READ of size 8 at 0x6020 thread T0
    #0 0x1 in get_family sa/ike_sa.c:9
    #1 0x2 in main x.c:1

0x6020 is located 0 bytes inside of 8-byte region
freed by thread T0 here:
    #0 0x3 in free
"""
MUTANT = """\
Subject: limit: Count one too few

Fails: {fails}
---
--- a/src/a.c
+++ b/src/a.c
@@ -1,3 +1,3 @@
 one
-two
+2
 three
"""


def test_a_program_that_passed() -> None:
    """All suites, and the cases counted."""
    outcome = suites.parse("exchange_tests", GOOD)
    assert (outcome.passed, outcome.summary) == (True, "exchange_tests: all 5 cases passed")


def test_a_program_that_failed() -> None:
    """The function and the reason are named."""
    outcome = suites.parse("exchange_tests", BAD)
    assert (outcome.passed, outcome.failed_tests) == (False, {"test_limit"})
    assert "test_limit: 6 != 5" in outcome.summary


def test_a_program_that_died() -> None:
    """Without the last line nothing has passed, and the last words are shown."""
    outcome = suites.parse("exchange_tests", "Running 1\nSegmentation fault\n")
    assert (outcome.passed, "Segmentation fault" in outcome.summary) == (False, True)


def test_leaks_are_found_by_function() -> None:
    """Kind and functions without the allocator, unknown ones marked."""
    assert sanitizer.findings(LEAKS) == {
        Finding("direct leak", ("ike_clone_create", "queue_clone")),
        Finding("indirect leak", ("?",)),
    }


def test_errors_are_found_by_their_first_stack() -> None:
    """Where it was read, not where it was freed."""
    expected = {Finding("heap-use-after-free", ("get_family", "main"))}
    assert sanitizer.findings(USE_AFTER_FREE) == expected


def test_no_findings() -> None:
    """A clean run."""
    assert sanitizer.findings(GOOD) == set()


def test_debians_rules() -> None:
    """Flags of all sections; comments, directories and other systems are left out."""
    rules = (
        "CONFIGUREARGS := --libdir=/usr/lib \\\n\t--enable-ha \\\n\t--disable-fast # BSD\n"
        "\t#--with-user=x --enable-kernel-pfkey\n"
        "CONFIGUREARGS += --enable-nm \\\n\t--with-capabilities=libcap\n"
        "CONFIGUREARGS += --disable-kernel-netlink\n"
    )
    expected = ["enable-ha", "disable-fast", "with-capabilities=libcap"]
    assert debianflags.parse_rules(rules) == expected


def test_a_mutant() -> None:
    """One line, and who notices."""
    mutant = mutants.parse(Patch("limit.patch", MUTANT.format(fails="test_a, test_b")))
    assert mutant.fails == {"test_a", "test_b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MUTANT.replace("Fails: {fails}\n", ""), "no field Fails"),
        (MUTANT.format(fails="x").replace("+2\n", "+2\n+3\n"), "not a mutation of one line"),
    ],
)
def test_what_is_no_mutant(text: str, message: str) -> None:
    """Refused before anything is built."""
    with pytest.raises(BuildError, match=message):
        mutants.parse(Patch("x.patch", text))
