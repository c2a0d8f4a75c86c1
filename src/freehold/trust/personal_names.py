"""Names of people, and where they live."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from freehold.core import yaml_text
from freehold.trust.personal_rules import NAME, Match, Rule, digits, has, is_sum_or_amount

# -- where people live ----------------------------------------------------------------------------

_ROAD = (
    "Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Way|Court|Ct|Square|Sq|"
    "Place|Pl|Terrace|Close|Crescent|Grove|Gardens|Mews|Parkway|Pkwy|Highway|Hwy|Circle|"
    "Cir|Trail|Trl|Row|Walk|Hill"
)
_STATE = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|"
    "NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC"
)
_ADDRESSES = (
    rf"(?<!\w)(?=[FAUS\d])(?:(?:Flat|Apt\.?|Unit|Suite) \w+, "
    rf")?\d{{1,5}}[A-Za-z]?(?:[-/]\d+[A-Za-z]?)? (?:[NSEW]\.? |North |South |East |West "
    rf")?(?:(?:{NAME}|\d+(?:st|nd|rd|th)) ){{1,3}}(?:{_ROAD})\b\.?(?:,? (?:Apt|Unit|Suite|"
    rf"#)\.? ?\w+)?",
    r"\b[A-ZÄÖÜ][a-zäöüß-]+(?:straße|strasse|str\.|weg|gasse|platz|allee|ufer|damm|steig|"
    r"gatan|vägen|vej|(?<!Bri)gade|gata|veien|straat|laan|plein|gracht|kade|singel|dijk|"
    r"katu) \d{1,4} ?[a-zA-Z]?\b(?! \d)",
    r"\b(?:[A-ZÄÖÜ][a-zäöüß-]+ ){1,2}(?:Straße|Strasse|Str\.|Allee|Platz|Weg|Gasse|Ring) \d{1,4}[a-z]?\b",
    r"\b(?:Am|An der|An den|Auf dem|Auf der|Im|In der|In den|Zum|Zur|Unter den|Hinter "
    r"der) [A-ZÄÖÜ][a-zäöüß]+(?: [A-ZÄÖÜ][a-zäöüß]+)? \d{1,4}[a-z]?, ?(?:[AD]-)?\d{4,5} "
    r"[A-ZÄÖÜ]",
    r"\b\d{1,4}(?: ?(?:bis|ter))?,? (?i:rue|avenue|av\.|boulevard|bd|place|chemin|impasse|"
    r"allée|quai|route|cours) (?:(?:de|du|des|la|le|les) |(?:de )?l['’]|"
    r"d['’])*[A-ZÀ-Þ][\w'’-]+(?: [A-ZÀ-Þ][\w'’-]+)*",
    r"\b(?i:rue|avenue|boulevard|chemin|quai|place|impasse) (?:(?:de|du|des|la|le|les) |"
    r"(?:de )?l['’]|d['’])*[A-ZÀ-Þ][\w'’-]+(?: [A-ZÀ-Þ][\w'’-]+)*,? \d{1,4}\b(?! [A-Z])",
    r"\b(?:Calle|C/|Avenida|Avda\.?|Plaza|Paseo|Carrera|Via|Viale|Piazza|Corso|Largo|"
    r"Vicolo|Rua|Travessa|Praça|Av\.|ul\.|al\.|os\.|pl\.|Ulica|ulica) ?(?:(?:de|del|la|"
    r"las|los|da|do|dos|das|della|dei|degli|di) )*(?:[A-ZÀ-ÞĀ-Ž][\w'’.-]+ ?){1,4},? "
    r"?(?:n[.º°]* ?|# ?)?\d{1,4}(?:[ /-]?\d{0,3}[A-Za-z]?)\b",
    r"\b(?:P\.? ?O\.? Box|Postfach|Postbus|Apartado|Boîte postale|BP) \d{1,6}\b",
    rf"\b{NAME}(?: {NAME})?, (?:{_STATE}) \d{{5}}(?:-\d{{4}})?\b",
    r"[\u4e00-\u9fff]{1,6}[都道府県市区町村][\u3040-\u30ff\u4e00-\u9fff]{1,12}\d{1,3}(?:丁目|"
    r"-)\d{1,3}(?:[番-]\d{0,3}号?)?",
    r"[\u4e00-\u9fff]{2,8}(?:市|区)[\u4e00-\u9fff]{1,10}(?:路|街|道)\d{1,5}号",
)
_POSTCODE = re.compile(
    r"(?i:postcode|post code|postal code|zip(?: code)?|plz|postleitzahl|code "
    r"postal)\W{1,3}(?:is )?([A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|\d{4,5}(?:-\d{4})?|"
    r"[A-Z]\d[A-Z] ?\d[A-Z]\d)\b"
)

# -- names ----------------------------------------------------------------------------------------

_TITLE = (
    "Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Sir|Dame|Lady|Lord|Rev|Reverend|Father|"
    "Sister|Capt|Captain|Sgt|Sergeant|Lt|Col|Judge|Nurse|Herr|Herrn|Frau|Fräulein|Hr|Fr|"
    "Madame|Monsieur|Mademoiselle|Mme|Mlle|Señor|Señora|Señorita|Sr|Sra|Srta|Don|Doña|"
    "Signor|Signora|Sig|Dott|Avv|Meneer|Mevrouw|Dhr|Mevr|Mw|"
    "Pan|Pani|Senhor|Senhora|Shri|Smt|Sheikh|Imam|Rabbi"
)
_OF = r"(?:(?:van|von|de|der|den|da|dos|di|del|della|la|le|bin|ibn|al|el|ter|zu|und|y|O|[A-Z])\.? )"
_FULL = rf"{NAME}(?: {_OF}{{0,3}}{NAME}){{0,3}}"
_TWO = rf"{NAME}(?: {_OF}{{0,3}}{NAME}){{1,3}}"
_SAYS_NAME = (
    "my name is|my name's|i am called|i'm called|name:|full name:|patient:?|patient "
    "name:?|customer:?|client:?|employee:?|student:?|tenant:?|"
    "account holder:?|cardholder:?|signed by|signed,|contact:?|attn:?|attention:?|c/o|on "
    "behalf of|ich heiße|mein name ist|name ist|je m'appelle|"
    "mon nom est|me llamo|mi nombre es|mi chiamo|me chamo|meu nome é|ik heet|mijn naam "
    "is|nazywam się|mam na imię|jag heter|mit navn er|jeg heter|"
    "nimeni on|adım|meu nome e|kunde:?|patientin|mitarbeiter(?:in)?|versicherte[r]?"
)
#: What every one of these holds a part of.
_SAYS = tuple(
    [
        "name",
        "called",
        "patient",
        "customer",
        "client",
        "employee",
        "student",
        "tenant",
        "holder",
        "signed",
        "contact",
        "att",
        "c/o",
        "behalf",
        "heiße",
        "appelle",
        "nom",
        "llamo",
        "nombre",
        "chiamo",
        "chamo",
        "heet",
        "naam",
        "nazywam",
        "imię",
        "heter",
        "navn",
        "nimeni",
        "adım",
        "kunde",
        "mitarbeiter",
        "versicherte",
    ]
)
_GREETING = (
    r"(?:Dear|Hi|Hello|Hey|Hallo|Liebe|Lieber|Cher|Chère|Bonjour|Hola|Querid[oa]|"
    r"Estimad[oa]|Ciao|Caro|Cara|Beste|Kind regards|Best regards|Regards|Best|Thanks|"
    r"Cheers|Sincerely|Yours|Grüße|Gruß|Cordialement|Saludos)"
)


@cache
def listed(name: str) -> frozenset[str]:
    """A list of words of ``personal_words.yaml``: not_surnames or not_users."""
    text = resources.files("freehold.trust").joinpath("personal_words.yaml").read_text("utf-8")
    return frozenset(yaml_text.load(text, "personal_words.yaml")[name].split())


@cache
def given_names() -> frozenset[str]:
    """Given names that are no everyday words."""
    lines = resources.files("freehold.trust").joinpath("given_names.txt").read_text("utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _bare_name(match: Match) -> bool:
    """Whether two or more capitalised words begin with a given name and do not end as a place or a firm
    does.
    """
    first, *_, last = re.split(r"[ -]", match.value)
    words = match.value.split(" ")
    if last in listed("not_surnames") or words[-1].endswith(("straße", "strasse", "stadt", "burg", "kirche")):
        return False
    following = re.match(r"['’]s? |[ -]([A-Z][a-z]+)", match.after(16))
    if following and following[1] in listed("not_surnames"):
        return False
    return first in given_names()


def _greeted(match: Match) -> bool:
    return match.value.split(" ")[0] in given_names()


#: In the order of their certainty.
RULES: tuple[Rule, ...] = (
    *(
        Rule("street address", re.compile(pattern), lambda match: not is_sum_or_amount(match), digits(1))
        for pattern in _ADDRESSES
    ),
    Rule(
        "street address",
        _POSTCODE,
        holds=has("postcode", "post code", "postal", "zip", "plz", "postleitzahl"),
    ),
    Rule(
        "name",
        re.compile(
            rf"(?<!\w)(?=[A-Z])(?:{_TITLE})\b\.? (?:(?:Dr|Prof|med|Ing)\.? "
            rf"){{0,2}}{_OF}{{0,3}}{_FULL}"
        ),
        lambda match: (
            match.value.split(" ")[-1] not in listed("not_surnames")
            and not re.match(
                r"(?:Don|Pan|Father|Sister|Judge|Nurse|Doctor|Professor|Fr|Sir|Col|Lt) (?:Who|Strange|"
                r"Am|The|Of)\b",
                match.value,
            )
        ),
    ),
    Rule("name", re.compile(rf"(?<!\w)M\. {NAME}")),
    Rule(
        "name",
        re.compile(rf"(?i:(?<!\w)(?:{_SAYS_NAME})) ({_TWO})"),
        lambda match: match.value.split(" ")[-1] not in listed("not_surnames"),
        has(*_SAYS),
    ),
    Rule(
        "name",
        re.compile(
            rf"(?i:(?<!\w)(?:my name is|my name's|i am called|i'm called|ich heiße|mein name ist|"
            rf"je m'appelle|me llamo|mi chiamo|me chamo|ik heet|jag heter)) ({NAME})"
        ),
        holds=has(*_SAYS),
    ),
    Rule("name", re.compile(rf"(?<!\w)(?=[A-Z]){_GREETING}[,!]?\s+({_FULL})(?=\s*(?:[,.!:\n]|$))"), _greeted),
    Rule(
        "name",
        re.compile(rf"(?<![\w@./-])(?=[^\W\d_a-z])({NAME}(?: {_OF}{{0,3}}{NAME}){{1,2}})(?![\w@])"),
        _bare_name,
    ),
    Rule(
        "name",
        re.compile(r"([\u4e00-\u9fff々]{2,4}|[\u30a0-\u30ff]{2,8})(?:さん|様|氏|先生|くん|ちゃん)"),
        holds=has("さん", "様", "氏", "先生", "くん", "ちゃん"),
    ),
    Rule(
        "name",
        re.compile(r"(?:我叫|我的名字是|我是|姓名[:：]|名字叫)\s?([\u4e00-\u9fff]{2,3})"),
        holds=has("我", "名"),
    ),
)
