"""Images and masks: DICOM series, SEG and RTSTRUCT (``Dicom``); NIfTI, NRRD and MetaImage (``Nifti``)."""

from __future__ import annotations

import copy
import gzip
import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_examples import Series, box_contour, image_slices, save_all, segmentation, structure_set, uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from fuzz.campaign import Case
from fuzz.damage import bomb, damaged, gzip_damaged, spliced
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.masks import read_mask, read_scan
from radiomics_crlm.imaging.volume import read_volume, write_volume

Rng = np.random.Generator
SHAPE = (4, 12, 16)
_SECRETS = ("Secret", "Person")
_ROLES = ("lesion=*", "lesion=*", "lesion=1", "lesion=components", "lesion=A;liver=B", "lesion=none",
          "liver=*;lesion=1", "lesion=T*", "lesion=99999999999999999999",
          "lesion=²", "lesion=[", "x=1", "", "lesion=1,1,2")  # fmt: skip
_NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 7, 8, 12, 15, 32, 64, 255, 4096, 60000, 65535, 2**31 - 1, float("nan"), float("inf"), 1e308,
    -1e30,
    1e-300, "", "abc", "1\\2", "0\\0", "nan", "1e999", "9" * 16, None,
)  # fmt: skip
_KEYWORDS = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "SliceThickness", "SpacingBetweenSlices",
    "PlanarConfiguration",
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber", "ContrastBolusStartTime",
    "AcquisitionTime", "StudyDate", "AcquisitionDate",
)  # fmt: skip
_NAMES = (
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID", "SOPClassUID",
    "PhotometricInterpretation", "ImageType", "Modality", "SegmentationType", "SeriesDescription",
    "SpecificCharacterSet",
)  # fmt: skip
_TEXTS = ("", "1.2.3", "x" * 70, "é", "\\", "ISO_IR 192", "ISO 2022 IR 87", "RGB", "PALETTE COLOR", "FRACTIONAL",
          "BINARY", "LABELMAP", "LOCALIZER", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.66.4",
          uid("other"),
          "P2", "\x00\x00", "1.2.840.10008.5.1.4.1.1.481.3")  # fmt: skip
_SYNTAXES = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.8.1", "1.2.3.4", "", "garbage",
)  # fmt: skip


def _scene() -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(0).integers(-500, 500, SHAPE)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[1:3, 3:7, 4:9] = True
    return values, inside


def _encoded(one: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, one, enforce_file_format=False)
    return buffer.getvalue()


def _nest(levels: int) -> bytes:
    """A sequence in a sequence in a sequence, without their ends."""
    opened = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return opened * levels


