"""dlib itself: its detector, and predictors of landmarks, trained on its published examples."""

import functools
import re
import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import Any

import dlib


@functools.cache
def frontal_detector() -> Any:
    """Return dlib's detector of faces, which takes as long to make as to search many images."""
    return dlib.get_frontal_face_detector()


def annotated(data: Path, kind: str, folder: Path, n_points: int = 68) -> Path:
    """Write dlib's landmarks of its example images with the paths that these have here."""
    text = (data / f"data/reference/dlib_faces_{kind}_with_face_landmarks.xml").read_text("latin-1")
    images = data / "data/images/real-photo"
    text = re.sub(r"file='([^']+)'", rf"file='{images}/dlib_\1'", text)
    root = Xml.fromstring(text)
    for box in root.iter("box"):
        for part in box.findall("part")[n_points:]:
            box.remove(part)
    path = folder / f"{kind}.xml"
    Xml.ElementTree(root).write(path)
    return path


def trained(examples: Path, out: Path) -> Path:
    """Train a predictor, smaller than the published one, on landmarks that `annotated` wrote."""
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.num_trees_per_cascade_level, options.tree_depth = 6, 60, 2
    options.feature_pool_size, options.num_threads = 120, 1
    dlib.train_shape_predictor(str(examples), str(out), options)
    return out
