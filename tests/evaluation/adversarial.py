"""Awkward answers beside what was wanted, and what a person would say each is worth: read by the test and by
``benchmarks/graders.py``. It imports nothing, so that other projects' environments can read it.

A row: kind of the task, wanted answer, given answer, worth from 0 to 1, and why where that is not plain.
"""

from __future__ import annotations

Row = tuple[str, str, str, float, str]

#: Labels of the rows of kind ``label``; one is the beginning of another, one holds a comma, one is a number.
LABELS = (
    "billing",
    "billing late",
    "refund",
    "Not urgent",
    "urgent",
    "other, none",
    "café",
    "5",
    "no",
    "yes",
)

#: Range of the training answers of the rows of kind ``value``.
SCALE = 10.0

NUMBERS: tuple[Row, ...] = (
    ("number", "1/2", "3/2", 0, ""),
    ("number", "1/2", "0.5", 1, ""),
    ("number", "1/2", "½", 1, ""),
    ("number", "1/2", r"\frac{1}{2}", 1, ""),
    ("number", "1.5", "1 1/2", 1, ""),
    ("number", "2.5", "2½", 1, ""),
    ("number", "1.234,50", "9.999,50", 0, ""),
    ("number", "1.234,50", "1234.5", 1, ""),
    ("number", "1.234,50", "1,234.50", 1, ""),
    ("number", "1234.5", "1'234.50", 1, "Switzerland"),
    ("number", "1234567", "1 234 567", 1, "France"),
    ("number", "1234567", "1\u202f234\u202f567", 1, "a space that does not break"),
    ("number", "1234567", "12,34,567", 1, "India"),
    ("number", "1000", "1_000", 1, "as in programs"),
    ("number", "1234.5", "١٬٢٣٤٫٥", 1, "Arabic digits"),
    ("number", "12", "１２", 1, "full-width digits"),
    ("number", "1234", "1.234", 0, "a point before three digits is a decimal point"),
    ("number", "0.5", ".5", 1, ""),
    ("number", "0.5", "0,5", 1, ""),
    ("number", "1000", "1e3", 1, ""),
    ("number", "300000", "3 × 10^5", 1, ""),
    ("number", "300000", "3·10⁵", 1, ""),
    ("number", "0.03", r"3 \times 10^{-2}", 1, ""),
    ("number", "-5", "\u22125", 1, "Unicode minus"),
    ("number", "-5", "\u20135", 1, "en dash"),
    ("number", "-5", "minus 5", 1, ""),
    ("number", "5", "\u22125", 0, ""),
    ("number", "5", "x=-5", 0, ""),
    ("number", "7", "007", 1, ""),
    ("number", "0", "-0", 1, ""),
    ("number", "0", "-0.00", 1, ""),
    ("number", "5", "5.0", 1, ""),
    ("number", "5", "+5", 1, ""),
    ("number", "50", "50%", 1, ""),
    ("number", "0.5", "50%", 1, "the same share"),
    ("number", "50%", "0.5", 1, ""),
    ("number", "50%", "5%", 0, ""),
    ("number", "70000", "$70,000.", 1, ""),
    ("number", "1234.5", "It costs € 1.234,50 today.", 1, ""),
    ("number", "1200", "1,200 USD", 1, ""),
    ("number", "20", r"\$20", 1, "escaped in LaTeX"),
    ("number", "42", "**42**", 1, ""),
    ("number", "42", r"\boxed{42}", 1, ""),
    ("number", "42", "The answer is 42.", 1, ""),
    ("number", "42", "The answer is 42! 😀", 1, ""),
    ("number", "72", "She sold 48+24 = 72 clips.", 1, ""),
    ("number", "#### 1,000", "1000", 1, ""),
    ("number", "18", "9 eggs at 2 each\n#### 18", 1, ""),
    ("number", "18", "#### 18\nThat is 2 more than 16.", 1, "what follows #### counts"),
    ("number", "4", "3-4", 0, "a range is not a number"),
    ("number", "4", "between 3 and 4", 0, "a range is not a number"),
    ("number", "4", "3 to 4 hours", 0, "a range is not a number"),
    ("number", "4", "**3\u20134**", 0, "a range is not a number"),
    ("number", "350000", "The house costs $350 000.", 1, ""),
    ("number", "24", "48 - 24 = 24", 1, ""),
    ("number", "3", "1,2,3", 1, "a list: the last one counts"),
    ("number", "2026", "3/4/2026", 1, "a date is three numbers"),
    ("number", "12", "twelve", 1, ""),
    ("number", "21", "Twenty-one.", 1, ""),
    ("number", "1", "No one knows.", 0, ""),
    ("number", "5000", "5 km", 0, "units are not converted"),
    ("number", "5", "5 km", 1, ""),
    ("number", "5", "15", 0, ""),
    ("number", "5", "NaN", 0, ""),
    ("number", "5", "inf", 0, ""),
    ("number", "5", "1/0", 0, ""),
    ("number", "5", "", 0, ""),
    ("number", "33.33", "33.333", 0, "no tolerance: pass --metric value"),
)

