"""The usual names of columns, by the part a column plays: English, German, French, Spanish, Italian, Dutch,
Portuguese.

Names are compared without case, accents, spaces and signs. Each part has tiers: a name of an earlier tier
is the better candidate, and two columns of the same tier are equally good.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

Tiers = tuple[frozenset[str], ...]

#: What ``--columns PART=COLUMN`` takes, and what each part is.
PARTS = {
    "text": "the text to classify; several columns are joined with +",
    "label": "its label",
    "labels": "its labels, where a row has several",
    "prompt": "the question or task",
    "completion": "the expected answer",
    "choices": "what the answer is chosen from; several columns are joined with +",
    "context": "a passage that is put before the prompt",
    "system": "the system message",
    "history": "earlier turns, pairs of question and answer",
    "instruction": "what to do with the input",
    "input": "what the instruction is about",
    "messages": "a list of chat messages",
    "rejected": "the worse answer",
    "id": "the row's id",
    "weight": "0 for rows to leave out",
    "tools": "functions the assistant may call",
    "answer": "the short answer that a number is compared with",
    "code": "the rest of the function that the prompt begins",
    "test": "the unit tests of that function",
    "entry_point": "the function's name",
    "good": "whether the answer is a good one (true or false)",
}


def _tiers(*tiers: str) -> Tiers:
    return tuple(frozenset(tier.split()) for tier in tiers)


MESSAGES = _tiers(
    "messages", "conversations conversation chat dialog dialogue dialogs turns chatmessages messagelist"
)
CHOSEN = _tiers(
    "chosen",
    "chosenresponse responsechosen preferred preferredoutput preferredresponse accepted chosenanswer better",
)
REJECTED = _tiers(
    "rejected",
    "rejectedresponse responserejected dispreferred nonpreferredoutput dispreferredresponse rejectedanswer "
    "nonpreferred unpreferred worse",
)
GOOD = _tiers("label", "ktotag desirable thumbsup isgood good accepted isdesirable")
SYSTEM = _tiers("system", "systemprompt systemmessage sysprompt")
HISTORY = _tiers("history", "chathistory previousturns")
TOOLS = _tiers("tools", "functions toolsjson tooldefinitions")
INSTRUCTION = _tiers("instruction", "instructions task anweisung consigne instruccion")
INPUT = _tiers("input", "inputs eingabe entree entrada")
CONTEXT = _tiers(
    "context", "passage background paragraph contexts kontext contexte contexto", "document article premise"
)
PROMPT = _tiers(
    "prompt",
    "question query instruction frage pregunta domanda vraag pergunta",
    "input user request problem source src issue inputs instructions prompts questions inquiry anfrage "
    "eingabe consulta",
)
COMPLETION = _tiers(
    "completion",
    "response output answer answers reply chosen assistant antwort reponse respuesta risposta antwoord "
    "resposta",
    "target summary translation expected expectedoutput expectedanswer referenceanswer idealresponse "
    "ideal groundtruth gold reference "
    "highlights outputs responses solution resolution result zusammenfassung ubersetzung uebersetzung "
    "resume traduction resumen traduccion",
)
TEXT = _tiers(
    "text texte texto testo tekst texts",
    "body message content description ticket review comment sentence utterance email document article post "
    "tweet feedback complaint "
    "issue passage transcript narrative abstract mail sms reviews comments messages ticketbody emailbody "
    "langtext nachricht beschreibung inhalt kommentar bewertung satz beschwerde rezension meldung "
    "commentaire avis contenu phrase corps reclamation mensaje descripcion comentario resena contenido "
    "cuerpo oracion "
    "messaggio descrizione recensione commento contenuto corpo bericht omschrijving inhoud mensagem "
    "descricao conteudo",
    "question query prompt input request inquiry subject title headline notes note summary snippet dialogue "
    "dialog conversation "
    "betreff titel frage anfrage objet sujet titre asunto titulo pregunta consulta oggetto titolo onderwerp "
    "assunto "
    "context instruction",
)
SUBJECT = _tiers(
    "subject kurztext betreff asunto objet oggetto onderwerp assunto subjectline",
    "title titel titre titulo titolo headline sujet",
)
#: A short line before one of these is a subject too: trackers export "Summary" and "Description".
SUMMARY, DESCRIPTION = _tiers("summary zusammenfassung"), _tiers("description beschreibung descripcion")
LABEL = _tiers(
    "label labels",
    "category class intent topic sentiment target tag tags categories classes intents topics classification "
    "goldlabel labelname y emotion annotation accept "
    "kategorie klasse thema stimmung absicht etiquette categorie classe theme etiqueta etiquetas categoria "
    "clase tema sentimiento "
    "etichetta sentimento",
    "team priority department queue status rating stars score severity type group urgency language polarity "
    "grade star ratings outcome overall "
    "subcategory product reason subject sujet "
    "abteilung prioritat prioritaet warteschlange bewertung schweregrad typ art gruppe dringlichkeit sprache "
    "equipe priorite service statut note gravite langue equipo prioridad departamento cola estado puntuacion "
    "gravedad idioma tipo "
    "priorita reparto stato punteggio gravita prioriteit afdeling ernst prioridade fila",
)
SEVERAL = _tiers("labels tags categories topics intents classes etiquetas")
ID = _tiers(
    "id", "taskid uuid guid rowid key ticketid exampleid number ticket_id ticketnumber ticketno caseid"
)
#: Columns with few values that are about the row, not its label; never taken as a label by their values
#: alone.
ABOUT = frozenset({"split", "lang", "locale", "country", "fold", "version", "partition"})
#: Columns of objects that are about the row, not its answer.
BESIDE = frozenset({"meta", "metadata", "info", "extra", "attributes"})
#: The two texts of a row that is about a pair.
PAIRS = (
    ("premise", "hypothesis"),
    ("claim", "evidence"),
    ("texta", "textb"),
    ("sentencea", "sentenceb"),
    ("query", "document"),
    ("query", "passage"),
    ("question", "sentence"),
    ("sentence", "question"),
    ("context", "hypothesis"),
)
#: What is chosen from, and the columns that each hold one choice.
CHOICES = _tiers("choices options answerchoices answeroptions candidates alternatives endings")
CHOICE_COLUMNS = (
    ("a", "b", "c", "d", "e", "f"),
    ("opa", "opb", "opc", "opd", "ope"),
    ("optiona", "optionb", "optionc", "optiond", "optione"),
    ("choicea", "choiceb", "choicec", "choiced", "choicee"),
    ("option1", "option2", "option3", "option4", "option5"),
    ("choice1", "choice2", "choice3", "choice4", "choice5"),
    ("answera", "answerb", "answerc", "answerd", "answere"),
    ("ending0", "ending1", "ending2", "ending3"),
    ("sol1", "sol2"),
)
#: The number that a written solution ends in.
FINAL = _tiers("finalanswer shortanswer numericanswer numericalanswer")
#: Which of the choices is right.
CHOICE = _tiers(
    "answerkey answer label correct answeridx answerindex correctanswer correctoption cop gold target "
    "correctchoice rightanswer correctindex"
)


@dataclass(frozen=True, order=True)
class Rank:
    """How well a name fits a part: the tier first, then whether the whole name, its last word or another of
    its words fits.
    """

    tier: int
    word: int


def words_of(name: str) -> list[str]:
    """``Ticket Body``, ``ticketBody`` and ``ticket_body`` are all ``["ticket", "body"]``; accents are
    dropped.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(name))
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", spaced) if not unicodedata.combining(c)
    ).casefold()
    return re.findall(r"[^\W_]+", plain)


def plain(name: str) -> str:
    """A name as names are compared: ``Ticket Body`` is ``ticketbody``."""
    return "".join(words_of(name))


def rank(name: str, tiers: Tiers, *, whole: bool = False) -> Rank | None:
    """How well a column's name fits a part, None where it does not; ``whole`` ignores single words of it."""
    words = words_of(name)
    joined = "".join(words)
    for tier, names in enumerate(tiers):
        if joined in names:
            return Rank(tier, 0)
    if whole or len(words) < 2:
        return None
    for tier, names in enumerate(tiers):
        if words[-1] in names:
            return Rank(tier, 1)
    for tier, names in enumerate(tiers):
        if any(word in names for word in words[:-1]):
            return Rank(tier, 2)
    return None


def is_pair(first: str, second: str) -> bool:
    """Whether two columns are the two texts of a pair: premise and hypothesis, or names that end in 1 and 2
    or in A and B.
    """
    first_plain, two = plain(first), plain(second)
    if (first_plain, two) in PAIRS:
        return True
    return (
        first_plain[:-1] == two[:-1]
        and len(first_plain) > 2
        and (first_plain[-1:], two[-1:]) in {("1", "2"), ("a", "b")}
    )