class Dicom:
    """Reader ``dicom``: series by `read_volume` and `read_scan`, SEG and RTSTRUCT by `read_mask`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "dicom"
        values, inside = _scene()
        slices = image_slices(values)
        self._image = read_volume(save_all(folder / "sound", slices), case="P1")
        shutil.rmtree(folder / "sound")
        mr = image_slices(values, Series(modality="MR"))
        deflated, packed = image_slices(values), image_slices(values)
        for one in deflated:
            one.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        for one in packed:
            one.compress(RLELossless)
        self._series = {
            name: [_encoded(one) for one in some]
            for name, some in {"ct": slices, "mr": mr, "deflated": deflated, "rle": packed}.items()
        }
        contours = [box_contour(slices, level, (3, 6), (4, 8)) for level in (1, 2)]
        fine = {"A": inside, "B": ~inside}
        masks: dict[str, Dataset] = {
            "seg": segmentation(slices, fine),
            "labelmap": segmentation(slices, fine, kind="LABELMAP"),
            "fractional": segmentation(slices, {"A": inside}, kind="FRACTIONAL"),
            "rtstruct": structure_set(slices, {"A": contours, "T1": contours[:1]}),
        }
        self._masks = {name: _encoded(one) for name, one in masks.items()}

    def case(self, rng: Rng) -> Case:
        """The next input."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return self._of_series(rng) if rng.random() < 0.5 else self._of_mask(rng)

    def _of_series(self, rng: Rng) -> Case:
        kind = list(self._series)[int(rng.integers(len(self._series)))]
        files = list(self._series[kind])
        way = int(rng.integers(8))
        if way < 3:
            at = int(rng.integers(len(files)))
            files[at] = damaged(files[at], rng, last=4000 if rng.random() < 0.7 else None)
        elif way < 6:
            at = int(rng.integers(len(files)))
            change = _change_of(rng)
            which = range(len(files)) if rng.random() < 0.4 else (at,)
            seed = int(rng.integers(2**32))
            files = [_edited(f, change, np.random.default_rng(seed)) if k in which else f for k, f in enumerate(files)]
        else:
            files = self._other_files(files, rng)
        for number, data in enumerate(files):
            (self._folder / f"{number:02d}.dcm").write_bytes(data)
        if rng.random() < 0.2:
            rule = ("", "latest", "thinnest", "x", "series:1", "description:*", "1")[int(rng.integers(7))]
            mask = self._folder.parent / "mask.dcm"
            mask.write_bytes(self._masks["seg"])
            return Case(f"{kind} scan", lambda: read_scan(self._folder, [mask], rule=rule, case="P1"), _SECRETS)
        return Case(f"{kind} series", lambda: read_volume(self._folder, case="P1"), _SECRETS)

    def _other_files(self, files: list[bytes], rng: Rng) -> list[bytes]:
        """Files of a folder that are absent, doubled, of something else, or not DICOM."""
        others = [*(f for some in self._series.values() for f in some), *self._masks.values()]
        for _ in range(int(rng.integers(1, 4))):
            how, at = int(rng.integers(8)), int(rng.integers(max(len(files), 1)))
            other = others[int(rng.integers(len(others)))]
            if how == 0 and files:
                del files[at]
            elif how == 1 and files:
                files.append(files[at])
            elif how == 2:
                files.append(other)
            elif how == 3:
                files.append(b"not DICOM" * int(rng.integers(0, 20)))
            elif how == 4 and files:
                files[at] = spliced(files[at], other, rng)
            elif how == 5 and files:
                files[at] = files[at] + _nest(int(rng.integers(1, 3000)))
            elif how == 6:
                files.append(_deflated_bomb(self._series["deflated"][0]))
            elif files:
                files = [files[at]]
        return files

    def _of_mask(self, rng: Rng) -> Case:
        kind = list(self._masks)[int(rng.integers(len(self._masks)))]
        data = self._masks[kind]
        way = int(rng.integers(8))
        if way < 3:
            data = damaged(data, rng, last=8000 if rng.random() < 0.7 else None)
        elif way == 3:
            data = data + _nest(int(rng.integers(1, 3000)))
        else:
            data = _edited(data, _change_of(rng), rng)
        path = self._folder / "mask.dcm"
        path.write_bytes(data)
        roles = _ROLES[0] if rng.random() < 0.6 else _ROLES[int(rng.integers(len(_ROLES)))]
        where = self._folder if rng.random() < 0.2 else path
        return Case(f"{kind} mask", lambda: read_mask(where, self._image, roles=roles, case="P1"), _SECRETS)


def _deflated_bomb(whole: bytes) -> bytes:
    """The head of a deflated file, and a stream that inflates to far more than an image."""
    end = 144 + struct.unpack_from("<I", whole, 140)[0]
    return whole[:end] + bomb(b"", 1 << 28)[10:]


Change = Callable[[Dataset, Rng], None]


def _edited(data: bytes, change: Change, rng: Rng) -> bytes:
    """A file whose data set is changed; as bytes where the library does not write such a data set."""
    try:
        one = pydicom.dcmread(io.BytesIO(data))
        change(one, rng)
        return _encoded(one)
    # pydicom refuses some of what is wanted here, in many ways.
    except Exception:  # noqa: BLE001
        return damaged(data, rng)


def _change_of(rng: Rng) -> Change:
    changes = (
        _number,
        _number,
        _name,
        _syntax,
        _gone,
        _any_element,
        _any_element,
        _any_element,
        _pixels,
        _doubled_item,
    )
    chosen = [changes[int(rng.integers(len(changes)))] for _ in range(int(rng.integers(1, 4)))]

    def change(one: Dataset, own: Rng) -> None:
        for each in chosen:
            each(one, own)

    return change


def _put(one: Dataset, keyword: str, value: Any) -> None:
    setattr(one, keyword, value)


def _number(one: Dataset, rng: Rng) -> None:
    value = _NUMBERS[int(rng.integers(len(_NUMBERS)))]
    keyword = _KEYWORDS[int(rng.integers(len(_KEYWORDS)))]
    if keyword.startswith(("PixelSp", "ImageP", "ImageO")) and rng.random() < 0.8 and one.get(keyword):
        values = list(one.get(keyword))
        values[int(rng.integers(len(values)))] = value
        value = values if rng.random() < 0.9 else values[:-1]
    _put(one, keyword, value)


