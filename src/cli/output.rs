//! What goes to standard output: tables, objects, values. People are spoken to on standard error.

use std::io::{ErrorKind, Write};

use serde_json::Value;

/// Between two columns.
const GAP: usize = 3;

/// A table with aligned columns; the last one may be as long as it likes.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0) + GAP).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths);
        let joined: String = cells.map(|(cell, width)| format!("{:width$}", tame(cell))).collect();
        text.push_str(joined.trim_end());
        text.push('\n');
    }
    text
}

/// Names and messages come from outside: nothing in them may steer a terminal.
pub fn tame(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect()
}

/// How objects are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Objects as kubectl prints several.
pub fn objects(items: &[Value], as_yaml: bool) -> anyhow::Result<String> {
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items });
    if as_yaml {
        Ok(serde_saphyr::to_string(&list)?)
    } else {
        Ok(serde_json::to_string_pretty(&list)? + "\n")
    }
}

/// Writes to standard output. A reader that has seen enough is no failure.
pub fn print(bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Tells people something.
pub fn tell(text: impl AsRef<str>) {
    let mut err = std::io::stderr().lock();
    for line in text.as_ref().lines() {
        // Where nobody can be told, the exit status still speaks.
        let _ = writeln!(err, "{}", tame(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_where_their_text_does() {
        let rows = [
            vec!["ci".to_owned(), "äöü".to_owned(), String::new()],
            vec!["long-name".into(), "b".into(), "why".into()],
        ];
        assert_eq!(
            table(&["NAME", "B", "C"], &rows),
            "NAME        B     C\nci          äöü\nlong-name   b     why\n"
        );
    }

    #[test]
    fn a_name_from_outside_steers_no_terminal() {
        assert_eq!(tame("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
    }
}
