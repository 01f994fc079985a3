"""Checks of a decision under suites, as they are kept beside a corpus."""

import hashlib
import json
from pathlib import Path

import torch
from makers.damaged_files import a_decision
from makers.runs import write_run
from makers.trees import build_two_classes

from hffkit.evaluation.decision_check import ConditionCheck, GuaranteeCheck, SuiteCheck
from hffkit.evaluation.kept_checks import KeptChecks
from hffkit.inference.detector import load_detector
from hffkit.inference.shelf import Shelf
from hffkit.storage.corpora import open_faces
from hffkit.storage.labels import items_of


def test_counts_that_no_check_has_are_left_out(tmp_path: Path) -> None:
    corpora = open_faces([str(build_two_classes(tmp_path / "x", 2))])
    detector = load_detector(write_run(tmp_path / "run"), torch.device("cpu"))
    decision = a_decision()
    kept = KeptChecks(Shelf(corpora, items_of(corpora, None)), detector, decision)
    (guarantee,) = decision.guarantees
    condition = ConditionCheck("clean", (GuaranteeCheck(guarantee, 1, 0),))
    check = SuiteCheck("suite", "0", 7, (condition,))
    kept.write(check)
    (path,) = tmp_path.glob("x/x.lmdb.robustness/*.json")
    row = json.loads(path.read_text("utf-8"))
    del row["sha256"]
    for n_groups, n_mistakes, found in ((1, 0, [check]), (0, 0, []), (3, -1, []), (3, 4, [])):
        row["conditions"][0]["guarantees"][0] |= {"n_groups": n_groups, "n_mistakes": n_mistakes}
        digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps({**row, "sha256": digest}))
        assert list(kept.read()) == found


def test_nothing_is_kept_through_a_link(tmp_path: Path) -> None:
    corpora = open_faces([str(build_two_classes(tmp_path / "x", 2))])
    shelf = Shelf(corpora, items_of(corpora, None))
    shelf.folder.symlink_to(tmp_path)
    assert not shelf.is_writable
