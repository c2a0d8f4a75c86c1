"""Words that stand for a person: addresses of mail and machines, dates of birth, user names, keys,
wallets.
"""

from __future__ import annotations

import ipaddress
import re

from freehold.trust.personal_names import listed
from freehold.trust.personal_rules import Match, Rule, digits, has, names_a_thing

# -- mail -----------------------------------------------------------------------------------------

_TOP = (
    r"(?:com|org|net|edu|gov|info|biz|io|dev|app|me|co|eu|de|at|ch|fr|it|es|pt|nl|be|lu|"
    r"pl|cz|sk|hu|ro|bg|gr|dk|se|no|fi|ie|uk|us|ca|mx|br|ar|cl|au|nz|in|jp|cn|kr|ru|ua|tr|"
    r"za|example)"
)
_AT = (
    r"\s{0,2}(?:[\[({<]\s*(?:at|ät|arroba|@|a)\s*[\])}>]|\s(?:at|AT|ät|arroba|chiocciola|"
    r"arobase)\s|＠|@)\s{0,2}"
)
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
    """Whether an address is written so that machines miss it: by words or brackets for @, and a dot before a
    top domain.
    """
    value = match.value
    plain = re.search(r"\w\s+(?:at|AT)\s+\w", value) and not re.search(r"\sdot\s|\sDOT\s|[\[({]", value)
    return not plain


# -- machines -------------------------------------------------------------------------------------

_VERSION = re.compile(
    r"(?:version|ver|vers|v|release[sd]?|firmware|build|kernel|driver|upgrade[sd]?|"
    r"update[sd]?|patch|rev|chrome|firefox|section|chapter|clause|"
    r"§|package|sdk|api|revision|oid|to|from|numpy|python|schema)\W{0,3}(?:to|from|number|"
    r"no\.?|is)?\W{0,3}(?:v?\d+(?:\.\d+){2,3} (?:to|and|or|->|→) )?$",
    re.IGNORECASE,
)
_HOST = re.compile(
    r"(?:\bips?\b|address|host|server|client|login|logged|ping|visit|session|gateway|dns|"
    r"ssh|router|connect|request|traffic|blocked?|banned|ipv4)\W",
    re.IGNORECASE,
)


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
    r"born(?: on)?|date of birth|birth ?date|birthday(?: is)?|d\.?o\.?b\.?|geboren(?: "
    r"am)?|geb\.?(?: am)?|geburtsdatum|geburtstag|née?(?:\(e\))? le|"
    r"date de naissance|nacid[oa](?: el)?|fecha de nacimiento|nat[oa](?: il)?|data di "
    r"nascita|nascid[oa](?: em)?|data de nascimento|geboren op|"
    r"geboortedatum|urodzon[yay](?: dnia)?|data urodzenia|ur\.|född|fødd?t?|syntynyt|"
    r"doğum tarihi|дата рождения|родил(?:ся|ась)|生年月日|出生日期|"
    r"出生|생년월일|bday"
)
_MONTH = r"[^\W\d_]{3,10}\.?"
_DAY = (
    rf"\d{{1,4}}[./-]\d{{1,2}}[./-]\d{{1,4}}|\d{{1,2}}(?:st|nd|rd|th|er|º)?\.?(?: de| of)? "
    rf"{_MONTH},?(?: de)? \d{{4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
    r"|\d{1,2}[-/. ][A-Za-z]{3,9}[-/. ]\d{2,4}|\d{4}年\d{1,2}月\d{1,2}日|\d{4}\. ?\d{1,2}\. ?\d{1,2}"
)

# -- user names, keys, wallets --------------------------------------------------------------------


