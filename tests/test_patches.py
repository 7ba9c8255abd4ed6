# SPDX-License-Identifier: Apache-2.0
"""The series of patches as text: names, headers, order, licences, and that they apply."""

import functools
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vici_mif.build import mutants, tree
from vici_mif.build import series as series_files
from vici_mif.build.cache import Cache
from vici_mif.build.charon import default_patches
from vici_mif.build.errors import BuildError
from vici_mif.build.series import Patch, Series
from vici_mif.build.sources import Source, Sources

DIRECTORIES = sorted(base.parent for base in default_patches().glob("*/base"))
BARE = [each for each in DIRECTORIES if not series_files.read(each).base.needs_debian]
MUTANTS = mutants.read(Path(__file__).parent / "mutants")
PATCHES = [
    pytest.param(patch, id=f"{directory.name}/{patch.name}")
    for directory in DIRECTORIES
    for patch in series_files.read(directory).patches
]
each_series = pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
each_patch = pytest.mark.parametrize("patch", PATCHES)

NEW_FILE = re.compile(r"^--- /dev/null\n\+\+\+ b/(\S+\.[ch])\n@@[^\n]*\n((?:\+[^\n]*\n)+)", re.M)
SUBJECT = re.compile(r"[a-z0-9][a-z0-9-]*(, [a-z0-9-]+)*: [A-Z].*[^. ]")

WIDEST = 92
"""Columns with four to a tab: strongSwan's 80, and what it takes more where a break reads worse."""


def whole(directory: Path) -> Series:
    """A series, which has patches."""
    found = series_files.read(directory)
    assert found.patches
    return found


@each_series
def test_base_is_complete(directory: Path) -> None:
    """Every field, for the release the directory is named after."""
    assert series_files.read(directory).base.version == directory.name


