"""Spreadsheets, written here as the archives of XML that they are."""

import io
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from freehold.core.errors import BadData, FreeholdError, NotFound, UsageError
from freehold.data.readers import read_tables
from freehold.data.table import Table

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_R = f'xmlns:r="{_RELATIONS}"'
_LINKS = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
_TYPES = 'xmlns="http://schemas.openxmlformats.org/package/2006/content-types"'
_STYLES = '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
#: A cell's style that shows a number as a date, in the stylesheet above.
DATE = 1


class Day(float):
    """A number of days that a cell shows as a date."""


def xlsx(sheets: dict[str, list[list[Any]]], merged: str = "", hidden: tuple[str, ...] = ()) -> bytes:
    """A workbook; None is no cell. ``merged``: a range of the first sheet such as ``A2:A3``."""
    listed, links = "", f'<Relationship Id="rId99" Type="{_RELATIONS}/styles" Target="styles.xml"/>'
    parts: dict[str, str] = {}
    for number, (name, rows) in enumerate(sheets.items(), 1):
        state = ' state="hidden"' if name in hidden else ""
        listed += f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rId{number}"{state}/>'
        target = f"worksheets/sheet{number}.xml"
        links += f'<Relationship Id="rId{number}" Type="{_RELATIONS}/worksheet" Target="{target}"/>'
        merge = f'<mergeCells><mergeCell ref="{merged}"/></mergeCells>' if merged and number == 1 else ""
        data = "".join(_row(*row) for row in enumerate(rows, 1))
        parts[f"xl/{target}"] = f"<worksheet {_MAIN}><sheetData>{data}</sheetData>{merge}</worksheet>"
    book = f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/>'
    return _archive(
        {
            "[Content_Types].xml": f"<Types {_TYPES}/>",
            "_rels/.rels": f"<Relationships {_LINKS}>{book}</Relationships>",
            "xl/workbook.xml": f"<workbook {_MAIN} {_R}><sheets>{listed}</sheets></workbook>",
            "xl/_rels/workbook.xml.rels": f"<Relationships {_LINKS}>{links}</Relationships>",
            "xl/styles.xml": f"<styleSheet {_MAIN}>{_STYLES}</styleSheet>",
            **parts,
        }
    )


def _row(number: int, cells: list[Any]) -> str:
    return (
        f'<row r="{number}">'
        + "".join(_cell(f"{chr(65 + n)}{number}", cell) for n, cell in enumerate(cells) if cell is not None)
        + "</row>"
    )


def _cell(reference: str, value: Any) -> str:
    if isinstance(value, str):
        return f'<c r="{reference}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    if isinstance(value, bool):
        return f'<c r="{reference}" t="b"><v>{int(value)}</v></c>'
    style = f' s="{DATE}"' if isinstance(value, Day) else ""
    return f'<c r="{reference}"{style}><v>{float(value)!r}</v></c>'


def _archive(parts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def ods(rows: list[list[str]]) -> bytes:
    """A document with one sheet."""
    spec = "urn:oasis:names:tc:opendocument:xmlns"
    root = "office:document-content"
    spaces = " ".join(f'xmlns:{name}="{spec}:{name}:1.0"' for name in ("office", "table", "text"))
    body = ""
    for row in rows:
        cells = (f"<text:p>{escape(cell)}</text:p></table:table-cell>" for cell in row)
        opened = '<table:table-cell office:value-type="string">'
        body += f"<table:table-row>{''.join(opened + cell for cell in cells)}</table:table-row>"
    sheet = f'<office:spreadsheet><table:table table:name="Jan">{body}</table:table></office:spreadsheet>'
    return _archive(
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="{spec}:manifest:1.0"/>',
            "content.xml": f"<{root} {spaces}><office:body>{sheet}</office:body></{root}>",
        }
    )


HEADER = ["text", "label"]
ROWS = [["hello", "greeting"], ["bye", "parting"]]
TWO = [{"text": "hello", "label": "greeting"}, {"text": "bye", "label": "parting"}]


def read(folder: Path, content: bytes, name: str = "orders.xlsx", sheet: str = "") -> Table:
    (folder / name).write_bytes(content)
    return read_tables(f"{folder / name}{sheet}")["train"]


def fields(table: Table) -> list[dict[str, Any]]:
    return [row.fields for row in table.rows]


def test_the_first_sheet_is_read_and_said(tmp_path: Path) -> None:
    table = read(tmp_path, xlsx({"Jan": [HEADER, *ROWS]}))
    assert fields(table) == TWO
    assert table.notes == ('The rows are in the sheet "Jan".',)
    assert [row.place for row in table.rows] == [
        'orders.xlsx, sheet "Jan", row 2',
        'orders.xlsx, sheet "Jan", row 3',
    ]


def test_empty_and_hidden_sheets_are_passed_over_and_others_offered(tmp_path: Path) -> None:
    book = xlsx(
        {"Cover": [], "Secret": [HEADER, ["x", "y"]], "Jan": [HEADER, *ROWS], "Feb": [HEADER, ["x", "y"]]},
        hidden=("Secret",),
    )
    table = read(tmp_path, book)
    assert fields(table) == TWO
    assert table.notes[1] == 'Sheets that are not used: "Secret", "Feb". Choose one with orders.xlsx#Secret.'


