"""Language tags: from engines' names to BCP-47, and from what a caller asks for to the nearest that is spoken.

Look-up follows RFC 4647 section 3.4: subtags are dropped from the right until something matches.
"""

from __future__ import annotations

DEFAULT = "en-US"

_MACROLANGUAGES = {
    "zh": "cmn", "no": "nb", "nn": "nb", "iw": "he", "in": "id", "ji": "yi", "hbs": "hr", "sh": "hr", "mo": "ro",
    "arb": "ar", "pes": "fa", "prs": "fa", "swh": "sw", "zsm": "ms", "ekk": "et", "lvs": "lv", "ory": "or", "npi": "ne",
    "azj": "az", "uzn": "uz", "als": "sq", "kmr": "ku", "pnb": "pa", "tlh": "piqd", "eng": "en", "fra": "fr",
    "deu": "de", "spa": "es", "hin": "hi", "por": "pt", "ita": "it", "rus": "ru", "jpn": "ja", "kor": "ko",
}  # fmt: skip
"""Codes that name the same language, or the one that is spoken for a group (ISO 639-3 macrolanguages)."""

_CANTONESE_REGIONS = ("zh-hk", "zh-mo", "zh-hant-hk", "zh-hant-mo", "zh-yue")

_PREFERRED = {
    "en": "en-us", "pt": "pt", "fr": "fr-fr", "vi": "vi", "es": "es", "hy": "hy", "ca": "ca", "ru": "ru", "fa": "fa",
    "cmn": "cmn", "yue": "yue",
}  # fmt: skip
"""The voice of a language that is asked for without a region, where espeak has several."""

_NEAREST_REGION = {
    **dict.fromkeys(("en-au", "en-nz", "en-ie", "en-in", "en-za", "en-sg", "en-hk", "en-ke", "en-ng"), "en-gb"),
    **dict.fromkeys(("en-jm", "en-tt", "en-bb", "en-bs"), "en-029"),
    **dict.fromkeys(("pt-ao", "pt-mz"), "pt"),
    **dict.fromkeys(
        ("es-mx", "es-ar", "es-co", "es-cl", "es-pe", "es-ve", "es-us", "es-ec", "es-gt", "es-cu"), "es-419"
    ),
    **dict.fromkeys(
        ("es-bo", "es-do", "es-hn", "es-py", "es-sv", "es-ni", "es-cr", "es-pa", "es-uy", "es-pr"), "es-419"
    ),
}

_BCP47 = {
    "cmn": "zh-CN", "cmn-latn-pinyin": "zh-Latn-pinyin", "piqd": "tlh-Piqd", "py": "art-x-pyash",
    "xex": "art-x-xextan", "ru-cl": "ru-x-classic", "en-us-nyc": "en-US-x-nyc", "ca-ba": "ca-x-balear",
    "ca-nw": "ca-x-north", "ca-va": "ca-valencia", "chr-us-qaaa-x-west": "chr", "pt": "pt-PT", "es": "es-ES",
}  # fmt: skip
"""espeak's names that are not valid tags, mean something else as tags (ru-CL is Chile's Russian), or lack a region."""


def to_bcp47(name: str) -> str:
    """The BCP-47 tag of the language that espeak calls `name`, in the recommended case: "pt-br" → "pt-BR"."""
    return _BCP47.get(name) or with_case(name)


def with_case(tag: str) -> str:
    """`tag` in the case that RFC 5646 section 2.1.1 recommends."""
    first, *rest = tag.replace("_", "-").lower().split("-")
    cased = [first]
    for subtag in rest:
        private = any(len(previous) == 1 for previous in cased)
        cased.append(subtag if private else _subtag_with_case(subtag))
    return "-".join(cased)


def _subtag_with_case(subtag: str) -> str:
    if len(subtag) == 2:
        return subtag.upper()
    return subtag.capitalize() if len(subtag) == 4 and subtag.isalpha() else subtag


def candidates(tag: str) -> list[str]:
    """What may be spoken for `tag`, in lower case, best first."""
    tag = tag.strip().replace("_", "-").lower()
    found = [tag]
    if tag.startswith(_CANTONESE_REGIONS):
        found.append("yue")
    found.append(_NEAREST_REGION.get(tag, ""))
    while "-" in tag:
        tag = tag.rpartition("-")[0]
        found.append(tag)
    primary = _MACROLANGUAGES.get(tag, tag)
    found += [_PREFERRED.get(primary, ""), primary]
    # A bare language takes its preferred voice before the first that claims the language.
    if "-" not in found[0] and primary in _PREFERRED:
        found.insert(0, _PREFERRED[primary])
    return [candidate for candidate in found if candidate]


def primary(tag: str) -> str:
    """The language itself, so that two tags can be compared: "zh-CN" and "cmn" are both "cmn"."""
    lowered = tag.strip().replace("_", "-").lower()
    if lowered.startswith(_CANTONESE_REGIONS):
        return "yue"
    first = lowered.partition("-")[0]
    return _MACROLANGUAGES.get(first, first)
