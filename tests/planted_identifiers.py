"""Identifiers of 18 kinds planted in a small real cohort, and a search for them in every byte of what was written.

The kinds are those of the safe-harbour list of HIPAA (45 CFR 164.514). Nobody of this name exists.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import io
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml
from dicom_examples import Series, image_slices, save_all, save_one, segmentation
from pydicom import Dataset
from pypdf import PdfReader

from radiomics_crlm.imaging.volume import Volume, write_volume

PLANTED: Mapping[str, tuple[str, ...]] = {
    "name": ("Quittenbaum", "Ottokar"),
    "address": ("Holunderstieg 77", "Buxtehausen", "D-98765"),
    "date": ("1952-03-17", "2019-11-03"),
    "telephone": ("+49 416 555 0147",),
    "fax": ("+49 416 555 0199",),
    "email": ("quitte@example.org",),
    "social_security_number": ("078-05-1120",),
    "medical_record_number": ("MRN-84620917",),
    "insurance_number": ("X234567891-GKV",),
    "account_number": ("DE02120300000000202051",),
    "licence_number": ("LIC-B072RRE2I55",),
    "vehicle_number": ("STD-QX 4711",),
    "device_serial_number": ("SN-SOMATOM-55317",),
    "url": ("https://patients.example.org/quitte",),
    "ip_address": ("203.0.113.86",),
    "biometric_identifier": ("fingerprint-7f3a91c2",),
    "photograph": ("face_quittenbaum.jpg",),
    "other_unique_number": ("ACC-2019-5567812", "1.2.826.0.1.3680043.8.498.7777", "dr_zirbelnuss"),
}
"""By kind, the texts that must not come out."""
COLUMNS = [kind for kind in PLANTED if kind != "date"]
"""Kinds that stand in ignored columns of the clinical table."""
_BIRTH, _STUDY = (text.replace("-", "") for text in PLANTED["date"])
FOLDER = f"{PLANTED['name'][0]}_{PLANTED['name'][1]}_{_BIRTH}"
BROKEN, WITHOUT_MASK, PLAIN_FILE = "001", "002", "003"
"""Ends of the keys of patients whose image cannot be read, whose mask is absent, and whose image is a NIfTI file."""


def clinical_rows(rng: np.random.Generator, prefix: str, n: int) -> pd.DataFrame:
    """Charts with outcomes, and a column per kind of identifier."""
    mets = rng.integers(1, 9, n)
    recurs = rng.exponential(30 * np.exp(-0.3 * (mets - 3)))
    months = np.minimum(recurs, rng.uniform(8, 60, n)).round(2)
    event = months >= recurs.round(2)
    days = pd.to_datetime(PLANTED["date"][1]) - pd.to_timedelta(rng.integers(0, 3, n), unit="D")
    table = pd.DataFrame(
        {
            "patient_id": [f"{prefix}{k:03d}" for k in range(n)],
            "age_years": rng.uniform(40, 80, n).round(1),
            "cea_ng_ml": rng.lognormal(2, 1, n).round(1),
            "n_liver_mets": mets,
            "largest_met_mm": rng.uniform(10, 90, n).round(0),
            "node_positive_primary": rng.random(n) < 0.5,
            "primary_diagnosis_date": "2018-11-03",
            "crlm_diagnosis_date": pd.Series(days).dt.strftime("%Y-%m-%d"),
            "recurrence_any": event,
            "rfs_event": event,
            "rfs_months": months,
            "liver_rfs_event": event,
            "liver_rfs_months": months,
            "birth": PLANTED["date"][0],
        }
    )
    table.loc[0, "crlm_diagnosis_date"] = PLANTED["date"][1]
    return table.assign(**{kind: " / ".join(PLANTED[kind]) for kind in COLUMNS})


def identify(one: Dataset) -> None:
    """Identifiers in the tags of a DICOM object, private ones and nested ones included."""
    one.PatientName = "^".join(PLANTED["name"])
    one.PatientID, one.OtherPatientIDs = PLANTED["medical_record_number"][0], PLANTED["social_security_number"][0]
    one.PatientBirthDate = _BIRTH
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(one, keyword, _STUDY)
    one.AccessionNumber, one.StudyID = PLANTED["other_unique_number"][0], PLANTED["account_number"][0][:16]
    one.PatientAddress = ", ".join(PLANTED["address"])
    one.PatientTelephoneNumbers = [PLANTED["telephone"][0].replace(" ", ""), PLANTED["telephone"][0]]
    one.PatientInsurancePlanCodeSequence = []
    one.MilitaryRank, one.BranchOfService = PLANTED["vehicle_number"][0], PLANTED["licence_number"][0]
    one.DeviceSerialNumber, one.StationName = PLANTED["device_serial_number"][0], PLANTED["ip_address"][0]
    one.RetrieveURL = PLANTED["url"][0]
    one.OperatorsName = one.ReferringPhysicianName = PLANTED["other_unique_number"][2]
    one.PatientComments = f"{PLANTED['biometric_identifier'][0]} {PLANTED['photograph'][0]} {PLANTED['email'][0]}"
    one.AdditionalPatientHistory = f"{PLANTED['fax'][0]} {PLANTED['account_number'][0]} {PLANTED['url'][0]}"
    one.StudyDescription = one.ProtocolName = PLANTED["name"][0]
    one.private_block(0x0011, "QUITTENBAUM", create=True).add_new(0x01, "LO", PLANTED["insurance_number"][0])
    nested = Dataset()
    nested.PatientID, nested.TypeOfPatientID = PLANTED["insurance_number"][0], "TEXT"
    one.OtherPatientIDsSequence = [nested]


def volume_and_mask(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A liver with one or two lesions, in HU, and their mask."""
    shape = (9, 26, 28)
    image = rng.normal(100, 12, shape)
    mask = np.zeros(shape, dtype=np.uint8)
    z, y, x = np.indices(shape)
    for k in range(int(rng.integers(1, 3))):
        centre, radius = np.array([4, 8 + 9 * k, 8 + 9 * k]), rng.uniform(3, 4.5)
        inside = ((z - centre[0]) * 1.5) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2
        image[inside] = rng.normal(60, 14, int(inside.sum()))
        mask[inside] = k + 1
    return image.round().astype(np.int16), mask


