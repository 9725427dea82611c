"""Writes processors.json: what the image processors of transformers and timm make of a small picture, with each field of
their configuration set to a value that is not the default.

    python processors.py

A case has the files of a model folder that decide (preprocessor_config.json, or config.json for timm) and either the
pixel values or that the library refuses them.
"""

import base64
import json
import logging
import pathlib
import platform
import tempfile
import warnings

import numpy as np
import PIL
import timm
import torch
import torchvision
import transformers
from PIL import Image
from transformers import AutoImageProcessor

logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent
W, H = 31, 23


def picture():
    rng = np.random.RandomState(3)
    y, x = np.mgrid[0:H, 0:W]
    p = np.stack([255 * x / (W - 1), 255 * y / (H - 1), 128 + 120 * np.sin(x * 0.7 + y * 0.4)], -1)
    p[6:12, 9:17] = (230, 20, 40)
    return np.clip(p + rng.randint(-30, 31, p.shape), 0, 255).astype(np.uint8)


PICTURE = picture()
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
FAMILIES = {
    "ViT": ("vit", {"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 12}, "resample": 3, **IMAGENET}),
    "DINOv2": ("dinov2", {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 16},
                          "crop_size": {"height": 13, "width": 13}, "resample": 3, "do_convert_rgb": True, **IMAGENET}),
    "DINOv3": ("dinov3_vit", {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": 12, "width": 12},
                              "resample": 2, **IMAGENET}),
}
CROP = {"do_center_crop": True, "crop_size": {"height": 9, "width": 9}}
FIELDS = [
    ("as published", {}),
    ("do_convert_rgb true", {"do_convert_rgb": True}),
    ("do_convert_rgb false", {"do_convert_rgb": False}),
    ("do_resize false", {"do_resize": False, "do_center_crop": False}),
    ("do_resize false, do_center_crop true", {"do_resize": False, **CROP}),
    ("size 14", {"size": 14, **CROP}),
    ("size 14, default_to_square false", {"size": 14, "default_to_square": False, **CROP}),
    ("size 14, default_to_square true", {"size": 14, "default_to_square": True, **CROP}),
    ("size [10, 14]", {"size": [10, 14], "do_center_crop": False}),
    ("size height 10, width 14", {"size": {"height": 10, "width": 14}, "do_center_crop": False}),
    ("size height 10, width 14, do_center_crop true", {"size": {"height": 10, "width": 14}, **CROP}),
    ("size shortest_edge 15", {"size": {"shortest_edge": 15}, "do_center_crop": False}),
    ("size shortest_edge 15, do_center_crop true", {"size": {"shortest_edge": 15}, **CROP}),
    ("size shortest_edge 15, longest_edge 18", {"size": {"shortest_edge": 15, "longest_edge": 18}, **CROP}),
    ("size max_height 14, max_width 14", {"size": {"max_height": 14, "max_width": 14}, **CROP}),
    ("size null", {"size": None, **CROP}),
    ("do_center_crop true", {"do_center_crop": True, "crop_size": {"height": 10, "width": 7}}),
    ("do_center_crop true, crop_size null", {"do_center_crop": True, "crop_size": None}),
    ("crop_size 9", {"do_center_crop": True, "crop_size": 9}),
    ("crop_size [7, 10]", {"do_center_crop": True, "crop_size": [7, 10]}),
    ("crop_size larger than the picture", {"do_center_crop": True, "crop_size": {"height": 25, "width": 21}}),
    ("crop_size taller alone", {"do_center_crop": True, "crop_size": {"height": 21, "width": 7}}),
    ("crop_size without do_center_crop", {"crop_size": 9, "do_center_crop": False, "size": {"height": 12, "width": 12}}),
    *[(f"resample {r}", {"resample": r}) for r in range(6)],
    ("resample null", {"resample": None}),
    ("do_rescale false", {"do_rescale": False}),
    ("rescale_factor 1/127.5", {"rescale_factor": 1 / 127.5}),
    ("do_normalize false", {"do_normalize": False}),
    ("do_rescale and do_normalize false", {"do_rescale": False, "do_normalize": False}),
    ("image_mean 0.3", {"image_mean": 0.3}),
    ("image_mean of others", {"image_mean": [0.1, 0.2, 0.7]}),
    ("image_mean of one", {"image_mean": [0.3]}),
    ("image_mean null", {"image_mean": None}),
    ("image_std 0.3", {"image_std": 0.3}),
    ("image_std of others", {"image_std": [0.1, 0.2, 0.7]}),
    ("image_std of one", {"image_std": [0.3]}),
    ("do_pad true", {"do_pad": True}),
    ("do_pad true, pad_size", {"do_pad": True, "pad_size": {"height": 20, "width": 20}}),
    ("pad_size", {"pad_size": {"height": 20, "width": 20}}),
    ("data_format channels_last", {"data_format": "channels_last"}),
    ("input_data_format channels_first", {"input_data_format": "channels_first"}),
    ("device cpu", {"device": "cpu"}),
    ("return_tensors np", {"return_tensors": "np"}),
    ("disable_grouping true", {"disable_grouping": True}),
    ("image_seq_length 5", {"image_seq_length": 5}),
    ("processor_class", {"processor_class": "CLIPProcessor"}),
    ("a key of nobody", {"not_a_key": 3}),
    ("do_reduce_labels true", {"do_reduce_labels": True}),
    ("image_processor_type of the Pillow backend", {"image_processor_type": "Pil"}),
    ("image_processor_type of the fast backend", {"image_processor_type": "Fast"}),
    ("feature_extractor_type", {"image_processor_type": None, "feature_extractor_type": "FeatureExtractor"}),
    ("image_processor_type DeiTImageProcessor", {"image_processor_type": "DeiTImageProcessor", **CROP}),
    ("image_processor_type CLIPImageProcessor", {"image_processor_type": "CLIPImageProcessor", **CROP}),
    ("image_processor_type missing", {"image_processor_type": None}),
]
TIMM = {"input_size": [3, 14, 14], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "num_classes": 0, "first_conv": "patch_embed.proj",
        "classifier": "head"}
TIMM_FIELDS = [
    ("as published", {}),
    ("input_size 3 x 21 x 21", {"input_size": [3, 21, 21]}),
    ("input_size 3 x 14 x 21", {"input_size": [3, 14, 21]}),
    *[(f"interpolation {i}", {"interpolation": i}) for i in ("bilinear", "nearest", "lanczos", "box", "hamming", "random")],
    *[(f"crop_pct {c}", {"crop_pct": c}) for c in (0.7, 0.875, 0.95, 1.0, 1.2, None)],
    ("crop_mode squash", {"crop_mode": "squash"}),
    ("crop_mode border", {"crop_mode": "border"}),
    ("mean of others", {"mean": [0.1, 0.2, 0.7]}),
    ("mean of one", {"mean": [0.3]}),
    ("mean null", {"mean": None}),
    ("std of others", {"std": [0.1, 0.2, 0.7]}),
    ("std of one", {"std": [0.3]}),
    ("test_input_size", {"test_input_size": [3, 28, 28]}),
    ("test_crop_pct", {"test_crop_pct": 1.0}),
    ("min_input_size", {"min_input_size": [3, 7, 7]}),
    ("fixed_input_size true", {"fixed_input_size": True}),
    ("pool_size", {"pool_size": [2, 2]}),
    ("num_classes 10", {"num_classes": 10}),
    ("first_conv", {"first_conv": "stem"}),
    ("classifier", {"classifier": "fc"}),
    ("license, tag, url, hf_hub_id", {"license": "mit", "tag": "x", "url": "y", "hf_hub_id": "z/"}),
    ("custom_load true", {"custom_load": True}),
]


def published_name(config, family):
    """The full class name where a case gives an ending."""
    kind = config.get("image_processor_type")
    base = {"ViT": "ViT", "DINOv2": "Bit", "DINOv3": "DINOv3ViT"}[family]
    if kind in ("Pil", "Fast"):
        config["image_processor_type"] = base + "ImageProcessor" + kind
    if config.get("feature_extractor_type") == "FeatureExtractor":
        config["feature_extractor_type"] = base + "FeatureExtractor"
    return {k: v for k, v in config.items() if not (k in ("image_processor_type",) and v is None)}


def run(files):
    with tempfile.TemporaryDirectory() as tmp:
        for name, content in files.items():
            (pathlib.Path(tmp) / name).write_text(json.dumps(content))
        try:
            p = AutoImageProcessor.from_pretrained(tmp)
            kw = {} if "return_tensors" in files.get("preprocessor_config.json", {}) else {"return_tensors": "pt"}
            out = p(Image.fromarray(PICTURE), **kw)["pixel_values"]
            a = np.asarray(out[0]).astype("<f4")
        except Exception as e:
            return {"refused": f"{type(e).__name__}: {e}".replace(tmp, "MODEL").splitlines()[0][:200]}
    kind = type(p).__name__
    std, factor = 1.0, 1.0
    if kind == "TimmWrapperImageProcessor":
        std, factor = min(p.data_config["std"]), 1 / 255
    else:
        if p.do_normalize:
            std = np.min(p.image_std)
        if p.do_rescale:
            factor = p.rescale_factor
    return {"class": kind, "shape": list(a.shape), "level": float(factor / std), "pixels": base64.b64encode(a.tobytes()).decode()}


def main():
    cases = []
    for family, (model_type, base) in FAMILIES.items():
        for name, change in FIELDS:
            config = published_name({**base, **change}, family)
            files = {"config.json": {"model_type": model_type}, "preprocessor_config.json": config}
            cases.append({"family": family, "field": name, "files": files, **run(files)})
    for name, change in TIMM_FIELDS:
        files = {"config.json": {"architecture": "vit_small_patch7_224", "num_classes": 0, "model_type": "timm_wrapper", "pretrained_cfg": {**TIMM, **change}}}
        cases.append({"family": "timm", "field": name, "files": files, **run(files)})
    nested = FAMILIES["DINOv2"][1]
    for name, files in (
        ("processor_config.json, nested", {"processor_config.json": {"image_processor": nested, "processor_class": "X"}}),
        ("processor_config.json, nested, before preprocessor_config.json",
         {"processor_config.json": {"image_processor": nested}, "preprocessor_config.json": {**nested, "size": {"shortest_edge": 20}}}),
        ("processor_config.json, not nested", {"processor_config.json": {"processor_class": "X"}, "preprocessor_config.json": nested}),
        ("no file", {}),
    ):
        files = {"config.json": {"model_type": "dinov2"}, **files}
        cases.append({"family": "DINOv2", "field": name, "files": files, **run(files)})
    versions = {"python": platform.python_version(), "transformers": transformers.__version__, "timm": timm.__version__,
                "torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": PIL.__version__}
    rows = ",\n".join("  " + json.dumps(c) for c in cases)
    (HERE / "processors.json").write_text(
        '{\n "versions": ' + json.dumps(versions) + f',\n "width": {W}, "height": {H},\n "picture": "'
        + base64.b64encode(PICTURE.tobytes()).decode() + '",\n "cases": [\n' + rows + "\n ]\n}\n")
    print(len(cases), "cases,", sum("refused" in c for c in cases), "refused")
    for c in cases:
        if "refused" in c:
            print(c["family"], "|", c["field"], "|", c["refused"])


if __name__ == "__main__":
    main()
