#!/usr/bin/env bash
# Check and time hffkit on a CUDA device: the tests marked gpu, then the paper's whole schedule of
# AMTENnet against a plain loop, on random images. Ends after 8 minutes at the latest.
# Run it in an environment with hffkit[test] and a PyTorch that has CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
python -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())'
timeout 240 python -m pytest -q -n 0 -m gpu --durations=5 tests/training/test_cuda.py
timeout 240 python benchmarks/train.py --schedule
