"""Score runs again with batch statistics recomputed for their final weights.

    hffkit train --data mini-3.lmdb --recipe small --set statistics_fraction=0.999 --out run
    python benchmarks/batch_statistics.py mini-3.lmdb run...

Prints the accuracy on val and test of each run of the AMTENnet family, first as trained, then with
the running statistics replaced by an average over 30 training batches.
"""

import sys
from pathlib import Path

import torch

from hffkit.inference.network import NetworkDetector, load_network
from hffkit.networks.caffe import BatchNorm
from hffkit.storage.corpora import joint_classes, open_corpora
from hffkit.storage.labels import items_of, labels_of
from hffkit.training.dataset import FaceDataset
from hffkit.training.loader import load, prepare
from hffkit.training.sampler import BatchSampler

N_BATCHES, BATCH = 30, 64


def main() -> None:
    """Print the accuracies of each run."""
    corpora = open_corpora([sys.argv[1]])
    table = joint_classes(corpora)
    items = items_of(corpora, "train")

    def accuracies(detector: NetworkDetector) -> str:
        found = []
        for split in ("val", "test"):
            scored = detector.score(items_of(corpora, split), table, "multi")
            found.append(f"{split} {100 * (scored.predicted == scored.labels).mean():.2f} %")
        return ", ".join(found)

    for name in sys.argv[2:]:
        detector = load_network(Path(name), torch.device("cpu"))
        as_it_is = accuracies(detector)
        faces = FaceDataset(items, detector.run.size, detector.run.input)
        labels = labels_of(items, table, detector.run.classes)
        loader = load(faces, labels, detector.device, torch.get_num_threads())
        for layer in detector.net.modules():
            if isinstance(layer, BatchNorm):
                layer.scale_factor.zero_()
                layer.train()
        batches = loader.batches(BatchSampler(len(items), BATCH, "shuffled", 7), 0)
        with torch.inference_mode():
            for _ in range(N_BATCHES):
                detector.net(prepare(next(batches)[0], detector.run.input))
        detector.net.eval()
        print(f"{name}: {as_it_is}; recomputed: {accuracies(detector)}", flush=True)


if __name__ == "__main__":
    main()
