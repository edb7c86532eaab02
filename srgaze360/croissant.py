"""``croissant.json``: what a built dataset is, for machines (Croissant 1.1, with the responsible-AI vocabulary).

Conventions
-----------
JSON-LD of https://docs.mlcommons.org/croissant (a schema.org Dataset): the files with their SHA-256 (panoramas as one file set;
``manifest.jsonl`` has the SHA-256 of each), and two sets of records: ``people``, a field per column of ``annotations.parquet``,
and ``panoramas``, the images. ``people/image_path`` equals ``panoramas/path``; the link is not declared as a reference, because
readers would then decode every panorama to list the people.

The file depends on the dataset alone. Where and when it is published is not known to the builder: ``url`` and
``date_published`` are for whoever publishes it. ``mlcroissant validate --jsonld croissant.json`` checks it, offline.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from srgaze360.dataset import ANNOTATIONS_FILE, COLUMNS, INFO_FILE, MANIFEST_FILE, REJECTED_FILE, DatasetInfo
from srgaze360.errors import InputError
from srgaze360.files import digest_file, write_text

CROISSANT_FILE = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
# The context that mlcroissant 1.1 expects of every Croissant 1.1 file.
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty"),
            *("fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
            *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"),
            *("source", "subField", "transform"),
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "sc": "https://schema.org/",
}
# file: its media type, and what it is
FILES: Mapping[str, tuple[str, str]] = {
    ANNOTATIONS_FILE: ("application/x-parquet", "One row per person on a panorama."),
    INFO_FILE: ("application/yaml", "What the dataset is: recipe, digests, versions, splits."),
    MANIFEST_FILE: ("application/jsonlines", "Bytes, SHA-256, label digest and pixel digest of every panorama."),
    REJECTED_FILE: ("text/csv", "Every source row that was not used, and why."),
}
IMAGE_TYPES: Mapping[str, str] = {".jpg": "image/jpeg", ".png": "image/png"}


def write_croissant(out: Path, info: DatasetInfo, *, url: str | None = None, date_published: str | None = None) -> None:
    """Write ``croissant.json`` of the finished dataset in folder ``out``.

    Parameters
    ----------
    out
        The dataset's folder; its files are there already.
    info
        The dataset's record.
    url, date_published
        Where and when (ISO 8601) it was published, if it was.

    Raises
    ------
    InputError
        ``annotations.parquet`` is missing or not readable.
    """
    write_text(out / CROISSANT_FILE, _pretty(croissant(out, info, url=url, date_published=date_published)))


def croissant(out: Path, info: DatasetInfo, *, url: str | None = None, date_published: str | None = None) -> dict[str, Any]:
    """The JSON-LD of :func:`write_croissant`."""
    try:
        schema = pq.read_schema(out / ANNOTATIONS_FILE)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise InputError(
            f"Expected the annotations of a built dataset in {out}, but {ANNOTATIONS_FILE} cannot be read: {error}. Build the "
            "dataset first."
        ) from None
    sources = [*info.sources, *info.backgrounds]
    published = {"url": url, "datePublished": date_published}
    return {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": info.name,
        "version": info.version,
        "description": _description(info),
        "creator": {"@type": "sc:Organization", "name": "SRGaze360"},
        "license": [f"{source.title}: {source.licence}" for source in sources],
        "citeAs": "\n".join(source.citation.strip() for source in sources),
        "keywords": ["gaze following", "360-degree images", "equirectangular", "sphere-to-plane distortion"],
        **{key: value for key, value in published.items() if value is not None},
        **_responsible_ai(info),
        "distribution": _distribution(out),
        "recordSet": [_people(schema), _panoramas()],
    }


def _pretty(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _description(info: DatasetInfo) -> str:
    panoramas = sum(split.panoramas for split in info.splits.values())
    people = sum(split.people for split in info.splits.values())
    title = f"{info.recipe['title']}. " if info.recipe.get("title") else ""
    kinds = ", ".join(source.kind for source in info.sources)
    return (
        f"{title}Gaze following in 360-degree images: {people} people on {panoramas} equirectangular panoramas, made by "
        f"reprojecting photos with gaze labels ({kinds}) onto the sphere under stated conditions of distortion "
        f"(suites: {', '.join(info.suites)}). Label digest {info.label_digest}."
    )


def _responsible_ai(info: DatasetInfo) -> dict[str, Any]:
    """What the responsible-AI vocabulary asks and the builder knows."""
    sources = ", ".join(source.title for source in info.sources)
    repaired = sum(sum(source.repaired.values()) for source in info.sources)
    return {
        "rai:dataCollection": f"No images were taken: photos and gaze labels come from {sources}, and were reprojected.",
        "rai:dataCollectionType": ["Secondary Data Analysis"],
        "rai:dataCollectionMissingData": (
            f"{info.rejected} source rows are not used, each listed in {REJECTED_FILE} with its reason. The gaze is null where "
            "the target's direction is unknown, as it is for most targets outside their photo."
        ),
        "rai:dataPreprocessingProtocol": [
            f"Photos are lifted to rays through a camera model and sampled onto the sphere ({info.sampler}); labels go through "
            "the same camera. The recipe, with its seed, is in dataset.yaml."
        ],
        "rai:dataImputationProtocol": f"{repaired} source labels were repaired; the column repairs says how.",
        "rai:dataAnnotationProtocol": [
            "The labels are those of the sources; see their papers for who gave them, and how.",
            *(f"Changed after version {before.version}: {_said(before.changes)}." for before in info.revisions),
        ],
        "rai:dataBiases": [
            "The biases of the sources stay. A photo covers a few per cent of the sphere, so head and target are close "
            "together; an empty background tells where to look."
        ],
        "rai:dataLimitations": [
            "The focal lengths of the source photos are mostly unknown: the field of view is a condition, not a measurement."
        ],
        "rai:dataUseCases": ["Training and testing of gaze following on panoramas, by condition of distortion."],
        "rai:personalSensitiveInformation": [
            "People can be recognised in photographic sources. The dataset adds no identities; the terms of the sources apply."
        ],
    }


def _said(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} ({count})" for what, count in sorted(counts.items()))


def _distribution(out: Path) -> list[dict[str, Any]]:
    files = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "description": what,
            "contentUrl": name,
            "contentSize": f"{(out / name).stat().st_size} B",
            "encodingFormat": media_type,
            "sha256": digest_file(out / name),
        }
        for name, (media_type, what) in FILES.items()
        if (out / name).is_file()
    ]
    return [
        *files,
        {
            "@type": "cr:FileSet",
            "@id": "panorama-files",
            "name": "panoramas",
            "description": f"The panoramas; {MANIFEST_FILE} has the SHA-256 of each.",
            "encodingFormat": list(IMAGE_TYPES.values()),
            "includes": [f"panoramas/*/*{suffix}" for suffix in IMAGE_TYPES],
        },
    ]


def _people(schema: pa.Schema) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "people",
        "name": "people",
        "description": "One record per person on a panorama.",
        "key": {"@id": "people/sample_id"},
        "field": [_column(field) for field in schema],
    }


def _column(field: pa.Field) -> dict[str, Any]:
    meaning = COLUMNS[field.name].meaning if field.name in COLUMNS else "a fact that the source knows about the person"
    data_type = field.type
    shape: list[str] = []
    while pa.types.is_list(data_type):
        # points are pairs; how many there are differs from row to row
        shape.append("2" if shape else "-1")
        data_type = data_type.value_type
    return {
        "@type": "cr:Field",
        "@id": f"people/{field.name}",
        "name": field.name,
        "description": meaning,
        "dataType": _data_type(data_type),
        **({"isArray": True, "arrayShape": ",".join(shape)} if shape else {}),
        "source": {"fileObject": {"@id": ANNOTATIONS_FILE}, "extract": {"column": field.name}},
    }


def _data_type(data_type: pa.DataType) -> str:
    if pa.types.is_boolean(data_type):
        return "sc:Boolean"
    if pa.types.is_integer(data_type):
        return f"cr:Int{data_type.bit_width}"
    return "cr:Float64" if pa.types.is_floating(data_type) else "sc:Text"


def _panoramas() -> dict[str, Any]:
    columns: Sequence[tuple[str, str, str, str]] = (
        ("path", "sc:Text", "fullpath", "The panorama's file, as in people/image_path."),
        ("image", "sc:ImageObject", "content", "The equirectangular panorama."),
    )
    return {
        "@type": "cr:RecordSet",
        "@id": "panoramas",
        "name": "panoramas",
        "description": "One record per panorama.",
        "key": {"@id": "panoramas/path"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"panoramas/{name}",
                "name": name,
                "description": what,
                "dataType": data_type,
                "source": {"fileSet": {"@id": "panorama-files"}, "extract": {"fileProperty": extract}},
            }
            for name, data_type, extract, what in columns
        ],
    }
