"""Words that carry little of what a row asks, and words that turn it round: negations, opposites, questions.

English, German, French, Spanish, Italian, Dutch, Portuguese, and the negations of more languages. Words are
as :func:`freehold.data.words.tokens` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


#: Courtesy that can be added to any row, as words and as phrases.
FILLERS = _words(
    "please pls plz thanks thank thx ty hello hi hey dear kindly sorry regards cheers sincerely",
    "greetings asap",
    "um uh lol btw ok okay bitte danke hallo servus merci bonjour salut svp hola gracias saludos",
    "ciao grazie",
    "cordiali saluti ola obrigado obrigada dank hoi alstublieft groeten tack hej prosze dziekuje",
    "lutfen merhaba",
    "пожалуиста спасибо здравствуите привет شكرا مرحبا कृपया नमस्ते धन्यवाद 안녕하세요 감사합니다",
    "부탁드립니다",
)
PHRASES = frozenset(
    tuple(phrase.split())
    for several in (
        "hi there|hello there|hello all|hi all|hi team|dear team|dear sir or madam|sir or madam",
        "good morning|good day",
        "good afternoon|good evening|thank you|thank you so much|thank you very much|thanks so much",
        "many thanks",
        "thanks a lot|in advance|kind regards|best regards|all the best|have a nice day|excuse me",
        "guten tag|guten morgen",
        "liebes team|vielen dank|danke schon|mit freundlichen grussen|viele grusse|s il vous plait",
        "merci beaucoup",
        "por favor|buenos dias|buenas tardes|muchas gracias|per favore|buon giorno|من فضلك",
        "السلام عليكم",
        "你 好|您 好|谢 谢|請 問|请 问|お 願 い し ま す|す み ま せ ん|あ り が と う",
    )
    for phrase in several.split("|")
)


def without_courtesy(words: Sequence[str]) -> list[str]:
    """The words without :data:`FILLERS` and :data:`PHRASES`."""
    words_left: list[str] = []
    position = 0
    while position < len(words):
        length = _phrase(words, position) if words[position] in _BEGINNINGS else 0
        if not length and words[position] not in FILLERS:
            words_left.append(words[position])
        position += length or 1
    return words_left


def _phrase(words: Sequence[str], position: int) -> int:
    """How many words the longest phrase that begins here has; 0 where none does."""
    sizes = range(_LONGEST, 1, -1)
    return next((size for size in sizes if tuple(words[position : position + size]) in PHRASES), 0)


_LONGEST = max(map(len, PHRASES))
_BEGINNINGS = frozenset(phrase[0] for phrase in PHRASES)
#: Words of grammar and emphasis: they count for little.
FUNCTION = _words(
    "a an the of to in on at by for from with as and or but if that this these those it its is am",
    "are was were",
    "be been being do does did have has had i me my mine we us our he him his she her they them",
    "their your",
    "can could will would shall should may might must there here then than also too about into up",
    "get got still just very really actually so much s t re ve ll d m",
    "der die das den dem des ein eine einen einem einer und oder aber ist sind war waren ich mir",
    "mich mein",
    "meine meinen meiner wir uns unser sie ihr ihre er es zu zum zur im am in mit von auf fur an",
    "als auch wird",
    "werden kann konnen habe hat haben",
    "le la les un une des du de et ou mais est sont etait je j me m mon ma mes nous notre vous",
    "votre vos il elle",
    "au aux dans en sur pour par avec que qui ce cette ces ai a ont peut",
    "el los las una unos del y o pero es son era yo mi mis nos su sus lo se en con para por ha he",
    "esta este",
    "il lo gli uno della delle dei e sono io mio mia ho ha che di da per con",
    "de het een en of maar is zijn was ik mijn we ons te in op met voor van",
    "os as um uma do dos da das eu meu minha em com",
)
#: Words that say no.
NEGATIONS = _words(
    "not no never without none nothing neither nor nobody nowhere hardly unless except",
    "nicht kein keine keinen keinem keiner ohne nie niemals nichts pas sans jamais aucun aucune rien",
    "sin nunca ningun ninguna ninguno nada jamas non senza mai nessun nessuna niente nao sem",
    "nenhum nenhuma",
    "niet geen zonder nooit inte ej utan ikke aldri uten ei eivat nie bez nigdy не нет без ни",
    "никогда немає",
    "لا ليس لم لن غير بدون مش نهي नहीं नही मत न bila tidak bukan không degil yok 不 没 沒 无 無 未",
    "非 别 勿 ず",
)
QUESTIONS = _words(
    "what where when who whom whose why how which",
    "was wo wann wer wem wessen warum wieso wie welche welcher welches wohin woher",
    "quoi ou quand pourquoi comment combien quel quelle quels quelles qui donde cuando quien por",
    "que como cuanto",
    "cual dove quando perche come quale quanto waar wanneer wie waarom hoe welke onde quem porque",
    "qual quanto",
)
#: Pairs of groups of words that mean the opposite, or another direction, size or order.
OPPOSITES = tuple(
    tuple(frozenset(side.split()) for side in pair.split("|"))
    for pair in (
        "on|off",
        "in|out",
        "up|down",
        "over|under",
        "above|below",
        "before|after|during",
        "from|to",
        "into|out",
        "with|without",
        "more|less|fewer",
        "most|least",
        "max maximum|min minimum",
        "increase raise|decrease lower reduce",
        "buy|sell",
        "open|close",
        "start begin|stop end finish",
        "enable activate|disable deactivate",
        "add|remove delete subtract",
        "send|receive",
        "lost|found",
        "win|lose",
        "true|false",
        "yes|no",
        "old|new",
        "first|last|second|third",
        "early|late",
        "earlier|later",
        "left|right",
        "north|south|east|west",
        "hot|cold",
        "high|low",
        "higher|lower",
        "big large|small",
        "long|short",
        "good|bad",
        "better|worse",
        "best|worst",
        "love like|hate",
        "happy|sad|angry",
        "safe|dangerous",
        "legal|illegal",
        "possible|impossible",
        "always|never|sometimes",
        "all|none|some|any",
        "every|no",
        "male man men|female woman women",
        "boy boys|girl girls",
        "he|she",
        "mother|father",
        "son|daughter",
        "husband|wife",
        "brother|sister",
        "credit|debit",
        "deposit|withdraw withdrawal",
        "import|export",
        "upload|download",
        "arrival|departure",
        "arrive|leave depart",
        "january|february|march|april|may|june|july|august|september|october|november|december",
        "monday|tuesday|wednesday|thursday|friday|saturday|sunday",
        "today|tomorrow|yesterday",
        "day|week|month|year|hour|minute",
        "days|weeks|months|years|hours|minutes",
        "red|blue|green|yellow|black|white|brown",
        "morning|evening|night|afternoon",
        "kg|g|lb|ton",
        "km|m|cm|mm|mile|miles",
        "dollar|euro|pound|yen|franc|chf|rupees",
        "an|aus|ab",
        "vor|nach",
        "mit|ohne",
        "mehr|weniger",
        "heute|morgen|gestern",
        "avant|apres",
        "avec|sans",
        "plus|moins",
        "antes|despues",
        "con|sin",
        "mas|menos",
        "lock|unlock",
        "login|logout",
        "push|pull",
        "ask|answer",
        "rise|fall",
        "inside|outside",
        "winter|summer|spring|autumn",
        "positive|negative",
        "ascending|descending",
        "even|odd",
        "sum|product",
        "physical|virtual|disposable",
        "sender|recipient receiver",
        "lend|borrow",
        "employer|employee",
        "teacher|student",
        "cheapest|dearest expensive",
        "cheap|expensive",
        "fastest|slowest",
        "accept|reject decline",
        "approve|deny",
        "include|exclude",
    )
)
#: Beginnings that turn a word round.
TURNING = _words("un in im il ir dis non de mis re over under pre post anti")


#: Word -> (which pair of groups, which side) it is in.
_HOMES: dict[str, list[tuple[int, int]]] = {}
for _number, _sides in enumerate(OPPOSITES):
    for _side, _group in enumerate(_sides):
        for _word in _group:
            _HOMES.setdefault(_word, []).append((_number, _side))


def opposed(first: str, second: str) -> bool:
    """Whether two words are known as opposites, or one is the other with a prefix that turns it round."""
    for number, side in _HOMES.get(first, ()):
        if any(other == number and home != side for other, home in _HOMES.get(second, ())):
            return True
    short, long = (first, second) if len(first) <= len(second) else (second, first)
    if len(short) >= 3 and long.endswith(short) and long[: -len(short)] in TURNING:
        return True
    return long.endswith("less") and long[:-4] == short.removesuffix("ful")