def test_a_sheet_can_be_chosen(tmp_path: Path) -> None:
    book = xlsx({"Jan": [HEADER, ["x", "y"]], "Feb 2026": [HEADER, *ROWS]})
    assert fields(read(tmp_path, book, sheet="#Feb 2026")) == TWO
    with pytest.raises(NotFound, match='has no sheet "March"; it has "Jan", "Feb 2026"'):
        read(tmp_path, book, sheet="#March")


def test_cells_are_texts_and_numbers_as_they_are_shown(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        xlsx(
            {
                "Jan": [
                    ["text", "count", "price", "day", "time", "paid", "note"],
                    ["a", 3, 2.5, Day(46085), Day(46085.5), True, None],
                ]
            }
        ),
    )
    assert fields(table) == [
        {
            "text": "a",
            "count": 3,
            "price": 2.5,
            "day": "2026-03-04",
            "time": "2026-03-04 12:00:00",
            "paid": True,
            "note": None,
        }
    ]
    assert not isinstance(table.rows[0].fields["count"], float)


def test_a_title_above_the_header_and_empty_rows_and_columns_are_left_out(tmp_path: Path) -> None:
    sheet = [["Tickets of January"], [], [None, *HEADER], [None, *ROWS[0]], [], [None, *ROWS[1]]]
    table = read(tmp_path, xlsx({"Jan": sheet}))
    assert fields(table) == TWO
    assert table.rows[1].place == 'orders.xlsx, sheet "Jan", row 6'
    assert "Rows above the header are left out: Tickets of January." in table.notes


def test_a_merged_cell_holds_for_all_its_rows(tmp_path: Path) -> None:
    table = read(tmp_path, xlsx({"Jan": [HEADER, ["a", "x"], ["b", None], ["c", "y"]]}, merged="B2:B3"))
    assert [row["label"] for row in fields(table)] == ["x", "x", "y"]


def test_a_merged_range_beside_the_used_cells_changes_nothing(tmp_path: Path) -> None:
    assert fields(read(tmp_path, xlsx({"Jan": [HEADER, *ROWS]}, merged="H2:H9"))) == TWO


def test_texts_cross_the_process_as_they_are(tmp_path: Path) -> None:
    texts = ["two\nlines", 'a "quote" \\', "\u2028\x85 \U0001f600 zażółć", "007", "NaN", "[1]"]
    table = read(tmp_path, xlsx({"Jan": [HEADER, *([text, "x"] for text in texts)]}))
    assert [row["text"] for row in fields(table)] == texts


def test_an_empty_cell_is_missing(tmp_path: Path) -> None:
    assert fields(read(tmp_path, xlsx({"Jan": [HEADER, ["a", None], ["b", "y"]]})))[0] == {
        "text": "a",
        "label": None,
    }


def test_a_sheet_without_a_header_gets_names(tmp_path: Path) -> None:
    rows = [[f"a message {i}", ("billing", "login")[i % 2]] for i in range(8)]
    table = read(tmp_path, xlsx({"Jan": rows}))
    assert table.columns == ("column_1", "column_2")
    assert table.rows[0].place.endswith("row 1")
    assert "looks like data" in table.notes[1]


def test_an_ods_file_reads_as_an_xlsx_does(tmp_path: Path) -> None:
    table = read(tmp_path, ods([HEADER, *ROWS]), "orders.ods")
    assert fields(table) == TWO
    assert table.rows[0].place == 'orders.ods, sheet "Jan", row 2'


def test_a_spreadsheet_under_another_name_is_said(tmp_path: Path) -> None:
    table = read(tmp_path, xlsx({"Jan": [HEADER, *ROWS]}), "orders.csv")
    assert fields(table) == TWO
    assert table.notes[0] == "The file is a spreadsheet, although its name says something else."


@pytest.mark.parametrize(
    ("name", "content", "sheet", "error", "says"),
    [
        ("a.xlsx", xlsx({"Jan": []}), "", BadData, "has no rows in any sheet"),
        ("a.xlsx", xlsx({"Jan": [HEADER]}), "", BadData, "a header but no rows"),
        ("a.xlsx", xlsx({"Jan": [HEADER, *ROWS]})[:-200], "", BadData, "damaged or cut off"),
        (
            "a.xls",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
            "",
            BadData,
            "cannot be read as a spreadsheet",
        ),
        ("a.csv", b"text,label\na,b\n", "#Jan", UsageError, "is not a spreadsheet"),
    ],
)
def test_what_cannot_be_read_is_explained(
    tmp_path: Path, name: str, content: bytes, sheet: str, error: type[FreeholdError], says: str
) -> None:
    with pytest.raises(error) as caught:
        read(tmp_path, content, name, sheet)
    assert says in str(caught.value)


def test_one_far_cell_does_not_take_all_memory(tmp_path: Path) -> None:
    sheet = xlsx({"Jan": [HEADER, *ROWS]})
    far = '<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>x</t></is></c></row></sheetData>'
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sheet)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"</sheetData>", far.encode()))
    with pytest.raises(FreeholdError, match="of memory when all of its cells"):
        read(tmp_path, buffer.getvalue())
