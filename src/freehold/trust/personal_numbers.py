"""Numbers that stand for a person: telephones, national numbers, bank and card numbers, documents.

A number is found by a form that nothing else has and its check digits, or by the words before it (whatever
its digits, since people mistype
and forms differ). Check digits are python-stdnum's, telephone plans phonenumbers'.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from functools import cache

from freehold.trust.personal_rules import Match, Rule, Traits, has, is_sum_or_amount, names_a_thing


def _valid(module: str) -> Callable[[Match], bool]:
    """A check by a module of python-stdnum, loaded when first asked."""

    def check(match: Match) -> bool:
        return bool(_stdnum(module)(match.value))

    return check


@cache
def _stdnum(module: str) -> Callable[[str], bool]:
    return importlib.import_module(f"stdnum.{module}").is_valid


# -- bank and cards -------------------------------------------------------------------------------

_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30})")
#: First digits and lengths of card numbers by network.
_NETWORKS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"6(?:011|4[4-9]|5)"), (16, 19)),
    (re.compile(r"3(?:0[0-5]|[689])"), (14, 16)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 19)),
    (re.compile(r"62|81"), (16, 17, 18, 19)),
    (re.compile(r"50|5[6-9]|6[0-9]"), (16, 18, 19)),
    (re.compile(r"220[0-4]"), (16, 19)),
)


def _ibans(text: str) -> list[Match]:
    """IBANs of any length that their country has, spaces and hyphens allowed; what follows one is cut off."""
    matches: list[Match] = []
    for match in _IBAN.finditer(text):
        for end in range(match.end(), match.start() + 14, -1):
            value = text[match.start() : end]
            if value[-1].isalnum() and not text[end : end + 1].isalnum() and _stdnum("iban")(value):
                matches.append(Match(text, match.start(), end))
                break
    return matches


class _IbanRule(Rule):
    """IBANs, whose end only their check digits tell."""

    def matches(self, text: str, traits: Traits) -> list[Match]:
        return _ibans(text) if traits.digits >= 10 else []


def _card(match: Match) -> bool:
    number = match.digits
    network = any(first.match(number) and len(number) in sizes for first, sizes in _NETWORKS)
    if not network or len(set(number)) == 1 or not _stdnum("luhn")(number):
        return False
    grouped = len(number) < len(match.value)
    return grouped or not (names_a_thing(match) or is_sum_or_amount(match))


# -- telephones -----------------------------------------------------------------------------------

_PHONE = re.compile(
    r"(?<![A-Za-z0-9_.,/:-])(?<!\d )([+(]{0,2}\d{1,15}(?:[ "
    r"\u00a0()./–-]{1,3}\d{1,12}){0,6})(?![A-Za-z0-9_-])(?![.,]\d)(?! ?\d)"
)
_PHONE_WORD = re.compile(
    r"(?<![A-Za-zÀ-ÿ])(?:call|phoned?|ph|tel|telephone|mobile|mob|cell|fax|whatsapp|sms|"
    r"text|ring|reach|dial|contact|number is|my number\w*|number['’]s|hotline|callback|"
    r"signal|handy|telefon\w*|"
    r"mobil\w*|handynummer|rückruf|nummer|erreichbar|rufen|anrufen|durchwahl|téléphone|"
    r"tél|portable|appele[zr]|joindre|numéro|teléfono|móvil|"
    r"celular|llám\w+|telefono|cellulare|chiam\w+|telefone|telemóvel|ligue|telefoon|"
    r"mobiel|bel|tlf|puhelin|telefonnummer|komórka|zadzwoń|"
    r"numer|тел|телефон|звоните|電話|携帯|电话|手机|전화|هاتف)\b\W{0,3}[^\d]{0,25}$",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:(?:19|20)\d{2}[-./ ](?:0?\d|1[0-2])[-./ ](?:[0-2]?\d|3[01])|(?:[0-2]?\d|"
    r"3[01])[-./ ](?:[0-2]?\d|3[01])(?:[-./ ](?:19|20)|[-./])\d{2})"
    r"(?:[ T]+\d{1,2}(?:\D\d{2}){0,2})?|(?:19|20)\d{2}\s?[-–/]\s?(?:19|20)?\d{2}"
)
#: Groups as dates have them, whether there is such a day or not.
_DAY_LIKE = re.compile(r"\d{1,2}[-./]\d{1,2}[-./]\d{4}|\d{4}[-./]\d{1,2}[-./]\d{1,2}")
#: Where a number without a country may be from.
_REGIONS = (
    "US",
    "GB",
    "DE",
    "FR",
    "ES",
    "IT",
    "NL",
    "BE",
    "AT",
    "CH",
    "PL",
    "SE",
    "DK",
    "NO",
    "FI",
    "PT",
    "IE",
    "CZ",
    "AU",
    "NZ",
    "IN",
    "JP",
    "KR",
    "BR",
    "MX",
    "ZA",
    "TR",
    "CN",
    "HK",
    "SG",
)
_NANP = re.compile(r"(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[ .-]\d{4}")


def _phone(match: Match) -> bool:
    value, number = match.value, match.digits
    if not 7 <= len(number) <= 15 or is_sum_or_amount(match) or names_a_thing(match):
        return False
    if _DATE.fullmatch(value) or _DAY_LIKE.fullmatch(value) or _is_book(match):
        return False
    spoken = bool(_PHONE_WORD.search(match.before(45)))
    if value.lstrip("(").startswith(("+", "00")):
        return _international(value)
    if spoken:
        return value.lstrip("(").startswith("0") or " / " not in value
    if len(number) == len(value):
        return False
    return bool(_NANP.fullmatch(value)) or (value.lstrip("(").startswith("0") and _national(value))


def _is_book(match: Match) -> bool:
    number, value = match.digits, match.value
    grouped = len(value) > len(number) or number.startswith(("978", "979"))
    return grouped and len(number) in (10, 13) and _stdnum("isbn")(value)


def _international(value: str) -> bool:
    import phonenumbers

    number = re.sub(r"^00", "+", value.replace("(", "").replace(")", ""))
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return False


def _national(value: str) -> bool:
    """Whether a number with a leading 0 is one in any of the regions."""
    import phonenumbers

    for region in _REGIONS:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(value, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


# -- numbers by the words before them -------------------------------------------------------------

#: What may stand between the words and the number.
_LINK = (
    r"[\s.:#=('\"-]{0,4}(?:(?:number|num|no|nr|nummer|numéro|número|numero|code|id|is|was|"
    r"ist|lautet|est|es|è|on file|:|#)[\s.:#=('\"-]{0,4}){0,3}"
)


def _after(words: str, value: str) -> re.Pattern[str]:
    return re.compile(rf"(?:(?<![^\W_])(?:{words})(?![^\W\d_]){_LINK})({value})", re.IGNORECASE)


#: A number as documents have it: letters, digits and separators, at least five digits.
_DOCUMENT = r"[A-Z0-9]{1,24}(?:[ /.-](?=[A-Z]{0,8}\d|[A-Z]{1,2}\b)[A-Z0-9]{1,16}){0,7}(?![A-Z0-9])"
_SHORT_DOCUMENT = r"[A-Z0-9]{1,24}(?:[/.-][A-Z0-9]{1,16}){0,4}(?![A-Z0-9])"
_NATIONAL = (
    "ssn|social security|social insurance|sin|itin|nino|national insurance|ni number|nhs|"
    "upn|utr|steuer-?id|steuer-?identifikationsnummer|"
    "steueridentifikationsnummer|identifikationsnummer|idnr|steuernummer|"
    "sozialversicherungsnummer|rentenversicherungsnummer|svnr|sv-nummer|rvnr|"
    "personalausweis(?:nummer)?|ausweisnummer|ahv|avs|bsn|burgerservicenummer|sofinummer|"
    "rijksregister(?:nummer)?|insz|niss|nir|"
    "numéro de sécurité sociale|sécurité sociale|sécu|codice fiscale|dni|nie|nif|pesel|"
    "nip|dowód osobisty|cpf|rg|aadhaar|aadhar|pan|"
    "personnummer|fødselsnummer|cpr|henkilötunnus|hetu|amka|afm|rodné číslo|cnp|egn|oib|"
    "isikukood|asmens kodas|t\\.?c\\.? kimlik(?: no)?|"
    "снилс|инн|рнокпп|teudat zehut|id card|identity card|national id|identity|id-nummer|"
    "tax id|tax file|tfn|tin|ird|curp|rfc|cuil|cuit|rut|"
    "cédula|cedula|pps|ppsn|my"
    " number|マイナンバー|身份证号?|身份证号码|주민등록번호|nric|hkid|cnic|nik|kennitala"
)
_MEDICAL = (
    "mrn|medical record|patient id|patient number|patient no|patient nr|"
    "patienten-?nummer|patienten-?id|hospital number|health insurance|"
    "health card|medicare|medicaid|versichertennummer|krankenversichertennummer|"
    "krankenversicherungsnummer|kvnr|insurance id|member id|"
    "chart number|chart|numéro de dossier|dossier médical|historia clínica|cartella clinica|fallnummer"
)
_BANK = (
    "account|acct|a/c|bank account|checking account|savings account|sort code|routing|"
    "aba|konto|kontonummer|kto|blz|bankleitzahl|compte|rib|"
    "cuenta|clabe|conto|conta|rekening(?:nummer)?|bankkonto|rachunek|bsb"
)
_LICENCE = (
    "driver['’]?s? licen[cs]e|driving licen[cs]e|dl|führerschein(?:nummer)?|permis de "
    "conduire|permis|patente|licencia de conducir|"
    "carta de condução|cnh|rijbewijs(?:nummer)?|prawo jazdy|körkort"
)
_PASSPORT = (
    "passport|passeport|reisepass(?:nummer)?|pasaporte|passaporto|passaporte|"
    "paspoort(?:nummer)?|paszport|pass-?nr|паспорт|护照号?|パスポート"
)
_PLATE = (
    "licen[cs]e plate|number plate|plate|plates|reg(?:istration)?(?: plate)?|rego|"
    "kennzeichen|nummernschild|kfz-kennzeichen|"
    "immatriculation|plaque|matrícula|matricula|targa|kenteken|tablica|placa|vehicle reg(?:istration)?"
)
_PLATE_VALUE = (
    r"(?=[A-ZÄÖÜ0-9 -]*\d)(?=[A-ZÄÖÜ0-9 -]*[A-ZÄÖÜ])(?-i:[A-ZÄÖÜ0-9]{1,4}(?:[ "
    r"-][A-ZÄÖÜ0-9]{1,4}){0,3}|[A-Z0-9]{5,8})(?![A-Za-z0-9])"
)

#: A part of every one of these words: a quick test before the slow one.
_PLATE_PARTS = (
    "plat",
    "reg",
    "kennz",
    "nummernsch",
    "immatric",
    "plaque",
    "matr",
    "targa",
    "kent",
    "tablica",
    "placa",
)
_PASSPORT_PARTS = ("pass", "pasap", "paspo", "paszp", "паспорт", "护照", "パスポート")


def _enough(match: Match) -> bool:
    return len(match.digits) >= 5


def _plate(match: Match) -> bool:
    mixed = any(map(str.isdigit, match.value)) and any(map(str.isalpha, match.value))
    return mixed and not names_a_thing(match)


def _passport(match: Match) -> bool:
    value = match.value
    return _enough(match) or (value.isupper() and 8 <= len(value) <= 10 and bool(match.digits))


_WORDED = (
    Rule(
        "social security number",
        _after("ssn|ss ?#|social security", r"\d{3}[ -]?\d{2}[ -]?\d{4}(?!\d)"),
        near=9,
    ),
    Rule("passport", _after(_PASSPORT, _DOCUMENT), _passport, has(*_PASSPORT_PARTS), near=1),
    Rule("driving licence", _after(_LICENCE, _DOCUMENT), _enough, near=5),
    Rule("medical record", _after(_MEDICAL, _SHORT_DOCUMENT), lambda match: len(match.digits) >= 4, near=4),
    Rule("national number", _after(_NATIONAL, _DOCUMENT), _enough, near=5),
    Rule(
        "bank account", _after(_BANK, r"\d[\d -]{4,30}\d"), lambda match: 6 <= len(match.digits) <= 24, near=6
    ),
    Rule("device", _after("imei|imsi|meid|udid|device id|serial of my phone", _DOCUMENT), _enough, near=5),
    Rule(
        "vehicle",
        _after("vin|vehicle identification|chassis|fahrgestellnummer|fin", r"[A-HJ-NPR-Z0-9]{17}"),
        near=4,
    ),
    Rule("licence plate", _after(_PLATE, _PLATE_VALUE), _plate, has(*_PLATE_PARTS), near=1),
)


# -- numbers by their form ------------------------------------------------------------------------

_VIN_VALUES = {
    **{str(n): n for n in range(10)},
    **dict(
        zip(
            "ABCDEFGHJKLMNPRSTUVWXYZ",
            (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9),
            strict=True,
        )
    ),
}
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def _vin(match: Match) -> bool:
    """The check digit of vehicle identification numbers (ISO 3779, as North America computes it)."""
    value = match.value
    if sum(letter.isdigit() for letter in value) < 5 or value.isdigit():
        return False
    total = sum(weight * _VIN_VALUES[letter] for weight, letter in zip(_VIN_WEIGHTS, value, strict=True))
    return value[8] == "0123456789X"[total % 11]


def _nric(match: Match) -> bool:
    """The check letter of Singapore's NRIC and FIN."""
    value = match.value
    total = sum(weight * int(digit) for weight, digit in zip((2, 7, 6, 5, 4, 3, 2), value[1:8], strict=True))
    total += 4 if value[0] in "TG" else 0
    return value[8] == ("JZIHGFEDCBA" if value[0] in "ST" else "XWUTRQPNMLK")[total % 11]