def _write_nifti(path: Path, array: np.ndarray) -> None:
    """A NIfTI file with a name and a number in its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(array, (0.8, 0.8, 2.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)), path)
    data = bytearray(gzip.decompress(path.read_bytes()))
    for start, size, text in ((148, 80, " ".join(PLANTED["name"])), (228, 24, PLANTED["medical_record_number"][0])):
        data[start : start + size] = text.encode().ljust(size, b"\0")
    path.write_bytes(gzip.compress(bytes(data)))


def write_scan(folder: Path, key: str, rng: np.random.Generator) -> dict[str, object]:
    """One scan in a folder that bears the name of the patient; its row of the manifest."""
    place = Path(FOLDER) / f"{PLANTED['other_unique_number'][0]}_{key}"
    image, mask = volume_and_mask(rng)
    row = {"patient_id": key, "timepoint": "preoperative", "modality": "CT", "sequence": "portal_venous"}
    row |= {"image": str(place), "mask": str(place / "seg" / PLANTED["photograph"][0]), "mask_roles": "lesion=*"}
    if key.endswith(PLAIN_FILE):
        for name, array in (("image", image), ("mask", mask)):
            row[name] = str(place / f"{PLANTED['photograph'][0]}_{name}.nii.gz")
            _write_nifti(folder / str(row[name]), array)
        return row
    series = Series(patient=key, spacing=(0.8, 0.8, 2.0), description=PLANTED["name"][0], date=_STUDY)
    slices = image_slices(image, series)
    drawn = {f"lesion {PLANTED['name'][0]} {k}": mask == k for k in range(1, int(mask.max()) + 1)}
    seg = segmentation(slices, drawn, description=PLANTED["name"][0])
    for one in (*slices, seg):
        identify(one)
    seg.ContentCreatorName = PLANTED["other_unique_number"][2]
    save_all(folder / place, slices, prefix=FOLDER)
    save_one(folder / str(row["mask"]), seg)
    if key.endswith(BROKEN):
        for path in sorted((folder / place).glob("*.dcm"))[2:5]:
            path.write_bytes(path.read_bytes()[:1500])
    if key.endswith(WITHOUT_MASK):
        (folder / str(row["mask"])).unlink()
    return row


def write_cohort(folder: Path, *, prefix: str, n: int, seed: int = 0) -> Path:
    """A cohort folder full of identifiers; the keys of the patients (``P000``, ``P001``, ...) are none."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    table = clinical_rows(rng, prefix, n)
    table.to_csv(folder / "clinical.csv", index=False)
    pd.DataFrame([write_scan(folder, key, rng) for key in table["patient_id"]]).to_csv(
        folder / "imaging.csv", index=False
    )
    notes = yaml.safe_dump({"ignore_columns": [*COLUMNS, "birth"]})
    comments = "".join(f"# {kind}: {' '.join(texts)}\n" for kind, texts in PLANTED.items())
    (folder / "cohort.yaml").write_text(comments + notes, encoding="utf-8")
    (folder / f".{PLANTED['photograph'][0]}").write_bytes(b"\xff\xd8 a photograph")
    return folder


