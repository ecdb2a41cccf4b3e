"""The contract check: lint, and the baseline that breaking changes are looked for against."""

import shutil
import subprocess
from pathlib import Path

import pytest
from check_contract import check, find_baseline

ROOT = Path(__file__).resolve().parents[2]
SHELF = Path("protos/searchmesh/sample/v1/shelf.proto")


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=repository, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(repository: Path) -> str:
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "change")
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit that holds a contract without faults."""
    folder = tmp_path / "repository"
    (folder / SHELF).parent.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    shutil.copyfile(ROOT / "buf.yaml", folder / "buf.yaml")
    shutil.copyfile(Path(__file__).with_name("data") / "shelf.proto", folder / SHELF)
    commit(folder)
    return folder


def replace(repository: Path, old: str, new: str) -> None:
    text = (repository / SHELF).read_text()
    assert old in text
    (repository / SHELF).write_text(text.replace(old, new))


def test_an_unchanged_contract_has_no_faults(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(repository, tmp_path) == []
    assert "lint: 0 faults" in capsys.readouterr().out


def test_a_missing_comment_is_a_fault(repository: Path, tmp_path: Path) -> None:
    replace(repository, "  // Metres.\n", "")
    (fault,) = check(repository, tmp_path)
    assert fault.startswith("searchmesh/sample/v1/shelf.proto:")
    assert "width" in fault


def test_a_new_field_breaks_nobody_and_a_renumbered_one_does(
    repository: Path, tmp_path: Path
) -> None:
    replace(repository, "  // Tags.\n", "  // Depth.\n  double depth = 7;\n  // Tags.\n")
    assert check(repository, tmp_path) == []
    replace(repository, "string name = 1;", "string name = 8;")
    assert any("name" in fault for fault in check(repository, tmp_path))


def test_the_baseline_is_the_newest_tag_then_the_remote_then_head(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    baseline = find_baseline(repository)
    assert baseline is not None
    assert (baseline.commit, baseline.why.split(",")[0]) == (first, "HEAD")

    git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    second = commit(repository)
    baseline = find_baseline(repository)
    assert baseline is not None
    assert (baseline.commit, baseline.why.split(",")[0]) == (first, "origin/main")

    git(repository, "tag", "v0.1.0", second)
    git(repository, "tag", "unrelated", commit(repository))
    baseline = find_baseline(repository)
    assert baseline is not None
    assert (baseline.commit, baseline.why) == (second, "the newest tag v0.1.0")


def test_a_shallow_clone_without_tags_compares_with_the_remote(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(repository, "tag", "v0.1.0")
    last = commit(repository)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", "--no-tags", f"file://{repository}", str(clone))
    assert check(clone, tmp_path) == []
    assert f"since {last[:10]}, origin/main, as there is no tag v*" in capsys.readouterr().out


def test_without_a_repository_the_contract_is_only_linted(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unpacked = tmp_path / "unpacked"
    shutil.copytree(repository, unpacked, ignore=shutil.ignore_patterns(".git"))
    assert find_baseline(unpacked) is None
    assert check(unpacked, tmp_path) == []
    assert "not looked for" in capsys.readouterr().out
