"""What English and Hindi call things that are written with signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Named = tuple[str, str]
"""Of one, of several."""


@dataclass(frozen=True, slots=True)
class Currency:
    major: Named
    minor: Named


@dataclass(frozen=True, slots=True)
class Words:
    """One language's."""

    months: tuple[str, ...]
    month_names: Mapping[str, int]  # as they are written, in lower case and without a full stop
    currencies: Mapping[str, Currency]  # by sign and by ISO 4217 code
    units: Mapping[str, Named]
    abbreviations: Mapping[str, str]  # with their full stop
    symbols: Mapping[str, str]
    scales: Mapping[str, str]  # behind an amount of money
    and_: str
    percent: str
    to: str
    at: str
    dot: str
    slash: str
    number: str
    emoji: Mapping[str, str] | None  # None: the names that Unicode has


_MONTHS_EN = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MONTHS_HI = (
    "जनवरी", "फ़रवरी", "मार्च", "अप्रैल", "मई", "जून", "जुलाई", "अगस्त", "सितंबर", "अक्टूबर", "नवंबर", "दिसंबर",
)  # fmt: skip


def _names(months: tuple[str, ...], short: bool) -> dict[str, int]:
    names = {name.lower(): number for number, name in enumerate(months, 1)}
    return names | {name[:3].lower(): number for number, name in enumerate(months, 1)} if short else names


def _currencies(rows: Mapping[str, tuple[str, str, str, str]]) -> dict[str, Currency]:
    made = {}
    for keys, (one, several, small, smalls) in rows.items():
        made.update(dict.fromkeys(keys.split(), Currency((one, several), (small, smalls))))
    return made


def _units(rows: str) -> dict[str, Named]:
    """ "kg kilogram kilograms" a line; words of a unit are joined with "_"."""
    made = {}
    for row in rows.strip().splitlines():
        unit, one, several = row.split()
        made[unit] = (one.replace("_", " "), several.replace("_", " "))
    return made


ENGLISH = Words(
    months=_MONTHS_EN,
    month_names=_names(_MONTHS_EN, short=True) | {"sept": 9},
    currencies=_currencies(
        {
            "$ USD US$": ("dollar", "dollars", "cent", "cents"),
            "€ EUR": ("euro", "euros", "cent", "cents"),
            "£ GBP": ("pound", "pounds", "penny", "pence"),
            "₹ INR Rs Rs.": ("rupee", "rupees", "paisa", "paise"),
            "¥ JPY": ("yen", "yen", "sen", "sen"),
            "CHF": ("Swiss franc", "Swiss francs", "centime", "centimes"),
            "CAD C$": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
            "AUD A$": ("Australian dollar", "Australian dollars", "cent", "cents"),
            "₽ RUB": ("rouble", "roubles", "kopeck", "kopecks"),
            "₩ KRW": ("won", "won", "jeon", "jeon"),
            "CNY": ("yuan", "yuan", "fen", "fen"),
        }
    ),
    units=_units(
        """
        km kilometre kilometres
        m metre metres
        cm centimetre centimetres
        mm millimetre millimetres
        mi mile miles
        ft foot feet
        yd yard yards
        kg kilogram kilograms
        g gram grams
        mg milligram milligrams
        lb pound pounds
        lbs pound pounds
        oz ounce ounces
        l litre litres
        L litre litres
        ml millilitre millilitres
        mL millilitre millilitres
        s second seconds
        sec second seconds
        ms millisecond milliseconds
        min minute minutes
        h hour hours
        hr hour hours
        hrs hour hours
        km/h kilometre_per_hour kilometres_per_hour
        mph mile_per_hour miles_per_hour
        m/s metre_per_second metres_per_second
        °C degree_Celsius degrees_Celsius
        °F degree_Fahrenheit degrees_Fahrenheit
        ° degree degrees
        Hz hertz hertz
        kHz kilohertz kilohertz
        MHz megahertz megahertz
        GHz gigahertz gigahertz
        kB kilobyte kilobytes
        KB kilobyte kilobytes
        MB megabyte megabytes
        GB gigabyte gigabytes
        TB terabyte terabytes
        W watt watts
        kW kilowatt kilowatts
        kWh kilowatt_hour kilowatt_hours
        V volt volts
        dB decibel decibels
        m² square_metre square_metres
        km² square_kilometre square_kilometres
        m³ cubic_metre cubic_metres
        """
    ),
    abbreviations={
        "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Dr.": "Doctor", "Prof.": "Professor", "Jr.": "Junior",
        "Sr.": "Senior", "vs.": "versus", "etc.": "et cetera", "e.g.": "for example", "i.e.": "that is",
        "approx.": "approximately", "dept.": "department", "Gov.": "Governor", "Sen.": "Senator", "Gen.": "General",
        "Capt.": "Captain", "Sgt.": "Sergeant", "Lt.": "Lieutenant", "Rev.": "Reverend", "Mt.": "Mount",
        "Ave.": "Avenue", "Blvd.": "Boulevard", "Inc.": "Incorporated", "Ltd.": "Limited", "Co.": "Company",
        "Corp.": "Corporation", "Fig.": "Figure", "a.k.a.": "also known as", "w/": "with",
    },
    symbols={
        "&": "and", "@": "at", "+": "plus", "=": "equals", "×": "times", "÷": "divided by", "±": "plus or minus",
        "≈": "about", "<": "less than", ">": "greater than", "≤": "at most", "≥": "at least", "#": "hash",
        "©": "copyright", "®": "registered", "™": "trademark", "§": "section", "→": "to", "•": ",", "*": "",
        "~": "about", "_": " ", "^": "", "|": ",",
        "½": "one half", "¼": "one quarter", "¾": "three quarters", "⅓": "one third",
        "⅔": "two thirds", "%": "percent", "°": "degrees", "$": "dollars", "€": "euros", "£": "pounds", "₹": "rupees",
    },
    scales={
        "hundred": "hundred", "thousand": "thousand", "million": "million", "billion": "billion",
        "trillion": "trillion", "lakh": "lakh", "crore": "crore", "k": "thousand", "K": "thousand", "M": "million",
        "m": "million", "bn": "billion", "B": "billion",
    },
    and_="and", percent="percent", to="to", at="at", dot="dot", slash="slash", number="number", emoji=None,
)  # fmt: skip