@each_series
def test_series_lists_every_patch_in_order(directory: Path) -> None:
    """None is forgotten, none is twice, numbers have no gap."""
    names = [patch.name for patch in whole(directory).patches]
    assert names == sorted(path.name for path in directory.glob("*.patch"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


@each_series
def test_a_cover_letter_names_each_patch(directory: Path) -> None:
    """What each does stands in README.md."""
    text = letter(directory)
    missing = [p.subject for p in whole(directory).patches if p.subject not in text]
    assert missing == []


def rows(directory: Path) -> dict[str, tuple[str, ...]]:
    """The table of a cover letter: what stands behind a patch's number and subject."""
    lines = re.findall(r"^\| (\d{4} \| .+?) \| (\d.*) \|$", letter(directory), re.M)
    return {about: tuple(cells.split(" | ")) for about, cells in lines}


def letter(directory: Path) -> str:
    return (directory / "README.md").read_text()


def row(patch: Patch) -> str:
    return f"{patch.name[:4]} | {patch.subject}"


@each_series
def test_the_table_counts_rightly(directory: Path) -> None:
    """Files, lines added and removed of each patch, by git's own count."""
    counted = {}
    for patch in whole(directory).patches:
        argv = ["git", "apply", "--numstat", str(directory / patch.name)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        files = [line.split()[:2] for line in done.stdout.splitlines()]
        added, removed = (sum(map(int, column)) for column in zip(*files, strict=True))
        counted[row(patch)] = (str(len(files)), str(added), str(removed))
    assert {about: cells[:3] for about, cells in rows(directory).items()} == counted


def changed(patch: Patch) -> list[str]:
    """Its lines without those around them, and in which files."""
    return re.findall(r"^[+-].*", patch.text.removeprefix(patch.header), re.M)


@pytest.mark.parametrize(("older", "newer"), [("6.0.1", "6.1.0"), ("5.9.8", "6.0.1")])
def test_what_differs_from_the_next_release_is_recorded(older: str, newer: str) -> None:
    """Same subjects, same order; the table says which lines are, the prose what is only here."""
    ours, theirs = (whole(default_patches() / release).patches for release in (older, newer))
    known = {patch.subject: changed(patch) for patch in theirs}
    same = {True: "yes", False: "no"}
    found = {
        row(p): same[known[p.subject] == changed(p)] if p.subject in known else "only here"
        for p in ours
    }
    text = letter(default_patches() / older)
    assert f"| same lines as on {newer} |" in text
    assert {about: cells[3] for about, cells in rows(default_patches() / older).items()} == found

    assert [p.subject for p in ours if p.subject in known] == list(known)
    new = {p.subject for p in ours} - set(known)
    differs = text.partition(f"## What differs from {newer}\n")[2].partition("\n## ")[0]
    assert {subject for subject in new if f"*{subject}*" not in " ".join(differs.split())} == set()


CONDITION = re.compile(r"^\+[ \t]*#[ \t]*((?:el)?if.*)", re.M)
OF_STRONGSWAN = re.compile(r"ifdef (ME|USE_IKEV2)|ifndef [A-Z_]+_H_")
"""How it is built without the mediation extension or IKEv2, and guards of headers."""


@each_patch
def test_nothing_is_conditional_for_a_release(patch: Patch) -> None:
    """There is a series for each: no `#if` for the version of strongSwan, or of what it uses."""
    assert [c for c in CONDITION.findall(patch.text) if not OF_STRONGSWAN.fullmatch(c)] == []


@each_patch
def test_name_follows_the_subject(patch: Patch) -> None:
    """As git format-patch names it."""
    words = re.sub(r"[^A-Za-z0-9._]+", "-", patch.subject).strip("-.")
    assert re.fullmatch(r"\d{4}-(.+)\.patch", patch.name)
    assert words.startswith(patch.name[5:-6].rstrip("-."))


@each_patch
def test_subject_style(patch: Patch) -> None:
    """strongSwan's: component, colon, a sentence without a full stop."""
    assert SUBJECT.fullmatch(patch.subject), patch.subject
    assert len(patch.subject) <= 75


@each_patch
def test_the_message_says_why(patch: Patch) -> None:
    """More than a subject and trailers."""
    message = patch.header.partition("\n---\n")[0].partition("\n\n")[2]
    paragraphs = [text for text in message.split("\n\n") if text.strip()]
    assert len(paragraphs) >= 2


@each_patch
def test_dep3_trailers(patch: Patch) -> None:
    """Forwarded and Last-Update, in the last paragraph."""
    trailers = patch.trailers
    assert re.fullmatch(r"no|not-needed|https://\S+", trailers.get("Forwarded", ""))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", trailers.get("Last-Update", ""))


@each_patch
def test_it_comes_out_of_git_the_same_everywhere(patch: Patch) -> None:
    """No commit of somebody's tree, no version of somebody's git."""
    assert patch.text.startswith(f"From {'0' * 40} ")
    assert not re.search(r"^-- \n\d+\.\d+", patch.text, re.M)
    assert "multipart" not in patch.header


@each_patch
def test_new_files_carry_the_licence(patch: Patch) -> None:
    """strongSwan's own header: GPL version 2 or later."""
    new = NEW_FILE.findall(patch.text)
    assert len(new) == len(re.findall(r"^--- /dev/null\n\+\+\+ b/\S+\.[ch]$", patch.text, re.M))
    for name, text in new:
        assert "GNU General Public License" in text or "GPL-2.0-or-later" in text, name


@each_patch
def test_no_trailing_blanks(patch: Patch) -> None:
    """In what it adds."""
    assert re.findall(r"^\+.*[ \t]+$", patch.text, re.M) == []


@each_patch
def test_no_line_is_too_wide(patch: Patch) -> None:
    """Of what it adds."""
    added = re.findall(r"^\+(?!\+\+ )(.*)", patch.text, re.M)
    assert [line for line in added if len(line.expandtabs(4)) > WIDEST] == []


def kept_source(found: Series) -> Source:
    """A source that was downloaded before; without one there is nothing to apply to."""
    try:
        return Sources(Cache()).kept(found.base)
    except BuildError as error:
        pytest.skip(f"source of {found.base.version}: {error}; vici-mif charon build fetches it")


@functools.cache
def touched(directory: Path, with_debian: bool) -> dict[str, bytes]:
    """The files of the source that the series changes, as they are before it."""
    found = series_files.read(directory)
    source = kept_source(found)
    if not with_debian:
        source = Source("bare", source.tarball)
    with tempfile.TemporaryDirectory() as work:
        unpacked = tree.unpack(source, Path(work))
        mutated = [mutant.patch for mutant in MUTANTS]
        paths = {path for patch in (*found.patches, *mutated) for path in patch.files}
        return {p: (unpacked / p).read_bytes() for p in paths if (unpacked / p).exists()}


def laid_out(files: dict[str, bytes], at: Path) -> Path:
    """A tree of these files."""
    for name, content in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(content)
    return at


def by_git(found: Series, work: Path) -> None:
    """As commits, in a repository made for it."""
    names = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (["init", "-q"], ["add", "-Af"], ["commit", "-qm", "base"]):
        subprocess.run(["git", *names, *words], cwd=work, check=True)
    mails = b"".join(patch.text.encode(errors="surrogateescape") for patch in found.patches)
    subprocess.run(["git", *names, "am", "--quiet"], cwd=work, input=mails, check=True)


@pytest.mark.build
@each_series
@pytest.mark.parametrize("way", [tree.apply_series, by_git], ids=["patch", "git am"])
def test_it_applies_without_fuzz(
    directory: Path, way: Callable[[Series, Path], None], tmp_path: Path
) -> None:
    """To Debian's source package, by patch as dpkg-source does it and by git am."""
    found = whole(directory)
    way(found, laid_out(touched(directory, with_debian=True), tmp_path))


@pytest.mark.build
@each_series
def test_the_cover_letter_sums_it_up(directory: Path, tmp_path: Path) -> None:
    """What all patches together change, as git tells it: lines that change twice count once."""
    by_git(whole(directory), laid_out(touched(directory, with_debian=True), tmp_path))
    first = f"HEAD~{len(whole(directory).patches)}"
    argv = ["git", "diff", "--shortstat", first]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"\nTogether: {done.stdout.strip()}.\n" in letter(directory)


@pytest.mark.build
@pytest.mark.parametrize("directory", BARE, ids=lambda path: path.name)
def test_it_applies_to_the_bare_release(directory: Path, tmp_path: Path) -> None:
    """Unless it says that it needs Debian's patches."""
    tree.apply_series(whole(directory), laid_out(touched(directory, with_debian=False), tmp_path))


def test_there_are_mutants_for_what_matters_most() -> None:
    """Each is one line, and named after what it breaks."""
    expected = (
        "after-again after-window check-cookie check-flood check-heard check-late check-overdue "
        "check-pile check-queued collision cookie2 families generation identity lease-again "
        "lease-limit lease-place lease-spelling lease-twice lease lifetime limit move-rekey "
        "override policy-gap rate-login responses spi-direction takeover-any takeover-gap "
        "takeover-never takeover"
    )
    assert [mutant.patch.name.removesuffix(".patch") for mutant in MUTANTS] == expected.split()


@pytest.mark.build
def test_the_mutants_apply_to_the_top_of_the_newest_series(tmp_path: Path) -> None:
    """Side by side, so that none hides behind another."""
    directory = max(DIRECTORIES, key=lambda path: series_files.number(path.name))
    at = laid_out(touched(directory, with_debian=True), tmp_path)
    tree.apply_series(series_files.read(directory), at)
    for mutant in MUTANTS:
        tree.apply(mutant.patch, at)


def test_no_mutants_are_no_proof(tmp_path: Path) -> None:
    """A directory that is mistyped is said before anything is built."""
    with pytest.raises(BuildError, match="no patch is there"):
        mutants.read(tmp_path / "nowhere")
