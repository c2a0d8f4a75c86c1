"""A lineage's picture: boxes in columns, lines between their sides."""

from freehold.servers.hub.lineage_graph import Edge, Graph, Node
from freehold.servers.hub.lineage_picture import lineage_picture

LONG = "ada/" + "a" * 40
GRAPH = Graph(
    [Node("model", LONG, "/x", 1), Node("model", "ada/base", "", 0)], [Edge(1, 0, "finetune")], columns=2
)


def test_columns_do_not_overlap_and_the_picture_holds_every_box() -> None:
    picture = lineage_picture(GRAPH)
    shown, base = picture.boxes
    assert base.x + base.width < shown.x
    assert picture.width >= shown.x + shown.width
    assert picture.height >= shown.y + shown.height
    assert (shown.is_shown, base.is_shown) == (True, False)


def test_long_names_are_cut_in_boxes_and_whole_in_words() -> None:
    picture = lineage_picture(GRAPH)
    assert len(picture.boxes[0].short_name) == 30
    assert picture.steps[0].target.name == LONG


def test_a_line_runs_from_the_right_of_its_source_to_the_left_of_its_target() -> None:
    picture = lineage_picture(GRAPH)
    base, shown = picture.boxes[1], picture.boxes[0]
    (line,) = picture.lines
    assert line.path.startswith(f"M{base.x + base.width} ")
    assert f" {shown.x} " in line.path
    assert line.relation == "finetune"
