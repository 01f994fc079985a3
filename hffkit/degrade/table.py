"""The table of operations: those of Table IX of the AMTENnet paper, then the others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from PIL.Image import Resampling

from hffkit.degrade import blurs, compression, framing, noise, resampling, spatial, tones
from hffkit.degrade.operation import Codec, Filter, Operation, VideoSetting
from hffkit.degrade.parameter import Parameter
from hffkit.media.image import Image, decode, decode_own_jpeg

TABLE_IX: Mapping[str, Operation[Any]] = {
    "me": Filter("me", "mean filtering", spatial.KERNEL, spatial.mean_filter),
    "gb": Filter("gb", "Gaussian filtering", spatial.KERNEL, spatial.gaussian_filter),
    "med": Filter("med", "median filtering", spatial.KERNEL, spatial.median_filter),
    "gc": Filter("gc", "gamma correction", spatial.GAMMA, spatial.gamma_correction),
    "jp": Codec("jp", "JPEG", compression.QUALITY, compression.jpeg_bytes, decode_own_jpeg),
    "jp2": Codec("jp2", "JPEG 2000", compression.RATIO, compression.jpeg2000_bytes, decode),
    "sc": Filter("sc", "scaling, linear", resampling.PERCENT, resampling.scale_linear),
}

_Filters = Sequence[tuple[str, str, Parameter[Any], Callable[[Image, Any], Image]]]
_Codecs = Sequence[tuple[str, str, Parameter[Any], Callable[[Image, Any], bytes]]]

_BLURS: _Filters = (
    ("blur", "Gaussian blur, cut at 4 sigma", blurs.SIGMA, blurs.blur),
    ("blur-3", "Gaussian blur, cut at 3 sigma", blurs.SIGMA, blurs.blur_3),
    ("blur-2", "Gaussian blur, cut at 2 sigma", blurs.SIGMA, blurs.blur_2),
    ("blur-k", "Gaussian blur, sigma a sixth of the kernel", blurs.KERNEL, blurs.blur_kernel),
    ("lens", "lens blur", blurs.RADIUS, blurs.lens_blur),
    ("pixel", "pixelation", blurs.FACTOR, blurs.pixelate),
)
_TONES: _Filters = (
    ("sat", "saturation in YCbCr", tones.SATURATION, tones.saturation),
    ("sat-hsv", "saturation in HSV", tones.SATURATION, tones.saturation_hsv),
    ("dim", "multiplied grey levels", tones.DIMMING, tones.dim),
    ("contrast", "contrast curve", tones.CONTRAST, tones.contrast),
    ("brighten", "brightening", tones.AMOUNT, tones.brighten),
    ("darken", "darkening", tones.AMOUNT, tones.darken),
    ("quant", "quantisation of grey levels", tones.LEVELS, tones.quantise),
)
_NOISE: _Filters = (
    ("noise", "Gaussian noise", noise.SIGMA, noise.gaussian_noise),
    (
        "noise-var",
        "Gaussian noise by variance",
        noise.VARIANCE,
        noise.gaussian_noise_of_variance,
    ),
    ("noise-ycbcr", "Gaussian noise in YCbCr", noise.VARIANCE, noise.gaussian_noise_in_ycbcr),
    ("impulse", "impulse noise", noise.SHARE, noise.impulse_noise),
    ("blocks", "masked blocks", noise.BLOCKS, noise.mask_blocks),
    ("jitter", "scattered pixels", noise.JITTER, noise.scatter),
    ("shift", "shifted green channel", noise.SHIFT, noise.shift_green),
)
_KERNELS = (
    Resampling.NEAREST,
    Resampling.BOX,
    Resampling.BILINEAR,
    Resampling.HAMMING,
    Resampling.BICUBIC,
    Resampling.LANCZOS,
)
_FRAMING: _Filters = (
    *(
        (
            f"rs-{kernel.name.lower()}",
            f"resizing and back, {kernel.name.lower()}",
            framing.SIDE,
            framing.ResizeAndBack(kernel),
        )
        for kernel in _KERNELS
    ),
    ("fit", "reducing to a longer side", framing.LONG_SIDE, framing.fit),
    ("fit-width", "reducing to a width", framing.WIDTH, framing.fit_width),
    ("square", "resizing to a square", framing.SQUARE, framing.to_square),
    ("crop", "central crop", framing.SHARE, framing.crop),
    ("crop-square", "square crop at a random place", framing.SHARE, framing.crop_square),
    ("grid", "shift of the JPEG grid", framing.OFFSET, framing.shift_grid),
    ("screen", "screenshot at a zoom", framing.ZOOM, framing.screenshot),
)
_VIDEO_SETTINGS: Sequence[tuple[str, str, Parameter[Any]]] = (
    ("gop", "key-frame gap of videos", compression.FRAMES),
    ("fps", "frame rate of videos", compression.FRAME_RATE),
)
_CODECS: _Codecs = (
    ("jp-422", "JPEG, 4:2:2", compression.QUALITY, compression.jpeg_422_bytes),
    ("jp-444", "JPEG, 4:4:4", compression.QUALITY, compression.jpeg_444_bytes),
    ("jp-web", "JPEG, tables for the web", compression.WEB_LEVEL, compression.jpeg_web_bytes),
    (
        "jp-photo",
        "JPEG, tables of an editor",
        compression.PHOTO_LEVEL,
        compression.jpeg_photo_bytes,
    ),
    ("jp-moz", "JPEG, tables of mozjpeg", compression.QUALITY, compression.jpeg_mozjpeg_bytes),
    ("webp", "WebP", compression.WEBP_QUALITY, compression.webp_bytes),
    ("webp-lossless", "WebP, lossless", compression.METHOD, compression.webp_lossless_bytes),
    ("avif", "AVIF", compression.AVIF_QUALITY, compression.avif_bytes),
)

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
    **{row[0]: Filter(*row) for row in (*_BLURS, *_TONES, *_NOISE, *_FRAMING)},
    **{row[0]: Codec(*row, decode) for row in _CODECS},
    **{row[0]: VideoSetting(*row) for row in _VIDEO_SETTINGS},
}
