//! Tables without borders: easy to read, to cut and to grep.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A table with these column headings; those in `right` (by index) are aligned right.
pub(crate) fn table<'a>(headings: impl IntoIterator<Item = &'a str>, right: impl IntoIterator<Item = usize>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings);
    for index in right {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// The table's text, with no blanks at the ends of lines.
pub(crate) fn text(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