VALUES: tuple[Row, ...] = (
    ("value", "3.5", "3,5", 1, ""),
    ("value", "5.0", "about 6", 0.9, "an error of 1 of 10"),
    ("value", "5.0", "\u22125", 0, "an error of the whole range"),
    ("value", "3.5", "between 3 and 4", 0, "a range is not a number"),
    ("value", "5.0", "no idea", 0, ""),
    ("value", "5.0", "1e999", 0, ""),
    ("value", "5.0", "500", 0, ""),
    ("value", "5.0", "five", 1, ""),
)

JSON: tuple[Row, ...] = (
    ("json", '{"tags": []}', '{"tags": []}', 1, ""),
    ("json", "[]", "[]", 1, ""),
    ("json", "{}", "{}", 1, ""),
    ("json", '{"tags": []}', '{"tags": ["a"]}', 0, ""),
    ("json", '{"tags": {}}', '{"tags": []}', 0, ""),
    ("json", '{"n": 1}', '{"n": 1.0}', 1, ""),
    ("json", '{"n": 0.3}', '{"n": 0.30000000000000004}', 1, "the same number"),
    ("json", '{"n": 1}', '{"n": "1"}', 0, "a text is not a number"),
    ("json", '{"n": 1}', '{"n": true}', 0, ""),
    ("json", '{"n": null}', '{"n": ""}', 0, ""),
    ("json", '{"n": NaN}', '{"n": NaN}', 1, ""),
    ("json", '{"a": 1, "b": null}', '{"a": 1}', 2 / 3, "null is there, absent is not"),
    ("json", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}', 1, "order of keys"),
    ("json", '{"a": 1, "b": 2}', '{"a": 1, "b": 3}', 0.5, ""),
    ("json", '{"a": 1}', '{"a": 1, "b": 2}', 2 / 3, "more than was asked"),
    ("json", '{"a": 1}', '{"A": 1}', 0, ""),
    ("json", '{"a": 1}', '{"a": 2, "a": 1}', 1, "the last of two equal keys, as JSON readers do"),
    ("json", '{"a": {"b": [1, 2]}}', '{"a": {"b": [2, 1]}}', 1, "order of a list"),
    ("json", '{"a": {"b": 1}}', '{"a": 1}', 0, ""),
    ("json", '{"x": ["p", "p"]}', '{"x": ["p"]}', 2 / 3, ""),
    ("json", '[{"a": 1, "b": 2}, {"a": 3, "b": 4}]', '[{"a": 1, "b": 4}, {"a": 3, "b": 2}]', 0.5, "swapped"),
    ("json", '[{"a": 1, "b": 2}, {"a": 3, "b": 4}]', '[{"a": 3, "b": 4}, {"a": 1, "b": 2}]', 1, ""),
    ("json", '{"a": 1}', '```json\n{"a": 1}\n```', 1, ""),
    ("json", '{"a": 1}', 'Here it is: {"a": 1}. I hope this helps!', 1, ""),
    ("json", '{"a": 1}', "{'a': 1}", 0, "not JSON"),
    ("json", '{"a": 1}', '{"a": 1,}', 0, "not JSON"),
    ("json", '{"a": 1}', '{"a": 1', 0, "cut"),
    ("json", '{"a": "é"}', '{"a": "e\u0301"}', 1, "NFC and NFD"),
    ("json", '{"a": "x"}', '{"a": " x "}', 1, ""),
    ("json", '{"a": "x"}', '{"a": "X"}', 0, "case counts in a value"),
    ("json", '{"a": 1}', "", 0, ""),
)

ONE_LABEL: tuple[Row, ...] = (
    ("label", "billing", "Billing", 1, ""),
    ("label", "billing", "billing.", 1, ""),
    ("label", "billing", '"billing"', 1, ""),
    ("label", "billing", "“billing”", 1, ""),
    ("label", "billing", "**billing**", 1, ""),
    ("label", "billing", "Label: billing", 1, ""),
    ("label", "billing", "The label is billing.", 1, ""),
    ("label", "billing", '{"label": "billing"}', 1, ""),
    ("label", "billing", "```\nbilling\n```", 1, ""),
    ("label", "billing", "billings", 0, "another word"),
    ("label", "billing", "It is about a bill, so billing fits.", 0, "a sentence that only mentions it"),
    ("label", "billing", "billing or refund", 0, "two labels"),
    ("label", "billing", "billing, refund", 0, "two labels"),
    ("label", "billing", "not billing", 0, "negated"),
    ("label", "urgent", "Not urgent", 0, "another label"),
    ("label", "urgent", "not urgent", 0, "another label"),
    ("label", "Not urgent", "NOT URGENT", 1, ""),
    ("label", "billing", "billing late", 0, "another label that begins alike"),
    ("label", "billing late", "billing", 0, ""),
    ("label", "billing late", "billing  late", 1, ""),
    ("label", "other, none", "other, none", 1, "a comma in a label"),
    ("label", "café", "cafe\u0301", 1, "NFD"),
    ("label", "café", "cafe", 0, "an accent is part of a word"),
    ("label", "5", "5.", 1, ""),
    ("label", "5", "five", 0, "a label is a text"),
    ("label", "no", "No, because the card has not come.", 0, "an explanation; ask for the label alone"),
    ("label", "yes", "", 0, ""),
)