def _is_user(match: Match) -> bool:
    return match.value.lower().lstrip("@") not in listed("not_users")


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
    r"(?<![\w-])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|sk-(?:ant-|proj-|live-)?[\w-]{20,}|"
    r"sk_(?:live|test)_\w{16,}|rk_live_\w{16,}|gh[opsur]_\w{30,}|github_pat_\w{20,}|"
    r"xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|ya29\.[\w-]{20,}|hf_[A-Za-z0-9]{30,}|"
    r"glpat-[\w-]{20}|SG\.[\w-]{16,}\.[\w-]{16,}|npm_\w{36}|pypi-[\w-]{40,}|"
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{5,})"
)
_SITES = (
    r"(?:twitter|x|instagram|facebook|fb|linkedin|github|gitlab|tiktok|reddit|youtube|"
    r"medium|threads|xing|pinterest|snapchat|vk|soundcloud|twitch)\.(?:com|net|tv)|t\.me|"
    r"keybase\.io|bsky\.app"
)
_SERVICES = (
    "instagram|insta|twitter|tiktok|telegram|discord|snapchat|snap|handle|follow me|"
    "skype|twitch|mastodon|wechat|ig"
)

#: In the order of their certainty.
#: In the order of their certainty.
RULES: tuple[Rule, ...] = (
    Rule("secret", re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"), holds=has("private key")),
    Rule(
        "secret",
        re.compile(_KEYS),
        holds=has(
            *[
                "akia",
                "asia",
                "sk-",
                "sk_",
                "rk_live_",
                "ghp_",
                "gho_",
                "ghu_",
                "ghs_",
                "ghr_",
                "github_pat",
                "xox",
                "aiza",
                "ya29.",
                "hf_",
                "glpat",
                "sg.",
                "npm_",
                "pypi-",
                "eyj",
            ]
        ),
    ),
    Rule("secret", re.compile(r"\b[a-z][a-z+]{2,12}://[^\s:/@]+:([^\s:/@]+)@"), holds=has("://")),
    Rule(
        "secret",
        re.compile(
            r"(?i)(?<![a-z])(?:password|passwort|kennwort|passwd|pwd|mot de passe|contraseña|"
            r"wachtwoord|hasło|senha|api[ _-]?key|secret|token|access code)\s?(?:[:=]|is|ist|est|"
            r"es|è)\s?[\"'`]?([^\s\"'`<{\[(*$][^\s\"'`]{3,63})"
        ),
        _secret,
        has(
            "pass",
            "pwd",
            "kennwort",
            "key",
            "secret",
            "token",
            "contraseña",
            "wachtwoord",
            "hasło",
            "senha",
            "access code",
        ),
    ),
    Rule("secret", re.compile(r"\bBearer\s+([\w.~+/-]{16,})"), holds=has("bearer")),
    Rule(
        "secret",
        re.compile(
            r"\b(?:PIN|pin|TAN|CVV|CVC|cvv|cvc)(?: ?(?:code|number))?\s?(?:[:=]|is|ist|"
            r"est)?\s?(\d{3,6})\b(?!\.\d)"
        ),
        holds=has("pin", "tan", "cvv", "cvc"),
    ),
    Rule("user name", re.compile(r"(?<![\w.])@[\w.]{2,40}@[\w-]+(?:\.[\w-]+)+"), holds=has("@")),
    Rule(
        "email",
        re.compile(
            r"(?<![\w.+/-])[\w.+!#$%&'*/=?^`{|}~-]*[\w+-]@[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}(?![\w-"
            r"])"
        ),
        _mail,
        has("@"),
    ),
    Rule(
        "email",
        re.compile(rf"(?<![\w.])[\w+-]+(?:{_DOT}[\w+-]+)?{_AT}[\w-]+(?:{_DOT}[\w-]+){{0,2}}{_DOT}{_TOP}\b"),
        _hidden_mail,
        has(
            " at ",
            "(at",
            "[at",
            "{at",
            "<at",
            "ät",
            "arroba",
            "＠",
            "chiocciola",
            "arobase",
            "@ ",
            " @",
            "(@",
            "[@",
            "(a)",
        ),
    ),
    Rule(
        "crypto wallet",
        re.compile(
            r"(?<!\w)(?:0x[0-9a-fA-F]{40}|4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}|ltc1[0-9a-z]{38,60}|"
            r"[LM][1-9A-HJ-NP-Za-km-z]{33}|D[5-9A-HJ-NP-U][1-9A-HJ-NP-Za-km-z]{32}|"
            r"r[1-9A-HJ-NP-Za-km-z]{32,34}|T[1-9A-HJ-NP-Za-km-z]{33})(?!\w)"
        ),
        lambda match: sum(map(str.isdigit, match.value)) > 2,
        digits(3),
    ),
    Rule(
        "crypto wallet",
        re.compile(r"(?<!\w)(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[0-9a-z]{11,71})(?!\w)"),
        _bitcoin,
        digits(1),
    ),
    Rule(
        "crypto wallet",
        re.compile(
            r"(?i:btc|bitcoin|wallet|monero|solana|dogecoin|litecoin|"
            r"crypto)[^\n]{0,20}?\b((?=\w*\d)(?=\w*[A-Z])[1-9A-HJ-NP-Za-km-z]{26,95})\b"
        ),
        holds=has("btc", "bitcoin", "wallet", "monero", "solana", "coin", "crypto"),
    ),
    Rule(
        "mac address",
        re.compile(
            r"(?<![\w:-])(?:(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}|"
            r"(?:[0-9a-f]{4}\.){2}[0-9a-f]{4})(?![\w:-])"
        ),
        lambda match: True,
        digits(1),
    ),
    Rule("ip address", re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-])(?!\.\d)"), _ipv4, digits(4)),
    Rule(
        "ip address",
        re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"),
        _ipv6,
        has("::", ":"),
    ),
    Rule(
        "date of birth",
        re.compile(rf"(?i:(?<!\w)(?:{_BORN})(?!\w))[^\d\n]{{0,25}}?({_DAY})(?!\d)"),
        holds=has(
            *[
                "born",
                "birth",
                "dob",
                "d.o.b",
                "d.ob",
                "do.b",
                "bday",
                "geb",
                "naissance",
                "né",
                "nacid",
                "nacim",
                "nasc",
                "nat",
                "ur.",
                "urodz",
                "föd",
                "fød",
                "syntyn",
                "doğum",
                "рожд",
                "родил",
                "生",
                "出",
                "생",
            ]
        ),
    ),
    Rule("date of birth", re.compile(r"\(\s?\*\s?(\d{1,2}\.\s?\d{1,2}\.\s?\d{4})"), holds=has("*")),
    Rule(
        "user name",
        re.compile(
            rf"(?:https?://)?(?:www\.)?(?:{_SITES})/(?:in/|u/|user/|profile/|"
            rf"@)?([\w.-]{{2,40}}?)/?(?=[\s,;)\"'?!]|\.?\s|\.?$)"
        ),
        _is_user,
        has(".com/", "t.me/", ".net/", ".tv/", ".io/", ".app/"),
    ),
    Rule(
        "user name",
        re.compile(r"https?://[^\s/]+/(?:~|users?/|profiles?/|members?/|people/)([\w.-]{2,40})"),
        _is_user,
        has("/~", "/user", "/profile", "/member", "/people"),
    ),
    Rule(
        "user name",
        re.compile(r"(?:(?<![\w.])/(?:home|Users)/|[A-Z]:\\Users\\)([\w.-]{2,40})"),
        _is_user,
        has("/home/", "/users/", "\\users\\"),
    ),
    Rule("user name", re.compile(r"(?<![\w/])/?u/([\w-]{3,20})(?![\w/])"), _is_user, has("u/")),
    Rule("user name", re.compile(r"(?i)discord\b[^\n#]{0,20}?\s([\w.]{2,32}#\d{4})\b"), holds=has("discord")),
    Rule(
        "user name",
        re.compile(
            rf"(?i)\b(?:{_SERVICES})\b\W{{0,3}}(?:is|name|handle|user(?:name)?|:|me|on|at|"
            rf"\W){{0,4}}\s?(@[\w.]{{3,40}})"
        ),
        holds=has("@"),
    ),
    Rule(
        "user name",
        re.compile(
            r"(?i)\b(?:user ?name|user ?id|login|benutzername|nom d'utilisateur|usuario|gamertag|"
            r"screen name)\s?(?:[:=]|is|ist)\s?[\"'`]?([\w.@-]{3,40})"
        ),
        _secret,
        has("user", "login", "benutzer", "usuario", "gamertag", "screen name", "utilisateur"),
    ),
)