HINDI = Words(
    months=_MONTHS_HI,
    month_names=_names(_MONTHS_HI, short=False) | {"फरवरी": 2, "सितम्बर": 9, "नवम्बर": 11, "दिसम्बर": 12, "अक्तूबर": 10},
    currencies=_currencies(
        {
            "₹ INR Rs Rs. रु रु.": ("रुपया", "रुपये", "पैसा", "पैसे"),
            "$ USD US$": ("डॉलर", "डॉलर", "सेंट", "सेंट"),
            "€ EUR": ("यूरो", "यूरो", "सेंट", "सेंट"),
            "£ GBP": ("पाउंड", "पाउंड", "पेंस", "पेंस"),
            "¥ JPY": ("येन", "येन", "सेन", "सेन"),
        }
    ),
    units=_units(
        """
        km किलोमीटर किलोमीटर
        किमी किलोमीटर किलोमीटर
        कि.मी. किलोमीटर किलोमीटर
        m मीटर मीटर
        मी मीटर मीटर
        cm सेंटीमीटर सेंटीमीटर
        सेमी सेंटीमीटर सेंटीमीटर
        mm मिलीमीटर मिलीमीटर
        kg किलोग्राम किलोग्राम
        किग्रा किलोग्राम किलोग्राम
        कि.ग्रा. किलोग्राम किलोग्राम
        g ग्राम ग्राम
        ग्रा ग्राम ग्राम
        mg मिलीग्राम मिलीग्राम
        l लीटर लीटर
        ली लीटर लीटर
        ml मिलीलीटर मिलीलीटर
        km/h किलोमीटर_प्रति_घंटा किलोमीटर_प्रति_घंटा
        °C डिग्री_सेल्सियस डिग्री_सेल्सियस
        °F डिग्री_फ़ारेनहाइट डिग्री_फ़ारेनहाइट
        ° डिग्री डिग्री
        s सेकंड सेकंड
        min मिनट मिनट
        h घंटा घंटे
        MB मेगाबाइट मेगाबाइट
        GB गीगाबाइट गीगाबाइट
        """
    ),
    abbreviations={
        "डॉ.": "डॉक्टर", "डा.": "डॉक्टर", "प्रो.": "प्रोफ़ेसर", "श्रीम.": "श्रीमती", "स्व.": "स्वर्गीय", "पं.": "पंडित",
        "सं.": "संख्या", "ई.": "ईस्वी", "Dr.": "डॉक्टर", "Mr.": "मिस्टर", "Mrs.": "मिसेज़",
    },
    symbols={
        "&": "और", "@": "ऐट", "+": "जमा", "=": "बराबर", "×": "गुणा", "÷": "भाग", "±": "जमा या घटा", "<": "से कम",
        ">": "से ज़्यादा", "#": "हैश", "©": "कॉपीराइट", "®": "रजिस्टर्ड", "™": "ट्रेडमार्क", "•": ",", "*": "", "~": "लगभग",
        "_": " ", "^": "", "|": ",", "½": "आधा", "¼": "चौथाई", "¾": "पौन", "%": "प्रतिशत", "°": "डिग्री", "$": "डॉलर",
        "€": "यूरो", "£": "पाउंड", "₹": "रुपये",
    },
    scales={"हज़ार": "हज़ार", "हजार": "हज़ार", "लाख": "लाख", "करोड़": "करोड़", "अरब": "अरब", "lakh": "लाख", "crore": "करोड़"},
    and_="और", percent="प्रतिशत", to="से", at="ऐट", dot="डॉट", slash="स्लैश", number="संख्या",
    emoji={
        "😀": "मुस्कुराता चेहरा", "😂": "खुशी के आँसू", "😊": "मुस्कुराता चेहरा", "😍": "दिल वाली आँखें", "😢": "रोता चेहरा",
        "😭": "ज़ोर से रोता चेहरा", "😡": "गुस्से वाला चेहरा", "👍": "अंगूठा ऊपर", "👎": "अंगूठा नीचे", "🙏": "हाथ जोड़कर",
        "❤": "लाल दिल", "🔥": "आग", "🎉": "जश्न", "👏": "ताली", "🌹": "गुलाब",
        "☀": "सूरज", "⭐": "तारा", "✅": "सही का निशान",
        "❌": "गलत का निशान", "🇮🇳": "भारत का झंडा",
    },
)  # fmt: skip

BY_LANGUAGE = {"en": ENGLISH, "hi": HINDI}