def _name(one: Dataset, rng: Rng) -> None:
    _put(one, _NAMES[int(rng.integers(len(_NAMES)))], _TEXTS[int(rng.integers(len(_TEXTS)))])


def _syntax(one: Dataset, rng: Rng) -> None:
    one.file_meta.TransferSyntaxUID = pydicom.uid.UID(_SYNTAXES[int(rng.integers(len(_SYNTAXES)))])


def _gone(one: Dataset, rng: Rng) -> None:
    tags = list(one.keys())
    del one[tags[int(rng.integers(len(tags)))]]


def _elements(one: Dataset) -> list[tuple[Dataset, Any]]:
    found: list[tuple[Dataset, Any]] = []
    for element in one:
        found.append((one, element))
        if element.VR == "SQ":
            for item in element.value:
                found += _elements(item)
    return found


def _any_element(one: Dataset, rng: Rng) -> None:
    """Any element, at any depth: removed, emptied, or with another value."""
    holder, element = (found := _elements(one))[int(rng.integers(len(found)))]
    how = int(rng.integers(6))
    if how == 0:
        del holder[element.tag]
    elif element.VR == "SQ":
        items = list(element.value)
        element.value = Sequence((items * int(rng.integers(2, 6)) if how < 3 else items[:-1]) if how < 5 else [])
    elif how == 1:
        element.value = None
    elif element.VR in ("DS", "FL", "FD", "IS", "US", "SS", "UL", "SL"):
        _spoil_numbers(element, rng)
    else:
        element.value = _TEXTS[int(rng.integers(len(_TEXTS)))]


def _spoil_numbers(element: Any, rng: Rng) -> None:
    value = _NUMBERS[int(rng.integers(len(_NUMBERS)))]
    many = list(element.value) if element.VM > 1 else [element.value]
    many[int(rng.integers(len(many)))] = value
    how = rng.random()
    element.value = many if how < 0.6 else many * 50 if how < 0.7 else many[:-1] if how < 0.8 else value


def _pixels(one: Dataset, rng: Rng) -> None:
    data = one.get("PixelData")
    if data is not None:
        ways = (data[: int(rng.integers(len(data)))], data * 3, b"", data[:-1], damaged(data, rng))
        one["PixelData"].value = ways[int(rng.integers(len(ways)))]


def _doubled_item(one: Dataset, rng: Rng) -> None:
    """An item of a sequence stands twice, or the items change places."""
    sequences = [element for _, element in _elements(one) if element.VR == "SQ" and element.value]
    if sequences:
        chosen = sequences[int(rng.integers(len(sequences)))]
        items = list(chosen.value)
        items.append(copy.deepcopy(items[int(rng.integers(len(items)))]))
        rng.shuffle(items)  # type: ignore[arg-type]
        chosen.value = Sequence(items)


_HEADER_FIELDS = (  # of NIfTI-1: place, form, what may stand there
    (0, "<i", (0, 347, 540, -1)),
    *((40 + 2 * k, "<h", (0, -1, 1, 2, 7, 8, 1000, 32767)) for k in range(8)),
    (70, "<h", (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, -1)),
    (72, "<h", (0, 1, 8, 16, 32, 64, 128, -8)),
    *((76 + 4 * k, "<f", (0.0, -1.0, float("nan"), float("inf"), 1e30, 1e-30)) for k in range(8)),
    (108, "<f", (0.0, 348.0, 351.5, 1e6, -352.0, float("nan"), float("inf"), 1e30)),
    (112, "<f", (0.0, float("nan"), float("inf"), 1e30, -1.0, 0.5)),
    (116, "<f", (float("nan"), float("inf"), 1e30, 3.5)),
    (252, "<h", (0, 1, 2, 3, 99, -1)),
    (254, "<h", (0, 1, 2, 3, 99, -1)),
    *((256 + 4 * k, "<f", (0.0, 1.0, -1.0, float("nan"), float("inf"), 1e30)) for k in range(18)),
)
_TEXT_TRAPS = (
    "", "0", "-1", "1 1 1", "1e999", "nan nan nan", "10000 10000 10000", "999999999999999999999 1 1", "LIST",
    "other.raw",
    "../../etc/passwd", "/dev/zero", "gzip", "bzip2", "raw", "ascii", "hex", "True", "MET_DOUBLE", "MET_OTHER",
    "double",
    "block", "(1,0,0) (0,1,0) (0,0,0)", "(nan,0,0) (0,1,0) (0,0,1)", "none", "1 0 0 0 1 0 0 0 0", "a" * 3000,
    "\x00", "é",
)  # fmt: skip