def _dated(match: Match) -> bool:
    """Whether six digits are a day, a month and a year in either order (Nordic numbers)."""
    first, month, last = (int(match.digits[at : at + 2]) for at in (0, 2, 4))
    return 1 <= month <= 12 and (1 <= first <= 31 or 1 <= last <= 31)


def _form(pattern: str, check: Callable[[Match], bool], at_least: int, *, bare: bool = False) -> Rule:
    """A national number. ``bare``: digits alone, which the words before must not give to a thing."""

    def holds(match: Match) -> bool:
        return check(match) and not ((bare and names_a_thing(match)) or is_sum_or_amount(match))

    return Rule(
        "national number", re.compile(rf"(?<![\w.,-])(?:{pattern})(?![\w-])(?![.,]\d)"), holds, near=at_least
    )


_FORMS = (
    Rule(
        "social security number",
        re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"),
        lambda match: not is_sum_or_amount(match) and not names_a_thing(match),
        near=9,
    ),
    _form(r"9\d\d-[5-9]\d-\d{4}", _valid("us.itin"), 9),
    _form(
        r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} "
        r"?[A-D]",
        lambda match: not names_a_thing(match),
        6,
    ),
    _form(
        r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}",
        _valid("fr.nir"),
        13,
        bare=True,
    ),
    _form(
        r"[A-Z]{6} ?\d[0-9LMNP-V][A-EHLMPR-T][0-9LMNP-V]{2} ?[A-Z][0-9LMNP-V]{3} ?[A-Z]",
        _valid("it.codicefiscale"),
        1,
    ),
    _form(r"\d{8}[ -]?[A-Z]", _valid("es.dni"), 8, bare=True),
    _form(r"[XYZ][ -]?\d{7}[ -]?[A-Z]", _valid("es.nie"), 7, bare=True),
    _form(r"\d{2} \d{3} \d{3} \d{3}", _valid("de.idnr"), 11),
    _form(r"\d{2} ?[0-3]\d[01]\d\d{2} ?[A-Z] ?\d{2} ?\d", lambda match: not names_a_thing(match), 11),
    _form(r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}", _valid("ch.ssn"), 13),
    _form(r"\d{2}\.\d{2}\.\d{2}[- ]\d{3}[.-]\d{2}", _valid("be.nn"), 11),
    _form(r"\d{3}\.\d{3}\.\d{3}-\d{2}", _valid("br.cpf"), 11),
    _form(r"[2-9]\d{3} \d{4} \d{4}", _valid("in_.aadhaar"), 12, bare=True),
    _form(r"[A-Z]{3}P[A-Z]\d{4}[A-Z]", _valid("in_.pan"), 4),
    _form(r"(?:\d{2})?\d{6}[-+]\d{4}", lambda match: _dated(match) and not names_a_thing(match), 10),
    _form(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", _valid("fi.hetu"), 9),
    _form(r"[0-3]\d{5} ?\d{5}", _valid("no.fodselsnummer"), 11, bare=True),
    _form(r"\d{6}/\d{3,4}", _valid("cz.rc"), 9),
    _form(r"\d{3}-\d{3}-\d{3} \d{2}", lambda match: not names_a_thing(match), 11),
    _form(r"[1-9]\d{5}(?:18|19|20)\d{9}[\dX]", _valid("cn.ric"), 17),
    _form(r"\d{6}-[1-8]\d{6}", lambda match: _dated(match) and not names_a_thing(match), 13),
    _form(r"\d{6}-\d{2}-\d{4}", _valid("my.nric"), 12),
    _form(r"[STFGM]\d{7}[A-Z]", _nric, 7),
    _form(r"\d-\d{4}-\d{5}-\d{2}-\d", _valid("th.pin"), 13),
    _form(r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d", _valid("mx.curp"), 7),
    _form(r"[A-ZÑ&]{4}\d{6}[A-Z0-9]{3}", _valid("mx.rfc"), 6, bare=True),
    _form(r"(?:20|23|24|27)-\d{8}-\d", _valid("ar.cuit"), 11),
    _form(r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]", _valid("cl.rut"), 8),
    _form(r"\d{5}-\d{7}-\d", _valid("pk.cnic"), 13),
    _form(r"784-(?:19|20)\d{2}-\d{7}-\d", lambda match: True, 15),
    Rule(
        "driving licence",
        re.compile(r"(?<!\w)[A-Z9]{5}\d[0156]\d[0-3]\d{2}[A-Z9]{2}[A-Z0-9]{3}(?!\w)"),
        near=6,
    ),
    Rule("passport", re.compile(r"P[<A-Z][A-Z]{3}[A-Z]+(?:<[A-Z]+)*<<[A-Z<]+"), holds=has("<<")),
    Rule("vehicle", re.compile(r"(?<![\w-])[A-HJ-NPR-Z0-9]{17}(?![\w-])"), _vin, near=5),
    Rule(
        "licence plate",
        re.compile(r"(?<![\w-])[A-ZÄÖÜ]{1,3}-[A-Z]{1,2} [1-9]\d{0,3}[EH]?(?![\w-])"),
        lambda match: not names_a_thing(match),
        near=1,
    ),
)

#: In the order of their certainty.
RULES: tuple[Rule, ...] = (
    _IbanRule("iban", _IBAN),
    Rule("card number", re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])(?![.,]\d)"), _card, near=13),
    *_FORMS,
    *_WORDED,
    Rule("telephone", _PHONE, _phone, near=7),
)
