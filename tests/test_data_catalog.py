"""Names, splits and the leak guard: what a config may ask for."""

import subprocess
import sys

import pytest

from hinas_nb.data import catalog
from hinas_nb.data.catalog import CATALOG, DataError, check_leak, check_split

BSDS500_RULE = "split of BSDS500 must be one of train, val, test or some of them joined by +"


def test_every_set_of_the_issue_is_declared_with_splits_and_licence():
    assert list(CATALOG) == [
        "photos", "BSDS500", "BSD68", "DIV2K", "Set5", "Set14", "B100", "Urban100", "Manga109",
    ]  # fmt: skip
    assert all(entry.licence and entry.counts for entry in CATALOG.values())
    assert CATALOG["BSDS500"].counts == {"train": 200, "val": 100, "test": 200}
    assert len(catalog._BSD68) == 68


def test_photo_splits_are_disjoint_and_large_enough():
    files = [file for split in catalog.PHOTOS.values() for file in split]
    assert len(set(files)) == len(files)
    assert {split: len(files) for split, files in catalog.PHOTOS.items()} == CATALOG["photos"].counts
    assert CATALOG["photos"].counts["train"] >= 6 and CATALOG["photos"].counts["test"] >= 3


@pytest.mark.parametrize(
    ("name", "split"),
    [("BSDS500", "train+val"), ("photos", "test"), ("Set5", "test"), ("folder:/some/where", "all")],
)
def test_good_splits_pass(name, split):
    check_split(name, split)


@pytest.mark.parametrize(
    ("name", "split", "text"),
    [
        (
            "BSDS",
            "train",
            "data must be one of photos, BSDS500, BSD68, DIV2K, Set5, Set14, B100, Urban100, Manga109 or "
            "folder:PATH, got 'BSDS'",
        ),
        ("BSDS500", "validation", f"{BSDS500_RULE}, got 'validation'"),
        ("BSDS500", "val+val", f"{BSDS500_RULE}, got 'val+val'"),
        ("Set5", "train", "split of Set5 must be test, got 'train'"),
        ("folder:/x", "train", "split of folder:/x must be all, got 'train'"),
    ],
)
def test_bad_splits_are_refused_in_one_line(name, split, text):
    with pytest.raises(DataError) as error:
        check_split(name, split)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (("BSDS500", "train+val"), ("BSD68", "test")),
        (("BSDS500", "val"), ("B100", "test")),
        (("BSDS500", "train+val"), ("BSDS500", "val+test")),
        (("BSD68", "test"), ("B100", "test")),
        (("photos", "train"), ("photos", "train")),
        (("folder:~/mine", "all"), ("folder:/x/y/../mine/", "all")),
    ],
)
def test_leaks_are_refused(train, test, monkeypatch):
    monkeypatch.setenv("HOME", "/x")
    with pytest.raises(DataError, match="test images must be unseen in training"):
        check_leak(*train, *test)


def test_a_leak_is_named():
    with pytest.raises(DataError) as error:
        check_leak("BSDS500", "train+val", "B100", "test")
    assert str(error.value) == (
        "test images must be unseen in training, got B100 test for a network trained on BSDS500 train+val "
        "(both hold photographs of BSDS500 val)"
    )


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (("BSDS500", "train+val"), ("BSDS500", "test")),
        (("BSDS500", "train+test"), ("B100", "test")),
        (("DIV2K", "train"), ("Set5", "test")),
        (("photos", "train"), ("photos", "test")),
        (("folder:/a", "all"), ("folder:/b", "all")),
    ],
)
def test_clean_pairs_pass(train, test):
    check_leak(*train, *test)


def test_the_catalogue_needs_no_torch_of_its_own():
    """Configs are checked before anything heavy is imported."""
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('catalog', {catalog.__file__!r})\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['catalog'] = module\n"
        "spec.loader.exec_module(module)\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