SEVERAL: tuple[Row, ...] = (
    ("labels", '["a", "b"]', "b, a", 1, ""),
    ("labels", '["a", "b"]', '["b", "a"]', 1, ""),
    ("labels", '["a", "b"]', "a; b", 1, ""),
    ("labels", '["a", "b"]', "- a\n- b", 1, ""),
    ("labels", '["a", "b"]', "A, **b**.", 1, ""),
    ("labels", '["a", "b"]', "a", 2 / 3, ""),
    ("labels", '["a", "b"]', "a, b, c", 0.8, ""),
    ("labels", '["a", "b"]', "a, a", 2 / 3, "twice is once"),
    ("labels", "[]", "none", 1, "no label at all"),
    ("labels", "[]", "", 1, ""),
    ("labels", "[]", "a", 0, ""),
)

WHOLE: tuple[Row, ...] = (
    ("exact", "2024-05-03", "2024-05-03", 1, ""),
    ("exact", "2024-05-03", "2024-05-30", 0, "chrF would give it most of 1"),
    ("exact", "2024-05-03", "3 May 2024", 0, "another form: the one asked for counts"),
    ("exact", "2024-05-03", "The date is 2024-05-03.", 1, ""),
    ("exact", "2024-05-03", "2024\u201105\u201103", 1, "hyphens that do not break"),
    ("exact", "AB-1234", "ab-1234", 1, ""),
    ("exact", "AB-1234", "AB-1235", 0, "chrF would give it most of 1"),
    ("exact", "AB-1234", "`AB-1234`", 1, ""),
    ("exact", "12:30", "12:30", 1, ""),
    ("exact", "12:30", "12:03", 0, ""),
    ("exact", "a.b@x.org", "a.b@x.com", 0, ""),
)

TEXTS: tuple[Row, ...] = (
    ("text", "the parcel is late", "the parcel is late", 1, ""),
    ("text", "我想退货", "我想退货", 1, ""),
    ("text", "👍🏽", "👍🏽", 1, ""),
    ("text", "שלום עולם", "\u200fשלום עולם", 1, "a mark of direction"),
    ("text", "ﬁnal oﬀer", "final offer", 1, "ligatures"),
    ("text", "café crème", "cafe\u0301 cre\u0300me", 1, "NFC and NFD"),
    ("text", "the parcel is late", "", 0, ""),
    ("rouge", "我想退货", "我想退款", 0.75, "three of four characters"),
    ("rouge", "配送が遅い", "配送が遅い", 1, ""),
    ("rouge", "Das Paket ist da", "das paket ist weg", 0.75, ""),
    ("rouge", "Die Straße", "DIE STRASSE", 1, ""),
    ("rouge", "👍🏽", "👍🏽", 1, ""),
    ("rouge", "👍", "👎", 0, ""),
    ("rouge", "café crème", "cafe\u0301 cre\u0300me", 1, "NFC and NFD"),
    ("rouge", "สวัสดี", "สวัสดี", 1, "Thai"),
    ("rouge", "one two three", "", 0, ""),
)

CODE: tuple[Row, ...] = (
    ("code", "a + b", "    return a + b\n", 1, ""),
    ("code", "a + b", "```python\ndef add(a, b):\n    return a + b\n```", 1, ""),
    ("code", "a + b", "Sure!\n```\ndef add(a, b):\n    return a + b\n```\nIt adds.", 1, ""),
    ("code", "a + b", "    return a - b\n", 0, ""),
    ("code", "a + b", "def add(a, b) return a + b", 0, "no Python"),
    ("code", "a + b", "", 0, ""),
)

ROWS: tuple[Row, ...] = NUMBERS + VALUES + JSON + ONE_LABEL + SEVERAL + WHOLE + TEXTS + CODE


def shown(text: str) -> str:
    """A text as a cell of a Markdown table: what is not seen, and what Markdown takes, is written out."""
    marks = {"\n": "⏎", "|": "\\|", "`": "'"}
    signs = [marks.get(sign, sign if sign.isprintable() else f"<U+{ord(sign):04X}>") for sign in text]
    return f"`{''.join(signs)}`" if text else "(empty)"
