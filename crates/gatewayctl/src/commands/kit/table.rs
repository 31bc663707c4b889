//! Tables as spreadsheets save them: columns by their names, in any order, between commas, semicolons
//! or tabs.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord};
use domain::spreadsheet;

/// A line of a table.
pub struct Line {
    /// Counted from 1, as an editor does.
    pub number: u64,
    cells: BTreeMap<String, String>,
}

impl Line {
    /// What is in a column; empty where there is none of this name.
    pub fn cell(&self, column: &str) -> &str {
        self.cells.get(column).map_or("", String::as_str)
    }
}

/// Reads a table that has these columns among others; `None` where it is another.
pub fn read(table: &[u8], columns: &[&str]) -> Option<Vec<Line>> {
    let table = table.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(table);
    b",;\t".iter().find_map(|separator| lines(table, *separator, columns))
}

fn lines(table: &[u8], separator: u8, columns: &[&str]) -> Option<Vec<Line>> {
    let mut reader = ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(table);
    let head: StringRecord =
        reader.headers().ok()?.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    if !columns.iter().all(|column| head.iter().any(|name| name == *column)) {
        return None;
    }
    let line = |record: StringRecord| {
        let number = record.position().map_or(0, csv::Position::line);
        let cells = head.iter().zip(&record);
        let cells = cells.map(|(name, cell)| (name.to_owned(), spreadsheet::plain(cell.trim())));
        Line { number, cells: cells.collect() }
    };
    reader.records().map(|record| record.ok().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(table: &str) -> Vec<[String; 2]> {
        let lines = read(table.as_bytes(), &["user_id", "code"]).unwrap();
        lines.iter().map(|line| ["user_id", "name"].map(|name| line.cell(name).into())).collect()
    }

    #[test]
    fn tables_of_all_kinds_are_read() {
        let ada = ["ada".to_owned(), "=Ada, L".to_owned()];
        for table in [
            "user_id,name,code\r\nada,\"'=Ada, L\",1\r\n",
            "\u{feff}CODE; Name ;user_id\n1;'=Ada, L;ada\n",
            "user_id\tname\tcode\nada\t=Ada, L\t\n\n",
        ] {
            assert_eq!(cells(table), std::slice::from_ref(&ada), "{table:?}");
        }
        assert_eq!(cells("user_id,code\nada,1,more\n")[0][1], "");
    }

    #[test]
    fn another_table_is_none() {
        for table in ["", "name,email\nAda,\n", "user_id\nada\n"] {
            assert!(read(table.as_bytes(), &["user_id", "code"]).is_none(), "{table:?}");
        }
    }
}
