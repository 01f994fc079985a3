"""The table of datasets that `hffkit build` reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hffkit.errors import named
from hffkit.sources import dfdc, ffpp, folders, lists
from hffkit.sources.ffpp_tree import FfppOptions
from hffkit.sources.listing import Listing, check_groups, check_root
from hffkit.sources.options import FolderNames, SourceOptions, VideoOptions


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of dataset."""

    read: Callable[[Any], Listing]
    options: type[SourceOptions]
    help: str
    example: str  # options of `hffkit build NAME`


SOURCES: Mapping[str, Source] = {
    "ff++": Source(
        ffpp.read_ffpp,
        FfppOptions,
        "FaceForensics++ in its official layout, or as cropped by Cao et al.\n\n"
        "Faces are detected once for each target video; its forgeries and other qualities are "
        "cropped at the same boxes if they line up with it. Splits are the official ones.",
        "--src /data/ff++ --quality c23,c40 --out ffpp.lmdb",
    ),
    "dfd": Source(
        ffpp.read_dfd,
        FfppOptions,
        "DeepFakeDetection: videos of actors and their forgeries in a FaceForensics++ tree.\n\n"
        "It has no official splits: splits are drawn by target actor.",
        "--src /data/ff++ --split-ratio 80/0/20 --out dfd.lmdb",
    ),
    "hff": Source(
        folders.read_hff,
        folders.HffOptions,
        "Hybrid Fake Face: eight class folders, or train|val|test/{fake,real}.\n\n"
        "Images are stored whole, as in the paper. A subfolder of a class is a group.",
        "--src /data/HFF --out hff.lmdb",
    ),
    "folder": Source(
        folders.read_folder,
        folders.FolderOptions,
        "Class folders of images or videos, or split folders that hold class folders.\n\n"
        "Only the folders named in --real and --fake are read.",
        "--src faces --real camera --fake StarGAN,DCGAN --out faces.lmdb",
    ),
    "list": Source(
        lists.read_list,
        lists.ListOptions,
        "Images or videos of a list, as Caffe's convert_imageset reads it.\n\n"
        "--real and --fake name the labels that are real and fake; --class NAME=LABEL names "
        "their classes.",
        "--list faces.txt --src images --real 1 --fake 0 --out faces.lmdb",
    ),
    "faces-hq": Source(
        folders.read_faces_hq,
        FolderNames,
        "Faces-HQ (Durall et al.): two folders of real and two of generated faces.",
        "--src /data/Faces-HQ --split-ratio 80/0/20 --out faces-hq.lmdb",
    ),
    "celeba": Source(
        folders.read_celeba,
        SourceOptions,
        "CelebA in its own partition, grouped by identity if identity_CelebA.txt is there.",
        "--src /data/CelebA --size 128 --out celeba.lmdb",
    ),
    "celeb-df": Source(
        lists.read_celeb_df,
        VideoOptions,
        "Celeb-DF; its test split is its own test list.",
        "--src /data/Celeb-DF --frames 16 --out celeb-df.lmdb",
    ),
    "dfdc": Source(
        dfdc.read_dfdc,
        VideoOptions,
        "DFDC: parts with metadata.json, the test set with labels.csv.\n\n"
        "An original and its forgeries are one group.",
        "--src /data/dfdc --frames 8 --out dfdc.lmdb",
    ),
}


def read_source(options: SourceOptions) -> Listing:
    """List the samples of a dataset by the reader of its source.

    Raises
    ------
    UnknownNameError
        If the source is not in SOURCES.
    CorpusError, ManifestError
        If the dataset is not as its source expects, or contradicts the options.
    """
    found = named(SOURCES, options.source, "source")
    if not isinstance(options, found.options):
        raise ValueError(f"{options.source} takes {found.options.__name__}, got {options!r}.")
    check_root(options.src)
    listing = found.read(options)
    check_groups(listing)
    return listing
