"""DICOM objects for tests: small CT and MR series, segmentations written with highdicom, structure sets."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, RTStructureSetStorage, generate_uid


def uid(*names: object) -> str:
    """The same UID for the same names."""
    return generate_uid(entropy_srcs=[hashlib.sha256(repr(names).encode()).hexdigest()])


@dataclass(frozen=True)
class Series:
    """What a test series is; arrays are ``[z, y, x]``, spacing and origin in mm (LPS)."""

    patient: str = "P1"
    study: str = "1"
    number: int = 1
    modality: str = "CT"
    description: str = "portal venous"
    date: str = "20200101"
    spacing: tuple[float, float, float] = (0.75, 0.5, 3.0)  # x, y, z
    origin: tuple[float, float, float] = (-5.0, 7.0, 100.0)
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0)

    @property
    def uid(self) -> str:
        return uid("series", self.patient, self.study, self.number)

    @property
    def frame(self) -> str:
        return uid("frame", self.patient, self.study)


def new_file(sop_class: str, name: str) -> FileDataset:
    """An empty object with its file meta information."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid("instance", name)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    return one


def describe(one: FileDataset, series: Series) -> None:
    """Patient, study and series of an object."""
    one.PatientID, one.PatientName, one.PatientBirthDate, one.PatientSex = series.patient, "Secret^Person", "", "O"
    one.StudyInstanceUID, one.SeriesInstanceUID = uid("study", series.patient, series.study), series.uid
    one.StudyID, one.StudyDate, one.StudyTime, one.AccessionNumber = "1", series.date, "000000", ""
    one.ReferringPhysicianName, one.SeriesNumber, one.SeriesDescription = "", series.number, series.description
    one.SeriesDate = one.AcquisitionDate = one.ContentDate = series.date


def image_slices(array: np.ndarray, series: Series = Series()) -> list[FileDataset]:
    """Slices of a CT (HU) or MR volume, from the first plane to the last along the normal."""
    sop_class = CTImageStorage if series.modality == "CT" else MRImageStorage
    row, column = np.array(series.orientation[:3]), np.array(series.orientation[3:])
    normal = np.cross(row, column)
    slices = []
    for k, plane in enumerate(array):
        one = new_file(sop_class, f"{series} {k}")
        describe(one, series)
        one.Modality, one.ImageType = series.modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
        one.FrameOfReferenceUID, one.PositionReferenceIndicator, one.InstanceNumber = series.frame, "", k + 1
        one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = *plane.shape, 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
        one.PixelSpacing = [series.spacing[1], series.spacing[0]]
        one.ImageOrientationPatient = list(series.orientation)
        one.ImagePositionPatient = [float(f"{v:.6f}") for v in np.array(series.origin) + series.spacing[2] * k * normal]
        one.SliceThickness = series.spacing[2]
        stored = plane
        if series.modality == "CT":
            one.RescaleSlope, one.RescaleIntercept, stored = 1, -1024, plane + 1024
        one.PixelData = np.ascontiguousarray(stored.astype("<i2")).tobytes()
        slices.append(one)
    return slices


def save_all(folder: Path, objects: Sequence[FileDataset], prefix: str = "") -> Path:
    """Write objects under names whose order is not theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, one in enumerate(objects):
        one.save_as(folder / f"{prefix}{(k * 7 + 3) % 11:02d}_{k}.dcm", enforce_file_format=True)
    return folder


def segmentation(
    slices: Sequence[Dataset],
    masks: Mapping[str, np.ndarray],
    *,
    kind: str = "BINARY",
    planes: Sequence[int] | None = None,
    number: int = 300,
    description: str = "Segmentation",
    omit_empty: bool = True,
    volume: hd.Volume | None = None,
) -> hd.seg.Segmentation:
    """A SEG object of named masks on the planes of a series; ``planes`` chooses and orders source slices.

    ``volume`` holds the voxels of all masks (last axis) on a grid of its own instead.
    """
    code = hd.sr.CodedConcept("T-62000", "SRT", "Liver")
    described = [
        hd.seg.SegmentDescription(
            segment_number=k,
            segment_label=label,
            segmented_property_category=code,
            segmented_property_type=code,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for k, label in enumerate(masks, start=1)
    ]
    order = list(range(len(slices))) if planes is None else list(planes)
    stack = np.stack(list(masks.values()), axis=-1)[order].astype(np.uint8)
    if kind == "LABELMAP":
        stack = (stack * np.arange(1, len(masks) + 1, dtype=np.uint8)).max(axis=-1).astype(np.uint8)
    if kind == "FRACTIONAL":
        stack = stack.astype(np.float32) / 2
    names = [slices[0].get("PatientID"), description, number, tuple(masks)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = hd.seg.Segmentation(
            source_images=[slices[k] for k in order],
            pixel_array=stack if volume is None else volume,
            segmentation_type=kind,
            segment_descriptions=described,
            series_instance_uid=uid("seg", *names),
            series_number=number,
            sop_instance_uid=uid("seg instance", *names),
            instance_number=1,
            manufacturer="test",
            manufacturer_model_name="test",
            software_versions="1",
            device_serial_number="1",
            omit_empty_frames=omit_empty,
        )
    one.SeriesDescription = description
    return one


def save_one(path: Path, one: Dataset) -> Path:
    """Write one object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one.save_as(path)
    return path


def structure_set(
    slices: Sequence[Dataset], regions: Mapping[str, Sequence[np.ndarray]], *, geometric: str = "CLOSED_PLANAR"
) -> FileDataset:
    """An RTSTRUCT of named regions, each a list of contours ``(n, 3)`` in mm."""
    one = new_file(RTStructureSetStorage, "rtstruct" + repr(list(regions)))
    source = slices[0]
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate"):
        setattr(one, keyword, source.get(keyword))
    one.Modality, one.SeriesInstanceUID, one.StructureSetLabel = "RTSTRUCT", uid("rt", list(regions)), "test"
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = source.SeriesInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = source.FrameOfReferenceUID, [study]
    one.ReferencedFrameOfReferenceSequence = [frame]
    one.StructureSetROISequence, one.ROIContourSequence = [], []
    for k, (name, contours) in enumerate(regions.items(), start=1):
        named, drawn = Dataset(), Dataset()
        named.ROINumber, named.ROIName, named.ReferencedFrameOfReferenceUID = k, name, source.FrameOfReferenceUID
        drawn.ReferencedROINumber, drawn.ContourSequence = k, []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = geometric, len(points)
            contour.ContourData = [float(f"{v:.6f}") for v in np.asarray(points).ravel()]
            drawn.ContourSequence.append(contour)
        one.StructureSetROISequence.append(named)
        one.ROIContourSequence.append(drawn)
    return one


def box_contour(
    slices: Sequence[Dataset], level: int, rows: tuple[float, float], columns: tuple[float, float]
) -> np.ndarray:
    """A rectangle on a slice that encloses whole voxels: rows and columns from first to last, in mm (LPS)."""
    one = slices[level]
    spacing = [float(v) for v in one.PixelSpacing]
    row, column = (np.array(one.ImageOrientationPatient[a:b], dtype=float) for a, b in ((0, 3), (3, 6)))
    origin = np.array(one.ImagePositionPatient, dtype=float)
    (top, bottom), (left, right) = rows, columns
    corners = [
        (left - 0.5, top - 0.5),
        (right + 0.5, top - 0.5),
        (right + 0.5, bottom + 0.5),
        (left - 0.5, bottom + 0.5),
    ]
    return np.array([origin + x * spacing[1] * row + y * spacing[0] * column for x, y in corners])
