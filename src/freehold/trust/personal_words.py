"""Words that stand for a person: addresses of mail, machines and houses, names, dates of birth, user names, keys and wallets."""

from __future__ import annotations

import ipaddress
import re
from functools import cache
from importlib import resources

from freehold.trust.personal_rules import NAME, Match, Rule, digits, has, is_sum_or_amount, names_a_thing

# -- mail -----------------------------------------------------------------------------------------

_TOP = r"(?:com|org|net|edu|gov|info|biz|io|dev|app|me|co|eu|de|at|ch|fr|it|es|pt|nl|be|lu|pl|cz|sk|hu|ro|bg|gr|dk|se|no|fi|ie|uk|us|ca|mx|br|ar|cl|au|nz|in|jp|cn|kr|ru|ua|tr|za|example)"
_AT = r"\s{0,2}(?:[\[({<]\s*(?:at|ät|arroba|@|a)\s*[\])}>]|\s(?:at|AT|ät|arroba|chiocciola|arobase)\s|＠|@)\s{0,2}"
_DOT = (
    r"\s{0,2}(?:[\[({<]\s*(?:dot|punkt|punto|point|\.)\s*[\])}>]|\s(?:dot|DOT|punkt|punto|point)\s|\.)\s{0,2}"
)
_FILES = frozenset(
    ["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "py", "html", "pdf", "zip", "md"]
)


def _mail(match: Match) -> bool:
    """Whether an address is one of a person's: not a file name, not the user of a code host."""
    name, _, domain = match.value.lower().partition("@")
    return domain.rpartition(".")[2] not in _FILES and name not in ("git", "svn", "hg")


def _hidden_mail(match: Match) -> bool:
    """Whether an address is written so that machines miss it: by words or brackets for @, and a dot before a top domain."""
    value = match.value
    plain = re.search(r"\w\s+(?:at|AT)\s+\w", value) and not re.search(r"\sdot\s|\sDOT\s|[\[({]", value)
    return not plain


# -- machines -------------------------------------------------------------------------------------

_VERSION = re.compile(
    r"(?:version|ver|vers|v|release[sd]?|firmware|build|kernel|driver|upgrade[sd]?|update[sd]?|patch|rev|chrome|firefox|section|chapter|clause|"
    r"§|package|sdk|api|revision|oid|to|from|numpy|python|schema)\W{0,3}(?:to|from|number|no\.?|is)?\W{0,3}(?:v?\d+(?:\.\d+){2,3} (?:to|and|or|->|→) )?$",
    re.IGNORECASE,
)
_HOST = re.compile(r"(?:\bips?\b|address|host|server|client|login|logged|ping|visit|session|gateway|dns|ssh|router|connect|request|traffic|blocked?|banned|ipv4)\W", re.IGNORECASE)  # fmt: skip


def _ipv4(match: Match) -> bool:
    try:
        address = ipaddress.ip_address(match.value)
    except ValueError:
        return False
    if (
        address.is_loopback
        or address.is_unspecified
        or match.value.startswith("255.")
        or names_a_thing(match)
    ):
        return False
    if _HOST.search(match.before(60)):
        return not re.search(r"(?:version|firmware|release)\W{0,3}$", match.before(20), re.IGNORECASE)
    small = all(int(part) < 20 for part in match.value.split("."))
    return not small and not _VERSION.search(match.before(30))


def _ipv6(match: Match) -> bool:
    try:
        address = ipaddress.ip_address(match.value)
    except ValueError:
        return False
    return (
        not address.is_loopback
        and any(letter.isdigit() for letter in match.value)
        and match.value.count(":") > 2
    )


# -- dates of birth -------------------------------------------------------------------------------

_BORN = (
    r"born(?: on)?|date of birth|birth ?date|birthday(?: is)?|d\.?o\.?b\.?|geboren(?: am)?|geb\.?(?: am)?|geburtsdatum|geburtstag|née?(?:\(e\))? le|"
    r"date de naissance|nacid[oa](?: el)?|fecha de nacimiento|nat[oa](?: il)?|data di nascita|nascid[oa](?: em)?|data de nascimento|geboren op|"
    r"geboortedatum|urodzon[yay](?: dnia)?|data urodzenia|ur\.|född|fødd?t?|syntynyt|doğum tarihi|дата рождения|родил(?:ся|ась)|生年月日|出生日期|"
    r"出生|생년월일|bday"
)
_MONTH = r"[^\W\d_]{3,10}\.?"
_DAY = (
    rf"\d{{1,4}}[./-]\d{{1,2}}[./-]\d{{1,4}}|\d{{1,2}}(?:st|nd|rd|th|er|º)?\.?(?: de| of)? {_MONTH},?(?: de)? \d{{4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
    r"|\d{1,2}[-/. ][A-Za-z]{3,9}[-/. ]\d{2,4}|\d{4}年\d{1,2}月\d{1,2}日|\d{4}\. ?\d{1,2}\. ?\d{1,2}"
)

# -- where people live ----------------------------------------------------------------------------

_ROAD = "Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Way|Court|Ct|Square|Sq|Place|Pl|Terrace|Close|Crescent|Grove|Gardens|Mews|Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Trl|Row|Walk|Hill"
_STATE = "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC"
_ADDRESSES = (
    rf"(?<!\w)(?=[FAUS\d])(?:(?:Flat|Apt\.?|Unit|Suite) \w+, )?\d{{1,5}}[A-Za-z]?(?:[-/]\d+[A-Za-z]?)? (?:[NSEW]\.? |North |South |East |West )?(?:(?:{NAME}|\d+(?:st|nd|rd|th)) ){{1,3}}(?:{_ROAD})\b\.?(?:,? (?:Apt|Unit|Suite|#)\.? ?\w+)?",
    r"\b[A-ZÄÖÜ][a-zäöüß-]+(?:straße|strasse|str\.|weg|gasse|platz|allee|ufer|damm|steig|gatan|vägen|vej|(?<!Bri)gade|gata|veien|straat|laan|plein|gracht|kade|singel|dijk|katu) \d{1,4} ?[a-zA-Z]?\b(?! \d)",
    r"\b(?:[A-ZÄÖÜ][a-zäöüß-]+ ){1,2}(?:Straße|Strasse|Str\.|Allee|Platz|Weg|Gasse|Ring) \d{1,4}[a-z]?\b",
    r"\b(?:Am|An der|An den|Auf dem|Auf der|Im|In der|In den|Zum|Zur|Unter den|Hinter der) [A-ZÄÖÜ][a-zäöüß]+(?: [A-ZÄÖÜ][a-zäöüß]+)? \d{1,4}[a-z]?, ?(?:[AD]-)?\d{4,5} [A-ZÄÖÜ]",
    r"\b\d{1,4}(?: ?(?:bis|ter))?,? (?i:rue|avenue|av\.|boulevard|bd|place|chemin|impasse|allée|quai|route|cours) (?:(?:de|du|des|la|le|les) |(?:de )?l['’]|d['’])*[A-ZÀ-Þ][\w'’-]+(?: [A-ZÀ-Þ][\w'’-]+)*",
    r"\b(?i:rue|avenue|boulevard|chemin|quai|place|impasse) (?:(?:de|du|des|la|le|les) |(?:de )?l['’]|d['’])*[A-ZÀ-Þ][\w'’-]+(?: [A-ZÀ-Þ][\w'’-]+)*,? \d{1,4}\b(?! [A-Z])",
    r"\b(?:Calle|C/|Avenida|Avda\.?|Plaza|Paseo|Carrera|Via|Viale|Piazza|Corso|Largo|Vicolo|Rua|Travessa|Praça|Av\.|ul\.|al\.|os\.|pl\.|Ulica|ulica) ?(?:(?:de|del|la|las|los|da|do|dos|das|della|dei|degli|di) )*(?:[A-ZÀ-ÞĀ-Ž][\w'’.-]+ ?){1,4},? ?(?:n[.º°]* ?|# ?)?\d{1,4}(?:[ /-]?\d{0,3}[A-Za-z]?)\b",
    r"\b(?:P\.? ?O\.? Box|Postfach|Postbus|Apartado|Boîte postale|BP) \d{1,6}\b",
    rf"\b{NAME}(?: {NAME})?, (?:{_STATE}) \d{{5}}(?:-\d{{4}})?\b",
    r"[\u4e00-\u9fff]{1,6}[都道府県市区町村][\u3040-\u30ff\u4e00-\u9fff]{1,12}\d{1,3}(?:丁目|-)\d{1,3}(?:[番-]\d{0,3}号?)?",
    r"[\u4e00-\u9fff]{2,8}(?:市|区)[\u4e00-\u9fff]{1,10}(?:路|街|道)\d{1,5}号",
)
_POSTCODE = re.compile(r"(?i:postcode|post code|postal code|zip(?: code)?|plz|postleitzahl|code postal)\W{1,3}(?:is )?([A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|\d{4,5}(?:-\d{4})?|[A-Z]\d[A-Z] ?\d[A-Z]\d)\b")  # fmt: skip

# -- names ----------------------------------------------------------------------------------------

_TITLE = (
    "Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Doctor|Sir|Dame|Lady|Lord|Rev|Reverend|Father|Sister|Capt|Captain|Sgt|Sergeant|Lt|Col|Judge|Nurse|Herr|Herrn|Frau|Fräulein|Hr|Fr|"
    "Madame|Monsieur|Mademoiselle|Mme|Mlle|Señor|Señora|Señorita|Sr|Sra|Srta|Don|Doña|Signor|Signora|Sig|Dott|Avv|Meneer|Mevrouw|Dhr|Mevr|Mw|"
    "Pan|Pani|Senhor|Senhora|Shri|Smt|Sheikh|Imam|Rabbi"
)
_OF = r"(?:(?:van|von|de|der|den|da|dos|di|del|della|la|le|bin|ibn|al|el|ter|zu|und|y|O|[A-Z])\.? )"
_FULL = rf"{NAME}(?: {_OF}{{0,3}}{NAME}){{0,3}}"
_TWO = rf"{NAME}(?: {_OF}{{0,3}}{NAME}){{1,3}}"
_SAYS_NAME = (
    "my name is|my name's|i am called|i'm called|name:|full name:|patient:?|patient name:?|customer:?|client:?|employee:?|student:?|tenant:?|"
    "account holder:?|cardholder:?|signed by|signed,|contact:?|attn:?|attention:?|c/o|on behalf of|ich heiße|mein name ist|name ist|je m'appelle|"
    "mon nom est|me llamo|mi nombre es|mi chiamo|me chamo|meu nome é|ik heet|mijn naam is|nazywam się|mam na imię|jag heter|mit navn er|jeg heter|"
    "nimeni on|adım|meu nome e|kunde:?|patientin|mitarbeiter(?:in)?|versicherte[r]?"
)
#: What every one of these holds a part of.
_SAYS = tuple(["name", "called", "patient", "customer", "client", "employee", "student", "tenant", "holder", "signed", "contact", "att", "c/o", "behalf", "heiße", "appelle", "nom", "llamo", "nombre", "chiamo", "chamo", "heet", "naam", "nazywam", "imię", "heter", "navn", "nimeni", "adım", "kunde", "mitarbeiter", "versicherte"])  # fmt: skip
_GREETING = r"(?:Dear|Hi|Hello|Hey|Hallo|Liebe|Lieber|Cher|Chère|Bonjour|Hola|Querid[oa]|Estimad[oa]|Ciao|Caro|Cara|Beste|Kind regards|Best regards|Regards|Best|Thanks|Cheers|Sincerely|Yours|Grüße|Gruß|Cordialement|Saludos)"
#: Second words that make a name a place, a firm, a feast or a thing.
_NOT_SURNAMES = frozenset(
    [
        "Street",
        "Station",
        "Airport",
        "University",
        "College",
        "School",
        "Hospital",
        "Clinic",
        "Church",
        "Cathedral",
        "Museum",
        "Bank",
        "Beach",
        "River",
        "Lake",
        "Bay",
        "City",
        "County",
        "Island",
        "Islands",
        "Hills",
        "Valley",
        "Park",
        "Bridge",
        "Tower",
        "Hotel",
        "Inn",
        "Cafe",
        "Restaurant",
        "Bar",
        "Shop",
        "Store",
        "Market",
        "Centre",
        "Center",
        "House",
        "Hall",
        "Court",
        "Square",
        "Road",
        "Avenue",
        "Lane",
        "Drive",
        "Prize",
        "Award",
        "Effect",
        "Theorem",
        "Law",
        "Model",
        "Method",
        "Test",
        "Score",
        "Distribution",
        "Process",
        "Algorithm",
        "Index",
        "Inc",
        "Ltd",
        "Llc",
        "Gmbh",
        "Corp",
        "Company",
        "Group",
        "Foundation",
        "Institute",
        "Press",
        "Post",
        "Times",
        "Journal",
        "Benz",
        "Cup",
        "Open",
        "Day",
        "Week",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
        "Collection",
        "Edition",
        "Series",
        "Project",
        "Cloud",
        "Server",
        "Software",
        "Support",
        "Team",
        "Account",
        "Card",
        "Order",
        "Insurance",
        "Pizza",
        "Coffee",
        "Beer",
        "Wine",
        "Whisky",
        "Motors",
        "Airlines",
        "Act",
        "Road",
        "Straße",
        "Strasse",
        "Platz",
        "Allee",
        "Universität",
        "Krankenhaus",
        "Schule",
        "Kirche",
        "Brücke",
        "Bahnhof",
        "Flughafen",
        "Preis",
        "Stiftung",
        "Linux",
        "Claus",
        "Kong",
        "Peninsula",
        "Republic",
        "Revolution",
        "War",
        "Customer",
        "Customers",
        "User",
        "Users",
        "Client",
        "Clients",
        "Support",
        "Sales",
        "Scale",
        "Disease",
        "Syndrome",
        "Equation",
        "Transform",
        "Series",
        "Chain",
        "Sampling",
        "Regression",
        "Trail",
        "Mountain",
        "Peak",
        "Point",
        "Harbour",
        "Harbor",
        "Stadium",
        "Arena",
        "Theatre",
        "Theater",
        "Garden",
        "Gardens",
    ]
)


@cache
def given_names() -> frozenset[str]:
    """Given names that are no everyday words."""
    lines = resources.files("freehold.trust").joinpath("given_names.txt").read_text("utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _bare_name(match: Match) -> bool:
    """Whether two or more capitalised words begin with a given name and do not end as a place or a firm does."""
    first, *_, last = re.split(r"[ -]", match.value)
    words = match.value.split(" ")
    if last in _NOT_SURNAMES or words[-1].endswith(("straße", "strasse", "stadt", "burg", "kirche")):
        return False
    following = re.match(r"['’]s? |[ -]([A-Z][a-z]+)", match.after(16))
    if following and following[1] in _NOT_SURNAMES:
        return False
    return first in given_names()


def _greeted(match: Match) -> bool:
    return match.value.split(" ")[0] in given_names()


# -- user names, keys, wallets --------------------------------------------------------------------

_NOT_USERS = frozenset(
    [
        "about",
        "account",
        "admin",
        "api",
        "app",
        "apps",
        "blog",
        "business",
        "careers",
        "company",
        "contact",
        "default",
        "developer",
        "developers",
        "docs",
        "download",
        "events",
        "explore",
        "features",
        "feed",
        "games",
        "guest",
        "hashtag",
        "help",
        "home",
        "intent",
        "jobs",
        "legal",
        "login",
        "logout",
        "marketplace",
        "new",
        "news",
        "pages",
        "policies",
        "pricing",
        "privacy",
        "public",
        "query",
        "root",
        "runner",
        "search",
        "security",
        "settings",
        "share",
        "shared",
        "shop",
        "signin",
        "signup",
        "status",
        "store",
        "support",
        "terms",
        "topics",
        "ubuntu",
        "user",
        "users",
        "watch",
        "web",
        "posts",
        "groups",
        "reel",
        "p",
    ]
)


def _is_user(match: Match) -> bool:
    return match.value.lower().lstrip("@") not in _NOT_USERS


def _secret(match: Match) -> bool:
    """Whether what stands after 'password' is one: it holds a digit or another character than letters."""
    value = match.value.strip(".,;")
    return (
        len(value) >= 4
        and not value.isalpha()
        and not re.fullmatch(r"\W+|\[.*\]|<.*>|\$?\{.*\}|os\..*|\*+", value)
    )


def _bitcoin(match: Match) -> bool:
    from stdnum import bitcoin

    return bool(bitcoin.is_valid(match.value))


_KEYS = (
    r"(?<![\w-])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|sk-(?:ant-|proj-|live-)?[\w-]{20,}|sk_(?:live|test)_\w{16,}|rk_live_\w{16,}|gh[opsur]_\w{30,}|github_pat_\w{20,}|"
    r"xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|ya29\.[\w-]{20,}|hf_[A-Za-z0-9]{30,}|glpat-[\w-]{20}|SG\.[\w-]{16,}\.[\w-]{16,}|npm_\w{36}|pypi-[\w-]{40,}|"
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{5,})"
)
_SITES = r"(?:twitter|x|instagram|facebook|fb|linkedin|github|gitlab|tiktok|reddit|youtube|medium|threads|xing|pinterest|snapchat|vk|soundcloud|twitch)\.(?:com|net|tv)|t\.me|keybase\.io|bsky\.app"
_SERVICES = "instagram|insta|twitter|tiktok|telegram|discord|snapchat|snap|handle|follow me|skype|twitch|mastodon|wechat|ig"

#: In the order of their certainty.
RULES: tuple[Rule, ...] = (
    Rule("secret", re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"), holds=has("private key")),
    Rule("secret", re.compile(_KEYS), holds=has(*["akia", "asia", "sk-", "sk_", "rk_live_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat", "xox", "aiza", "ya29.", "hf_", "glpat", "sg.", "npm_", "pypi-", "eyj"])),
    Rule("secret", re.compile(r"\b[a-z][a-z+]{2,12}://[^\s:/@]+:([^\s:/@]+)@"), holds=has("://")),
    Rule("secret", re.compile(r"(?i)(?<![a-z])(?:password|passwort|kennwort|passwd|pwd|mot de passe|contraseña|wachtwoord|hasło|senha|api[ _-]?key|secret|token|access code)\s?(?:[:=]|is|ist|est|es|è)\s?[\"'`]?([^\s\"'`<{\[(*$][^\s\"'`]{3,63})"), _secret, has("pass", "pwd", "kennwort", "key", "secret", "token", "contraseña", "wachtwoord", "hasło", "senha", "access code")),
    Rule("secret", re.compile(r"\bBearer\s+([\w.~+/-]{16,})"), holds=has("bearer")),
    Rule("secret", re.compile(r"\b(?:PIN|pin|TAN|CVV|CVC|cvv|cvc)(?: ?(?:code|number))?\s?(?:[:=]|is|ist|est)?\s?(\d{3,6})\b(?!\.\d)"), holds=has("pin", "tan", "cvv", "cvc")),
    Rule("user name", re.compile(r"(?<![\w.])@[\w.]{2,40}@[\w-]+(?:\.[\w-]+)+"), holds=has("@")),
    Rule("email", re.compile(r"(?<![\w.+/-])[\w.+!#$%&'*/=?^`{|}~-]*[\w+-]@[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}(?![\w-])"), _mail, has("@")),
    Rule("email", re.compile(rf"(?<![\w.])[\w+-]+(?:{_DOT}[\w+-]+)?{_AT}[\w-]+(?:{_DOT}[\w-]+){{0,2}}{_DOT}{_TOP}\b"), _hidden_mail, has(" at ", "(at", "[at", "{at", "<at", "ät", "arroba", "＠", "chiocciola", "arobase", "@ ", " @", "(@", "[@", "(a)")),
    Rule("crypto wallet", re.compile(r"(?<!\w)(?:0x[0-9a-fA-F]{40}|4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}|ltc1[0-9a-z]{38,60}|[LM][1-9A-HJ-NP-Za-km-z]{33}|D[5-9A-HJ-NP-U][1-9A-HJ-NP-Za-km-z]{32}|r[1-9A-HJ-NP-Za-km-z]{32,34}|T[1-9A-HJ-NP-Za-km-z]{33})(?!\w)"), lambda match: sum(map(str.isdigit, match.value)) > 2, digits(3)),
    Rule("crypto wallet", re.compile(r"(?<!\w)(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[0-9a-z]{11,71})(?!\w)"), _bitcoin, digits(1)),
    Rule("crypto wallet", re.compile(r"(?i:btc|bitcoin|wallet|monero|solana|dogecoin|litecoin|crypto)[^\n]{0,20}?\b((?=\w*\d)(?=\w*[A-Z])[1-9A-HJ-NP-Za-km-z]{26,95})\b"), holds=has("btc", "bitcoin", "wallet", "monero", "solana", "coin", "crypto")),
    Rule("mac address", re.compile(r"(?<![\w:-])(?:(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4})(?![\w:-])"), lambda match: True, digits(1)),
    Rule("ip address", re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-])(?!\.\d)"), _ipv4, digits(4)),
    Rule("ip address", re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"), _ipv6, has("::", ":")),
    Rule("date of birth", re.compile(rf"(?i:(?<!\w)(?:{_BORN})(?!\w))[^\d\n]{{0,25}}?({_DAY})(?!\d)"), holds=has(*["born", "birth", "dob", "d.o.b", "d.ob", "do.b", "bday", "geb", "naissance", "né", "nacid", "nacim", "nasc", "nat", "ur.", "urodz", "föd", "fød", "syntyn", "doğum", "рожд", "родил", "生", "出", "생"])),
    Rule("date of birth", re.compile(r"\(\s?\*\s?(\d{1,2}\.\s?\d{1,2}\.\s?\d{4})"), holds=has("*")),
    Rule("user name", re.compile(rf"(?:https?://)?(?:www\.)?(?:{_SITES})/(?:in/|u/|user/|profile/|@)?([\w.-]{{2,40}}?)/?(?=[\s,;)\"'?!]|\.?\s|\.?$)"), _is_user, has(".com/", "t.me/", ".net/", ".tv/", ".io/", ".app/")),
    Rule("user name", re.compile(r"https?://[^\s/]+/(?:~|users?/|profiles?/|members?/|people/)([\w.-]{2,40})"), _is_user, has("/~", "/user", "/profile", "/member", "/people")),
    Rule("user name", re.compile(r"(?:(?<![\w.])/(?:home|Users)/|[A-Z]:\\Users\\)([\w.-]{2,40})"), _is_user, has("/home/", "/users/", "\\users\\")),
    Rule("user name", re.compile(r"(?<![\w/])/?u/([\w-]{3,20})(?![\w/])"), _is_user, has("u/")),
    Rule("user name", re.compile(r"(?i)discord\b[^\n#]{0,20}?\s([\w.]{2,32}#\d{4})\b"), holds=has("discord")),
    Rule("user name", re.compile(rf"(?i)\b(?:{_SERVICES})\b\W{{0,3}}(?:is|name|handle|user(?:name)?|:|me|on|at|\W){{0,4}}\s?(@[\w.]{{3,40}})"), holds=has("@")),
    Rule("user name", re.compile(r"(?i)\b(?:user ?name|user ?id|login|benutzername|nom d'utilisateur|usuario|gamertag|screen name)\s?(?:[:=]|is|ist)\s?[\"'`]?([\w.@-]{3,40})"), _secret, has("user", "login", "benutzer", "usuario", "gamertag", "screen name", "utilisateur")),
    *(Rule("street address", re.compile(pattern), lambda match: not is_sum_or_amount(match), digits(1)) for pattern in _ADDRESSES),
    Rule("street address", _POSTCODE, holds=has("postcode", "post code", "postal", "zip", "plz", "postleitzahl")),
    Rule("name", re.compile(rf"(?<!\w)(?=[A-Z])(?:{_TITLE})\b\.? (?:(?:Dr|Prof|med|Ing)\.? ){{0,2}}{_OF}{{0,3}}{_FULL}"), lambda match: match.value.split(" ")[-1] not in _NOT_SURNAMES and not re.match(r"(?:Don|Pan|Father|Sister|Judge|Nurse|Doctor|Professor|Fr|Sir|Col|Lt) (?:Who|Strange|Am|The|Of)\b", match.value)),
    Rule("name", re.compile(rf"(?<!\w)M\. {NAME}")),
    Rule("name", re.compile(rf"(?i:(?<!\w)(?:{_SAYS_NAME})) ({_TWO})"), lambda match: match.value.split(" ")[-1] not in _NOT_SURNAMES, has(*_SAYS)),
    Rule("name", re.compile(rf"(?i:(?<!\w)(?:my name is|my name's|i am called|i'm called|ich heiße|mein name ist|je m'appelle|me llamo|mi chiamo|me chamo|ik heet|jag heter)) ({NAME})"), holds=has(*_SAYS)),
    Rule("name", re.compile(rf"(?<!\w)(?=[A-Z]){_GREETING}[,!]?\s+({_FULL})(?=\s*(?:[,.!:\n]|$))"), _greeted),
    Rule("name", re.compile(rf"(?<![\w@./-])(?=[^\W\d_a-z])({NAME}(?: {_OF}{{0,3}}{NAME}){{1,2}})(?![\w@])"), _bare_name),
    Rule("name", re.compile(r"([\u4e00-\u9fff々]{2,4}|[\u30a0-\u30ff]{2,8})(?:さん|様|氏|先生|くん|ちゃん)"), holds=has("さん", "様", "氏", "先生", "くん", "ちゃん")),
    Rule("name", re.compile(r"(?:我叫|我的名字是|我是|姓名[:：]|名字叫)\s?([\u4e00-\u9fff]{2,3})"), holds=has("我", "名")),
)  # fmt: skip
