"""Extensions by name: what a stranger's package may offer, and what happens when it is broken."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import plugins
from benchmarks.plugins import BrokenExtension, Registry, UnknownExtension, unknown

Install = Callable[[str, dict[str, str], str], None]

OURS = Registry("reward", {"accuracy": "fractions:Fraction"})


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package of one module, with entry points, into a folder on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(package: str, points: dict[str, str], source: str) -> None:
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = [f"{name} = {target}" for name, target in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[harness.plugins]", *lines]) + "\n")
        made.append(module)
        importlib.invalidate_caches()
        plugins.offered.cache_clear()

    plugins.offered.cache_clear()
    yield make
    plugins.offered.cache_clear()
    for module in made:
        sys.modules.pop(module, None)


def test_ours_need_no_package_and_are_not_imported_to_be_named() -> None:
    registry = Registry("reward", {"heavy": "no_such_module:Thing"})
    assert registry.names() == ["heavy"]
    assert registry.find("heavy").ours


def test_a_package_is_found_by_kind_and_says_whose_it_is(install: Install) -> None:
    install("extra", {"reward.brevity": "extra:Brevity"}, "class Brevity:\n    version = 3\n")
    found = OURS.find("brevity")
    assert (found.origin, found.ours) == ("extra 1.2", False)
    assert OURS.identity("brevity") == "brevity@3"
    assert "brevity" not in Registry("engine", {}).names()


def test_nothing_of_a_package_is_imported_before_it_is_asked_for(install: Install) -> None:
    install("eager", {"reward.eager": "eager:Eager"}, "raise RuntimeError('no licence')")
    assert "eager" in OURS.names()
    assert "eager" not in sys.modules


def test_one_that_raises_on_import_is_told_in_a_sentence(install: Install) -> None:
    install("eager", {"reward.eager": "eager:Eager"}, "raise RuntimeError('no licence')")
    with pytest.raises(BrokenExtension) as told:
        OURS.load("eager")
    assert str(told.value) == (
        "reward 'eager' of eager 1.2 cannot be loaded from eager:Eager: RuntimeError: no licence"
    )


def test_one_without_a_version_warns_that_its_changes_are_not_seen(install: Install) -> None:
    install("extra", {"reward.brevity": "extra:Brevity"}, "class Brevity: pass\n")
    with pytest.warns(UserWarning, match="declares no `version`"):
        assert OURS.identity("brevity") == "brevity@unversioned"


def test_one_that_names_itself_like_ours_is_not_used_and_listed(install: Install) -> None:
    install("extra", {"reward.accuracy": "extra:Accuracy"}, "class Accuracy: pass\n")
    assert OURS.find("accuracy").ours
    assert list(OURS.refused()) == ["accuracy (extra 1.2)"]
    assert "like ours" in OURS.refused()["accuracy (extra 1.2)"]


def test_of_two_packages_with_one_name_neither_is_used(install: Install) -> None:
    for package in ("first", "second"):
        install(package, {"reward.brevity": f"{package}:B"}, "class B: pass\n")
    assert "brevity" not in OURS.names()
    with pytest.raises(BrokenExtension, match=r"first 1\.2 and second 1\.2 both offer"):
        OURS.find("brevity")
    assert len(OURS.refused()) == 2


def test_a_kind_that_is_none_warns_with_the_nearest(install: Install) -> None:
    install("extra", {"rewrad.brevity": "extra:Brevity"}, "")
    with pytest.warns(UserWarning, match="did you mean 'reward'"):
        assert OURS.names() == ["accuracy"]


def test_a_name_that_nobody_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownExtension) as told:
        OURS.find("acuracy")
    said = "unknown reward 'acuracy'; did you mean 'accuracy'? Known: accuracy"
    assert str(told.value) == said
    assert unknown("reward", "zzz", []) == "unknown reward 'zzz'. Known: none"


def test_a_users_file_is_known_by_the_hash_of_its_source(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    pass\n")
    before = OURS.identity(f"{file}:Mine")
    assert before.startswith("mine.py:Mine@")
    file.write_text("class Mine:\n    pass  # now another\n")
    assert OURS.identity(f"{file}:Mine") != before


def test_a_users_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenExtension, match="there is no file"):
        OURS.load(f"{tmp_path}/gone.py:Mine")
