"""The table of operations: those of Table IX of the AMTENnet paper, then the others."""

from collections.abc import Mapping
from typing import Any

from hffkit.degrade import compression, resampling, spatial
from hffkit.degrade.operation import Codec, Filter, Operation
from hffkit.media.image import decode, decode_own_jpeg

TABLE_IX: Mapping[str, Operation[Any]] = {
    "me": Filter("me", "mean filtering", spatial.KERNEL, spatial.mean_filter),
    "gb": Filter("gb", "Gaussian filtering", spatial.KERNEL, spatial.gaussian_filter),
    "med": Filter("med", "median filtering", spatial.KERNEL, spatial.median_filter),
    "gc": Filter("gc", "gamma correction", spatial.GAMMA, spatial.gamma_correction),
    "jp": Codec("jp", "JPEG", compression.QUALITY, compression.jpeg_bytes, decode_own_jpeg),
    "jp2": Codec("jp2", "JPEG 2000", compression.RATIO, compression.jpeg2000_bytes, decode),
    "sc": Filter("sc", "scaling, linear", resampling.PERCENT, resampling.scale_linear),
}
OPERATIONS: Mapping[str, Operation[Any]] = {
    **TABLE_IX,
    "sc-cubic": Filter("sc-cubic", "scaling, cubic", resampling.PERCENT, resampling.scale_cubic),
    "h264": Codec(
        "h264",
        "H.264, one key frame",
        compression.CRF,
        compression.h264_bytes,
        compression.h264_pixels,
    ),
    "jp2-97": Codec(
        "jp2-97", "JPEG 2000, 9/7 wavelet", compression.RATIO, compression.jpeg2000_97_bytes, decode
    ),
}