class Nifti:
    """Reader ``nifti``: NIfTI, NRRD and MetaImage files by `read_volume` and `read_mask`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "nifti"
        self._folder.mkdir(parents=True, exist_ok=True)
        values, inside = _scene()
        self._image = Volume(
            values.astype(np.int16), (0.75, 0.5, 3.0), (-5.0, 7.0, 100.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
        )
        numbers = Volume(values.astype(np.float32) / 3, self._image.spacing, self._image.origin, self._image.direction)
        labels = Volume(inside.astype(np.uint8), self._image.spacing, self._image.origin, self._image.direction)
        self._seeds: dict[str, list[bytes]] = {}
        for ending in (".nii", ".nrrd", ".mha"):
            path = folder / f"sound{ending}"
            self._seeds[ending] = []
            for volume in (self._image, numbers, labels):
                write_volume(volume, path)
                self._seeds[ending].append(path.read_bytes())
            path.unlink()

    def case(self, rng: Rng) -> Case:
        """The next input."""
        ending = (".nii", ".nii.gz", ".nii.gz", ".nrrd", ".mha")[int(rng.integers(5))]
        kind = ending.removesuffix(".gz")
        seed = int(rng.integers(3))
        data = self._seeds[kind][seed]
        way = int(rng.integers(10))
        if way < 3:
            data = damaged(data, rng, last=352 if kind == ".nii" else 300)
        elif way < 7:
            data = _nifti_field(data, rng) if kind == ".nii" else _text_field(data, rng)
        elif way == 7:
            data = damaged(data, rng, first=300)
        elif way == 8:
            others = [one for some in self._seeds.values() for one in some]
            data = spliced(data, others[int(rng.integers(len(others)))], rng)
        else:
            others = [one for some in self._seeds.values() for one in some]
            data = others[int(rng.integers(len(others)))]
        if ending == ".nii.gz":
            data = gzip_damaged(data, rng) if rng.random() < 0.3 else gzip.compress(data, compresslevel=1, mtime=0)
        path = self._folder / f"Secret{ending if rng.random() < 0.97 else ending.upper()}"
        for old in self._folder.iterdir():
            old.unlink()
        path.write_bytes(data)
        if seed == 2 or rng.random() < 0.2:
            roles = _ROLES[0] if rng.random() < 0.6 else _ROLES[int(rng.integers(len(_ROLES)))]
            return Case(f"{ending} mask", lambda: read_mask(path, self._image, roles=roles, case="P1"), _SECRETS)
        return Case(f"{ending} image", lambda: read_volume(path, case="P1"), _SECRETS)


def _nifti_field(content: bytes, rng: Rng) -> bytes:
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at, form, values = _HEADER_FIELDS[int(rng.integers(len(_HEADER_FIELDS)))]
        struct.pack_into(form, data, at, values[int(rng.integers(len(values)))])
    how = rng.random()
    if how < 0.05:
        data[344:348] = (b"ni1\0", b"n+2\0", b"\0\0\0\0")[int(rng.integers(3))]
    elif how < 0.1:
        data[348:352] = b"\x01\0\0\0"  # an extension that is not there
    elif how < 0.2:
        size = len(data) - 352
        data[352:] = np.full(size // 4 + 1, np.nan, dtype=np.float32).tobytes()[:size]
    return bytes(data)


def _text_field(content: bytes, rng: Rng) -> bytes:
    """A line of a NRRD or MetaImage header: another value, twice, or none."""
    end = max(content.find(b"\n\n"), content.find(b"LOCAL\n") + 5, 1)
    lines, rest = content[:end].split(b"\n"), content[end:]
    for _ in range(int(rng.integers(1, 4))):
        at, how = int(rng.integers(len(lines))), int(rng.integers(6))
        mark = b"=" if b"=" in lines[at] else b":"
        name, _, _ = lines[at].partition(mark)
        other = lines[int(rng.integers(len(lines)))]
        if how == 0 and len(lines) > 1:
            del lines[at]
        elif how == 1:
            lines.insert(at, other)
        elif how == 2:
            lines[at] = name + mark + b" " + other.partition(mark)[2].strip()
        else:
            lines[at] = name + mark + b" " + _TEXT_TRAPS[int(rng.integers(len(_TEXT_TRAPS)))].encode()
    return b"\n".join(lines) + rest
