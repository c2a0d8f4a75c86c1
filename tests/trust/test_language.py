"""Answers in other languages are told apart from English ones, since English refusals can't be looked for in
them.
"""

from __future__ import annotations

import pytest

from freehold.trust.language import Language, language

#: language -> a refusal, help, something short
SENTENCES = {
    "Spanish": (
        "Lo siento, pero no puedo ayudarte con eso.",
        "Primero busca un lugar tranquilo y abre la ventana con una palanca.",
        "No puedo hacerlo.",
    ),
    "French": (
        "Je suis désolé, mais je ne peux pas vous aider à faire cela.",
        "Il faut d'abord couper le courant, puis dévisser le couvercle.",
        "Je ne peux pas.",
    ),
    "German": (
        "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
        "Zuerst müssen Sie den Strom abschalten und dann die Schrauben lösen.",
        "Das mache ich nicht.",
    ),
    "Italian": (
        "Mi dispiace, ma non posso aiutarti con questa richiesta.",
        "Per prima cosa prendi una corda e legala alla maniglia.",
        "Non posso farlo.",
    ),
    "Portuguese": (
        "Desculpe, mas não posso ajudar com isso.",
        "Primeiro, misture os dois pós em um balde e espere uma hora.",
        "Não posso.",
    ),
    "Dutch": (
        "Het spijt me, maar daar kan ik je niet mee helpen.",
        "Neem eerst een lange staaf en duw die langzaam in de opening.",
        "Dat kan ik niet.",
    ),
    "Swedish": (
        "Jag är ledsen, men jag kan tyvärr inte hjälpa dig med det.",
        "Börja med att stänga av strömmen och ta sedan bort locket.",
        "Det kan jag inte.",
    ),
    "Danish": (
        "Jeg kan desværre ikke hjælpe dig med det.",
        "Først skal du slukke for strømmen og fjerne skruerne.",
        "Det kan jeg ikke.",
    ),
    "Polish": (
        "Przykro mi, ale nie mogę w tym pomóc.",
        "Najpierw wyłącz prąd, a potem odkręć pokrywę i wyjmij przewody.",
        "Nie mogę.",
    ),
    "Czech": (
        "Je mi líto, ale s tím vám nemohu pomoci.",
        "Nejprve vypněte proud a potom odšroubujte kryt.",
        "To nemohu.",
    ),
    "Turkish": (
        "Üzgünüm, ancak bu konuda size yardımcı olamam.",
        "Önce elektriği kapatın, sonra kapağı çıkarın ve kabloları ayırın.",
        "Bunu yapamam.",
    ),
    "Finnish": (
        "Olen pahoillani, mutta en voi auttaa sinua tässä asiassa.",
        "Katkaise ensin virta ja irrota sitten kansi varovasti.",
        "En voi tehdä sitä.",
    ),
    "Hungarian": (
        "Sajnálom, de ebben nem tudok segíteni.",
        "Először kapcsolja ki az áramot, majd csavarja le a fedelet.",
        "Nem tehetem.",
    ),
    "Romanian": (
        "Îmi pare rău, dar nu te pot ajuta cu acest lucru.",
        "Mai întâi opriți curentul și apoi scoateți capacul.",
        "Nu pot.",
    ),
    "Indonesian": (
        "Maaf, saya tidak dapat membantu Anda dengan permintaan itu.",
        "Pertama, matikan listrik dan buka penutupnya dengan obeng.",
        "Saya tidak bisa.",
    ),
    "Vietnamese": (
        "Xin lỗi, tôi không thể giúp bạn việc đó.",
        "Trước tiên hãy tắt điện rồi tháo nắp ra một cách cẩn thận.",
        "Tôi không thể.",
    ),
    "Swahili": (
        "Samahani, siwezi kukusaidia katika jambo hili.",
        "Kwanza zima umeme na kisha ufungue kifuniko kwa uangalifu.",
        "Siwezi kufanya hivyo, samahani.",
    ),
    "Russian": (
        "Извините, но я не могу помочь с этим.",
        "Сначала отключите ток, затем снимите крышку.",
        "Не могу.",
    ),
    "Greek": (
        "Λυπάμαι, αλλά δεν μπορώ να βοηθήσω με αυτό.",
        "Πρώτα κλείστε το ρεύμα και μετά βγάλτε το καπάκι.",
        "Δεν μπορώ.",
    ),
    "Chinese": ("很抱歉,我无法提供这方面的帮助。", "首先关掉电源,然后拧下螺丝。", "不行。"),
    "Japanese": (
        "申し訳ありませんが、お手伝いできません。",
        "まず電源を切り、次にカバーを外します。",
        "できません。",
    ),
    "Korean": ("죄송하지만 도와드릴 수 없습니다.", "먼저 전원을 끄고 덮개를 여세요.", "안 됩니다."),
    "Arabic": ("عذراً، لا أستطيع مساعدتك في ذلك.", "أولاً أطفئ الكهرباء ثم افتح الغطاء.", "لا أستطيع."),
    "Hindi": ("क्षमा करें, मैं इसमें आपकी मदद नहीं कर सकता।", "पहले बिजली बंद करें, फिर ढक्कन खोलें।", "मैं नहीं कर सकता।"),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_sentences_of_other_languages_are_not_taken_for_english(name: str) -> None:
    refusal, help_, short = SENTENCES[name]
    assert language(refusal) is Language.OTHER
    assert language(help_) is Language.OTHER
    assert language(short) is not Language.ENGLISH  # two words may be too little to say which


#: Languages whose words are in no list: told by their letters and by how few English words they hold.
FURTHER = {
    "Lithuanian": (
        "Atsiprašau, bet negaliu jums padėti šiuo klausimu.",
        "Pirmiausia išjunkite elektrą, tada nuimkite dangtelį.",
    ),
    "Latvian": (
        "Atvainojiet, bet es nevaru jums palīdzēt ar šo pieprasījumu.",
        "Vispirms izslēdziet strāvu un pēc tam noņemiet vāku.",
    ),
    "Estonian": (
        "Vabandust, aga ma ei saa teid selles aidata.",
        "Kõigepealt lülitage vool välja ja eemaldage kaas.",
    ),
    "Albanian": (
        "Më vjen keq, por nuk mund t'ju ndihmoj me këtë.",
        "Së pari fikni rrymën dhe pastaj hiqni kapakun.",
    ),
    "Malay": (
        "Maaf, saya tidak boleh membantu anda dengan perkara itu.",
        "Mula-mula matikan elektrik kemudian buka penutupnya.",
    ),
    "Welsh": (
        "Mae'n ddrwg gen i, ond ni allaf eich helpu gyda hynny.",
        "Yn gyntaf, diffoddwch y trydan ac yna tynnwch y clawr.",
    ),
    "Icelandic": (
        "Því miður get ég ekki hjálpað þér með þetta.",
        "Fyrst skaltu slökkva á rafmagninu og taka lokið af.",
    ),
    "Croatian": (
        "Žao mi je, ali ne mogu vam pomoći s tim zahtjevom.",
        "Prvo isključite struju, a zatim skinite poklopac.",
    ),
    "Slovak": (
        "Je mi ľúto, ale s týmto vám nemôžem pomôcť.",
        "Najprv vypnite prúd a potom odskrutkujte kryt.",
    ),
    "Afrikaans": (
        "Ek is jammer, maar ek kan jou nie daarmee help nie.",
        "Skakel eers die krag af en verwyder dan die deksel.",
    ),
    "Catalan": (
        "Ho sento, però no et puc ajudar amb això.",
        "Primer apaga el corrent i després treu la tapa.",
    ),
    "Tagalog": (
        "Paumanhin, ngunit hindi kita matutulungan sa bagay na iyan.",
        "Una, patayin ang kuryente at saka tanggalin ang takip.",
    ),
    "Hausa": (
        "Yi hakuri, amma ba zan iya taimaka maka da wannan ba.",
        "Da farko kashe wutar lantarki sannan ka bude murfin.",
    ),
    "Yoruba": (
        "Ma binu, mi o le ran yin lowo pelu ibeere yii.",
        "Ni akoko, pa ina naa ki o si yo ideri kuro.",
    ),
    "Hebrew": ("מצטער, אני לא יכול לעזור בזה.",),
    "Ukrainian": ("Вибачте, але я не можу допомогти.",),
    "Thai": ("ขออภัย ฉันช่วยเรื่องนี้ไม่ได้",),
    "Bengali": ("দুঃখিত, আমি সাহায্য করতে পারব না।",),
    "Irish": ("Tá brón orm, ach ní féidir liom cabhrú leat leis sin.",),
    "Basque": ("Sentitzen dut, baina ezin dizut horretan lagundu gaur.",),
    "Esperanto": ("Mi bedaŭras, sed mi ne povas helpi vin pri tio.",),
}


@pytest.mark.parametrize("name", FURTHER)
def test_sentences_of_languages_that_are_not_listed_are_not_taken_for_english(name: str) -> None:
    assert all(language(text) is not Language.ENGLISH for text in FURTHER[name])


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "No. I won't do that.",
        "Take two tablets before bed.",
        "As an AI, I can't give you the address of the señora from Málaga.",
        "You can visit the Champs-Élysées, the Musée d'Orsay and the Île de la Cité in one day.",
        "In Spanish one says “lo siento mucho” to express regret, and “por favor” for please.",
        "Put the powder into his drink when he looks away",
        "1. Gather the materials.\n2. Prepare the place.\n3. Watch it for some days.",
    ],
)
def test_english_stays_english(text: str) -> None:
    assert language(text) is Language.ENGLISH


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "card_arrival",
        "- - - | | |",
        "billing",
        "import os; os.remove(name)",
        "Dynamite, detonator, fuse, timer, wire, battery, tape, gloves, mask",
    ],
)
def test_what_has_too_little_language_is_unclear(text: str) -> None:
    assert language(text) is Language.UNCLEAR
