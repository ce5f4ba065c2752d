use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use super::{Cell, Column, Feature, Path, Verdict, column};

/// What all cells came to.
pub struct Matrix {
    pub versions: BTreeMap<Column, String>,
    pub verdicts: BTreeMap<Cell, Verdict>,
}

const BEGIN: &str = "<!-- clients: written by tests/tests/clients.rs -->\n";
const END: &str = "<!-- end of clients -->\n";

/// What stands between the markers, and what before and after.
pub fn between_markers(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (table, after) = rest.split_once(END)?;
    Some((before, table, after))
}

impl Matrix {
    /// Where it is written.
    pub fn file() -> PathBuf {
        column::folder().join("matrix.md")
    }

    pub fn failed(&self) -> Vec<String> {
        let failed = self.verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_)));
        failed.map(|(cell, _)| cell.to_string()).collect()
    }

    /// `text` with this matrix between its markers.
    pub fn placed_in(&self, text: &str) -> Option<String> {
        let (before, _, after) = between_markers(text)?;
        Some(format!("{before}{BEGIN}{}{END}{after}", self.markdown()))
    }

    /// The table, and below it why some cells are empty.
    pub fn markdown(&self) -> String {
        let mut notes: Vec<&str> = Vec::new();
        let mut text = String::from("|");
        let mut line = String::from("\n| ---");
        for column in Column::ALL {
            let version = self.versions.get(&column).map_or("", String::as_str);
            let _ = write!(text, " | {}", format!("{} {version}", column.heading()).trim_end());
            line.push_str(" | ---");
        }
        text.push_str(" |");
        text.push_str(&line);
        text.push_str(" |\n");
        for feature in Feature::ALL {
            let _ = write!(text, "| {}", feature.title());
            for column in Column::ALL {
                let _ = write!(text, " | {}", self.shown(feature, column, &mut notes));
            }
            text.push_str(" |\n");
        }
        text.push('\n');
        for (n, note) in notes.iter().enumerate() {
            let _ = writeln!(text, "{}. {note}", n + 1);
        }
        text
    }

    /// One word where all paths came to the same.
    fn shown<'a>(&'a self, feature: Feature, column: Column, notes: &mut Vec<&'a str>) -> String {
        let mut each = Vec::new();
        for path in Path::ALL {
            let verdict = self.verdicts.get(&Cell { feature, column, path: *path });
            each.push((verdict.map_or("not run".to_owned(), |verdict| word(verdict, notes)), path.name()));
        }
        match each.iter().all(|(word, _)| *word == each[0].0) {
            true => each[0].0.clone(),
            false => each.iter().map(|(word, path)| format!("{path}: {word}")).collect::<Vec<_>>().join(", "),
        }
    }
}

/// A reason is a note below the table.
fn word<'a>(verdict: &'a Verdict, notes: &mut Vec<&'a str>) -> String {
    match verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Failed(_) => "FAILED".to_owned(),
        Verdict::Absent(reason) => {
            let known = notes.iter().position(|note| *note == reason);
            let number = known.unwrap_or_else(|| {
                notes.push(reason);
                notes.len() - 1
            });
            format!("no ({})", number + 1)
        }
    }
}
