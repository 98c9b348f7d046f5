"""What a user sees: every table at three widths and in a pipe, and every screen as a text file."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

import steadystep
from made_up_reports import ROWS, SCREENS, every_table
from screens import FILES, FOLDER, WIDTHS, console_of, screen_text, text_of
from steadystep.cli.console import output
from steadystep.lab.report.console_table import show_table, split_to_width
from steadystep.lab.report.lines import NO_LIMIT, say
from steadystep.lab.report.table import Column, Table

TABLES = every_table()


def shown(table: Table, width: int) -> str:
    console = console_of(width)
    show_table(table, console)
    return text_of(console)


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_fits_and_cuts_nothing(table: Table, width: int) -> None:
    text = shown(table, width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    flowing = " ".join(text.split())
    for row in table.rows:
        for place, cell in enumerate(row):
            whole = [cell] if table.columns[place].kind != "prose" else cell.split()
            assert all(part in text for part in whole), f"{cell!r} is cut"
    for column in table.columns:
        assert column.heading in flowing or all(line in text for line in column.narrow_heading.splitlines())


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_part_has_all_key_columns_and_every_other_column_is_in_one_part(table: Table, width: int) -> None:
    parts = split_to_width(table, console_of(width))
    assert parts, "no table of a report is so wide that it is printed cell by cell"
    keys = [table.columns[place] for place in table.keys]
    assert keys
    others = []
    for part in parts:
        assert [column for column in part.columns if column.key] == keys
        others += [column for column in part.columns if not column.key]
    assert sorted(map(str, others)) == sorted(str(column) for column in table.columns if not column.key)
    lines = shown(table, width).splitlines()
    for row in table.rows:
        named = [line for line in lines if all(row[place] in line for place in table.keys)]
        assert len(named) >= len(parts), f"{row[table.keys[0]]!r} is not in every part"


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_legend_explains_the_table(table: Table, width: int) -> None:
    assert table.legend
    text = shown(table, width)
    flowing = " ".join(text.split())
    for words in (*(column.meaning for column in table.columns), table.remark):
        assert words in flowing
    blocks = [block.splitlines() for block in text.strip().split("\n\n")]
    for block in blocks:
        rule = next(place for place, line in enumerate(block) if set(line) <= {"─", " "})
        wrapped = {line for row in table.rows for line in block[rule + 1 :] if any(key in line for key in row[:1])}
        assert wrapped, "every block has rows above its legend"
    assert len(table.legend) <= 2 * 140


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_pipe_gets_a_line_for_each_row(table: Table) -> None:
    lines = shown(table, NO_LIMIT).splitlines()
    assert re.split(r" {2,}", lines[0].strip()) == [column.heading for column in table.columns]
    rows = [tuple(re.split(r" {2,}", line.strip())) for line in lines[2 : 2 + len(table.rows)]]
    assert rows == list(table.rows)
    assert lines[2 + len(table.rows) :] == [table.legend, ""]


def test_every_function_that_makes_a_table_is_in_the_list() -> None:
    """A new table has to be added to `every_table`, unless another one is made of it."""
    folder = Path(steadystep.__file__).parent / "lab" / "report"
    made = {
        node.name
        for file in folder.rglob("*.py")
        if file.name != "table.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id == "Table"
    }
    assert made == {
        "tasks_table", "optimizers_table", "claims_table",
        "results_table", "verdicts_table", "budgets_table", "convergence_table", "chosen_table", "cost_table",
        "search_table", "study_table", "environment_table", "machines_table",
        "ranges_table", "rates_table", "sweep_table", "sensitivity_table", "tolerances_table", "verification_table",
        "_rates_table", "_accuracy_table", "_by_length", "_settings_table", "_measurement_table",
        "costs_table", "setting_table", "swaps_table", "fixes_table", "answer_table",
    }  # fmt: skip


NAMES = st.lists(st.from_regex(r"[A-Za-z]{1,12}( \+ [a-z]{1,8})?", fullmatch=True), min_size=1, max_size=4, unique=True)


@st.composite
def made_tables(draw: st.DrawFn) -> Table:
    """Return a table with one or two key columns and up to six others, some of them in groups or prose."""
    names, keys = draw(NAMES), draw(st.integers(1, 2))
    kinds = draw(st.lists(st.sampled_from(["number", "text", "prose"]), min_size=1, max_size=6))
    columns = [Column(f"Key {place}", key=True) for place in range(keys)]
    columns += [
        Column(f"C{place}", draw(st.sampled_from(["", "unit"])), kind, group=draw(st.sampled_from(["", "g"])))  # type: ignore[arg-type]
        for place, kind in enumerate(kinds)
    ]
    words = st.from_regex(r"[a-z]{1,10}( [a-z]{1,10}){0,8}", fullmatch=True)
    numbers = st.from_regex(r"[0-9]{1,8}", fullmatch=True)
    rows = [
        [*([name] * keys), *(draw(words if kind == "prose" else numbers) for kind in kinds)] for name in names
    ]  # fmt: skip
    return Table.of("Made up", columns, rows, "A remark about Adam + norm and more.")


@settings(max_examples=60)
@given(table=made_tables(), width=st.integers(1, 160))
def test_no_width_breaks_a_name(table: Table, width: int) -> None:
    text = shown(table, width)
    lines = text.splitlines()
    words = {word for row in table.rows for cell in row for word in cell.split()}
    for name in {row[0] for row in table.rows} | {"Adam + norm"}:
        assert any(name in line for line in lines)
    assert all(word in text for word in words)
    longest = max(cell_len(row[0]) for row in table.rows)
    assert max(map(cell_len, lines)) <= max(width, longest, len("Adam + norm"), *map(len, words))
    parts = split_to_width(table, console_of(width))
    assert all(part.keys == table.keys for part in parts)


@given(st.lists(NAMES.map(lambda names: names[0]), min_size=1, max_size=12), st.integers(1, 100))
def test_text_is_wrapped_between_names(names: list[str], width: int) -> None:
    console = console_of(width)
    text = ", ".join(names) + "."
    say(text, console)
    lines = text_of(console).splitlines()
    assert " ".join(lines) == text
    assert all(cell_len(line) <= max(width, 1 + max(map(cell_len, names))) for line in lines)
    for name in names:
        assert any(name in line for line in lines)


def test_a_pipe_has_no_width(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    output().print("word " * 100, soft_wrap=False)
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("file", FILES)
def test_a_screen_is_as_stored(file: str) -> None:
    """Write the files again with `python tests/screens.py`, and read what has changed."""
    assert screen_text(file) == (FOLDER / file).read_text(encoding="utf-8")


def test_no_screen_is_stored_that_is_not_tested() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(FILES)


def test_the_made_up_audit_has_a_meaning_for_its_odd_words() -> None:
    console = console_of(80)
    SCREENS["audit"](console)
    assert "Holds in part: some of it is supported." in " ".join(text_of(console).split())
    assert all(row.id in text_of(console) for row in ROWS)