def _forms(kind: str, text: str) -> set[str]:
    """How an identifier may be written, in lower case."""
    if kind != "date":
        plain = re.sub(r"[ +]", "", text)
        return {form.lower() for form in (text, text.replace(" ", "_"), plain, plain.replace("-", ""))}
    day = pd.Timestamp(text)
    numbers = ("%Y-%m-%d", "%Y%m%d", "%Y.%m.%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y_%m_%d")
    words = ("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y")
    return {day.strftime(pattern).lower() for pattern in (*numbers, *words)}


_WANTED = {kind: sorted({f.encode() for text in texts for f in _forms(kind, text)}) for kind, texts in PLANTED.items()}
_PART_OF_A_NUMBER = rb"(?<![0-9a-f.])%s(?![0-9a-f])"


def _holds(data: bytes, kind: str) -> bool:
    """Eight digits of a date count only where they are no part of a longer number or of a hash."""
    present = [form for form in _WANTED[kind] if form in data]
    return any(not form.isdigit() or re.search(_PART_OF_A_NUMBER % form, data) for form in present)


def hits(*folders: Path) -> dict[str, set[str]]:
    """By kind of identifier, the files (or names of files) in which it was found."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            parts: Iterator[bytes] = iter([name.encode()])
            for piece in (*parts, *(contents(path) if path.is_file() and not path.is_symlink() else ())):
                for kind in hits_in(piece):
                    found.setdefault(kind, set()).add(name)
    return found


def hits_in(data: bytes) -> set[str]:
    """Kinds of identifiers in some bytes: as they are, as UTF-16, and with the escapes of HTML and URLs undone."""
    forms = [data.lower()]
    if b"\0" in data:
        forms.append(forms[0].replace(b"\0", b""))
    else:
        plain = unquote(html.unescape(data.decode("utf-8", errors="replace"))).lower()
        forms.append(plain.encode("utf-8", errors="replace"))
    return {kind for kind in PLANTED if any(_holds(form, kind) for form in forms)}


def contents(path: Path) -> Iterator[bytes]:
    """All that a file holds: its bytes, and what is packed in them."""
    data = path.read_bytes()
    yield data
    yield from unpacked(data)
    if data[:4] == b"PAR1":
        yield from _parquet(path)
    if data[:15] == b"SQLite format 3":
        with closing(sqlite3.connect(path)) as store:
            yield "\n".join(store.iterdump()).encode()
    if data[:5] == b"%PDF-":
        yield from _pdf(path)


def unpacked(data: bytes) -> Iterator[bytes]:
    """gzip, zip, zlib streams (of PNG and PDF), and files inside ``data:`` addresses of a page."""
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:4] == b"PK\3\4":
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            yield from (name.encode() + packed.read(name) for name in packed.namelist())
    if data[:8] == b"\x89PNG\r\n\x1a\n" or data[:5] == b"%PDF-":
        yield from _streams(data)
    for match in re.finditer(rb"base64,([A-Za-z0-9+/=\s]{40,})", data):
        try:
            inside = base64.b64decode(match[1])
        except binascii.Error:
            continue
        yield inside
        yield from unpacked(inside)


def _streams(data: bytes) -> Iterator[bytes]:
    for match in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data):
        opened = zlib.decompressobj()
        try:
            yield opened.decompress(data[match.start() :])
        except zlib.error:
            continue


def _parquet(path: Path) -> Iterator[bytes]:
    table = pq.read_table(path)
    metadata = pq.read_metadata(path).metadata or {}
    yield b"\n".join(key + b"=" + value for key, value in metadata.items())
    yield table.to_pandas().to_csv(index=True).encode()


def _pdf(path: Path) -> Iterator[bytes]:
    reader = PdfReader(path)
    yield "\n".join([str(reader.metadata), *(page.extract_text() for page in reader.pages)]).encode()
