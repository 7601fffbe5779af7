"""The systems that HiNAS is compared with (tables 10-12): one file each, and this table of them.

    network = build("dncnn", "denoise")                 # first weights, for a training Run
    filtered = build("nlm", "denoise", sigma=50)        # nothing to train
    restored = evaluate.infer(network, noisy, 50)       # of `scoring`, in tiles as HiNAS

Written from the published descriptions and, where there is one, after the authors' code (`As in the code:`); each file
says what was chosen where they leave a choice, and what is otherwise.
Notebooks `20_denoising_comparison` and `21_super_resolution_comparison` compare them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds: only those who build or load a network wait for it
    import torch

    from hinas_nb.comparators.base import Restorer
    from hinas_nb.method.network import DerivedNetwork

SCALES = (2, 3, 4)


@dataclass(frozen=True)
class Entry:
    """Describes one comparator."""

    title: str
    where: str  # "<module>.<class>" below this package
    tasks: tuple[str, ...]
    published: Mapping[int | None, int] = field(default_factory=dict)  # parameters by scale (None: denoising)
    reason: str = ""  # why ours differ by more than 2 % from these, or from what tables 10-12 print
    trainable: bool = True
    multiple: int = 1  # of which its width must be one, because it divides its channels
    revision: int = 0  # raised when its numbers change: Runs of before are not served; 0 leaves their hashes alone
    noise_map: bool = False  # whether it is told sigma, as a second channel of its input
    scales: tuple[int, ...] = SCALES  # that it is published for (sr only)

    @property
    def file(self) -> str:
        """Return where it stands in the package."""
        return f"comparators/{self.where.split('.')[0]}.py"


#: By the name that configs use. Denoisers first, by year; the training-free ones last. Comments say who counted.
TABLE = {
    "red30": Entry("RED30", "red.RED30", ("denoise",), {None: 4_131_072}),  # from its description, without biases
    "dncnn": Entry("DnCNN", "dncnn.DnCNN", ("denoise",), {None: 556_096}),  # from the authors' grey model
    "memnet": Entry(
        "MemNet",
        "memnet.MemNet",
        ("denoise", "sr"),
        dict.fromkeys((None, *SCALES), 677_000),  # Tai et al. 2017
        "the published 677 K are the kernels alone (676,992; 678,209 with biases, 678 K elsewhere); the rest are batch "
        "norms and the six weights",
        revision=1,
    ),
    "nlrn": Entry(
        "NLRN",
        "nlrn.NLRN",
        ("denoise",),
        {None: 330_000},  # Liu et al. 2018; table 10 says 1.03 M
        "the 330 K of its paper are the kernels alone (329,984); the rest are batch norms and biases; the 1.03 M of "
        "table 10 are of a version that is not described",
        revision=1,
    ),
    "n3net": Entry("N3Net", "n3net.N3Net", ("denoise",), {None: 706_000}, revision=1),  # its authors; table 10: 0.71 M
    "ffdnet": Entry("FFDNet", "ffdnet.FFDNet", ("denoise",), {None: 485_316}, noise_map=True, revision=1),  # grey model
    "ecae": Entry(
        "E-CAE",
        "ecae.ECAE",
        ("denoise",),
        {None: 1_062_016},  # from its grey model
        "ours are those of the model that its authors distribute; table 10 prints 1.10 M, and not what of",
    ),
    "durnp": Entry("DuRN-P", "durn.DuRNP", ("denoise",), {None: 816_225}),  # from the authors' grey model
    "dbsn": Entry("DBSN", "dbsn.DBSN", ("denoise",), {None: 6_610_000}, revision=1),  # table 10; Wu et al. 2020
    "fsrcnn": Entry(
        "FSRCNN",
        "fsrcnn.FSRCNN",
        ("sr",),
        dict.fromkeys(SCALES, 12_464),  # Dong et al. 2016
        "the published 12,464 are the kernels alone; the rest (2.8 %) are 173 biases and 172 slopes",
    ),
    "vdsr": Entry("VDSR", "vdsr.VDSR", ("sr",), dict.fromkeys(SCALES, 665_000)),  # Kim et al. 2016
    "lapsrn": Entry(
        "LapSRN",
        "lapsrn.LapSRN",
        ("sr",),
        {2: 251_000, 3: 502_000, 4: 502_000},  # later papers, for five convolutions a level; elsewhere 813 K
        "ours (x3, x4) are the 813 K of some papers; the 251 K and 502 K of tables 11 and 12 and of others fit five "
        "convolutions a level with a 4x4 transposed one (251,473 and 502,306), though the scores beside them are of "
        "the ten that its paper names for x2 and x4",
        revision=1,
    ),
    "edsr": Entry(
        "EDSR",
        "edsr.EDSR",
        ("sr",),
        {2: 40_700_000, 3: 43_700_000, 4: 43_100_000},  # Lim et al. 2017
        "ours are those of its paper; table 12 prints 43 M for x2 and x4 alike",
    ),
    "idn": Entry("IDN", "idn.IDN", ("sr",), dict.fromkeys(SCALES, 553_000), multiple=16, revision=1),  # Hui et al. 2018
    "rdn": Entry("RDN", "rdn.RDN", ("sr",), {2: 22_100_000, 3: 22_300_000, 4: 22_300_000}),  # Zhang et al. 2018
    "rcan": Entry(
        "RCAN",
        "rcan.RCAN",
        ("sr",),
        {2: 15_440_000, 3: 15_630_000, 4: 15_590_000},  # Zhang et al. 2018
        "ours are those of its paper (15.44, 15.63 and 15.59 M), which tables 11 and 12 round to 16",
    ),
    "imdn": Entry("IMDN", "imdn.IMDN", ("sr",), {2: 694_000, 3: 703_000, 4: 715_000}, multiple=4),  # Hui et al. 2019
    "san": Entry("SAN", "san.SAN", ("sr",), dict.fromkeys(SCALES, 15_700_000), revision=1),  # Dai et al. 2019
    "span": Entry("SPAN", "span.SPAN", ("sr",), {4: 151_000}),  # NTIRE 2024
    "rfanet": Entry("RFANet", "rfanet.RFANet", ("sr",), dict.fromkeys(SCALES, 11_000_000)),  # Liu et al. 2020
    "srmd": Entry(
        "SRMDNF",
        "srmd.SRMDNF",
        ("sr",),
        {2: 1_510_000},  # Zhang et al. 2018
        "ours (x3, x4) have a larger last convolution than that of x2, whose size tables 11 and 12 print for all",
    ),
    "dbpn": Entry(
        "D-DBPN",
        "dbpn.DBPN",
        ("sr",),
        {2: 5_953_526, 4: 10_426_358},  # from the authors' code
        "ours are those of its authors' code; table 12 prints 10.05 M for x2 and 10.00 M for x4",
        scales=(2, 4),
    ),
    "falsr_a": Entry("FALSR-A", "falsr.FALSRA", ("sr",), {2: 1_021_000}, multiple=8, scales=(2,)),  # Chu et al. 2020
    "falsr_b": Entry("FALSR-B", "falsr.FALSRB", ("sr",), {2: 326_000}, multiple=8, scales=(2,)),
    "falsr_c": Entry(
        "FALSR-C",
        "falsr.FALSRC",
        ("sr",),
        {2: 408_000},
        "the published 408 K and 93.7 G are those of the released network without the second cell's 64 channels at the "
        "end (408,137); we have the released one",
        multiple=8,
        scales=(2,),
    ),
    "moremnas": Entry("MoreMNAS-D", "moremnas.MoreMNASD", ("sr",), {2: 664_000}, multiple=8, scales=(2,)),  # 2019
    "spsr": Entry("SPSR", "spsr.SPSR", ("sr",), {4: 24_800_000}, multiple=2, scales=(4,)),  # table 12
    "nlm": Entry("Non-local means", "classical.NonLocalMeans", ("denoise",), trainable=False),
    "wavelet": Entry("Wavelet", "classical.Wavelet", ("denoise",), trainable=False),
    "bm3d": Entry("BM3D", "classical.BM3D", ("denoise",), trainable=False),
    "wnnm": Entry("WNNM", "wnnm.WNNM", ("denoise",), trainable=False),
}
TRAINABLE = tuple(name for name, entry in TABLE.items() if entry.trainable)
TRAINING_FREE = tuple(name for name, entry in TABLE.items() if not entry.trainable)


def build(
    name: str, task: str, scale: int | None = None, sigma: float | None = None, width: int | None = None
) -> "Restorer":
    """Return a comparator; a network has its first weights, drawn from torch's global generator.

    scale: 2, 3 or 4 (sr only); sigma: grey levels (0-255), for the training-free ones, which need it.
    width: channels of its hidden layers (networks only), None: as published. Raises ValueError.
    """
    check(name, task, width, scale)
    entry = TABLE[name]
    if (sigma is None) == (not entry.trainable) or (sigma is not None and sigma <= 0):
        rule = "None for a network (its training sets it)" if entry.trainable else "above 0 (grey levels)"
        raise ValueError(f"sigma must be {rule}, got {sigma} for {name}")
    module, kind = entry.where.split(".")
    arguments = {"scale": scale, "sigma": sigma, "width": width}
    given = {key: value for key, value in arguments.items() if value is not None}
    found = getattr(import_module(f"{__name__}.{module}"), kind)(**given)
    found.name, found.width = name, width
    return found


def check(name: str, task: str, width: int | None = None, scale: int | None = None, trained: bool = False) -> None:
    """Raise ValueError for a comparator that is not there for this task, width or scale, or to be trained."""
    known = TRAINABLE if trained else tuple(TABLE)
    if name not in known:
        raise ValueError(f"comparator must be one of {' '.join(known)}, got {name!r}")
    entry = TABLE[name]
    if task not in entry.tasks:
        raise ValueError(f"comparator must be one for task {task}, got {name} for {' '.join(entry.tasks)}")
    if scale not in (entry.scales if task == "sr" else (None,)):
        listed = " or ".join(filter(None, [", ".join(map(str, entry.scales[:-1])), str(entry.scales[-1])]))
        raise ValueError(f"scale must be {listed} for sr and None for denoise, got {scale!r} for {task} ({name})")
    if width is not None and (not entry.trainable or not isinstance(width, int) or width < 1):
        rule = "a whole number of at least 1" if entry.trainable else "None where nothing is trained"
        raise ValueError(f"width must be {rule}, got {width!r} for {name}")
    if width is not None and width % entry.multiple:
        raise ValueError(f"width must be a multiple of {entry.multiple}, got {width} for {name}")


def load(path: Path, device: "torch.device | str" = "cpu") -> "DerivedNetwork | Restorer":
    """Return the network of any training Run's weights file, as `network.load` does. Raises ValueError."""
    from hinas_nb.method import network

    def rebuilt(metadata: dict) -> "DerivedNetwork | Restorer":
        if "comparator" not in metadata:
            return network.rebuilt(metadata)
        check(metadata["comparator"], metadata["task"], metadata["width"], metadata["scale"], trained=True)
        return build(metadata["comparator"], metadata["task"], metadata["scale"], None, metadata["width"])

    return network.load_as(rebuilt, path, device)
