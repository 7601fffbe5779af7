"""The places where the data sets are published. Addresses and sums are facts from the sources named beside them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Says where an archive comes from, and which of its members become which files."""

    url: str
    take: str  # pattern of the members wanted
    put: str  # their path under the data folder, with the groups of `take`
    sha256: str | None = None  # of the archive, where a source gives it


def _div2k(part: str, sha256: str) -> Origin:
    """Return an archive of DIV2K; the sums are those that TensorFlow Datasets lists (url_checksums/div2k.txt)."""
    folder = f"DIV2K_{part}_HR"
    url = f"https://data.vision.ee.ethz.ch/cvl/DIV2K/{folder}.zip"
    return Origin(url, rf"(?:.*/)?{folder}/(?P<file>\d{{4}}\.png)", f"DIV2K/{folder}/{{file}}", sha256)


def _self_exemplars(name: str, key: str) -> Origin:
    """Return Set5 or Set14 as published with Huang et al. 2015 (github.com/jbhuang0604/SelfExSR)."""
    take = r"(?:.*/)?image_SRF_(?P<scale>[234])/(?P<stem>img_\d{3})_SRF_[234]_(?P<kind>HR|LR)\.png"
    return Origin(f"https://uofi.box.com/shared/static/{key}.zip", take, name + "/{kind}/x{scale}/{stem}.png")


ORIGINS: dict[str, tuple[Origin, ...]] = {
    "BSDS500": (
        Origin(
            "https://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR/BSR_bsds500.tgz",
            r"(?:.*/)?data/images/(?P<split>train|val|test)/(?P<file>\d{1,9}\.jpg)",
            "BSDS500/{split}/{file}",
        ),
    ),
    "DIV2K": (
        _div2k("train", "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335"),
        _div2k("valid", "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc"),
    ),
    "Set5": (_self_exemplars("Set5", "kfahv87nfe8ax910l85dksyl2q212voc"),),
    "Set14": (_self_exemplars("Set14", "igsnfieh4lz68l926l8xbklwsnnk8we9"),),
    "Urban100": (  # Huang et al. have no x3; the collection of EDSR (Lim et al. 2017) has the full images
        Origin(
            "https://cv.snu.ac.kr/research/EDSR/benchmark.tar",
            r"(?:.*/)?Urban100/HR/(?P<file>[\w-]{1,60}\.png)",
            "Urban100/HR/{file}",
        ),
    ),
}
