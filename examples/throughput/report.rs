//! How the figures are shown.

use std::fmt::Write;

use super::flags::Flags;
use super::work::TO_RECIPIENTS;

/// The figures of one kind of work.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Whether it is not switchboard's, but the same by hand.
    pub(crate) is_floor: bool,
    /// Of a call, in the median run.
    pub(crate) nanoseconds: f64,
    /// The same in the runs at the lower and the upper quartile.
    pub(crate) middle: (f64, f64),
    pub(crate) runs: usize,
}

impl Row {
    fn calls_per_second(&self) -> f64 {
        1e9 / self.nanoseconds
    }
}

fn what(flags: &Flags) -> String {
    let Flags { batch, bytes, recipients, cancel, observer, bounded, .. } = flags;
    let bounded = if *bounded { ", bounded" } else { "" };
    format!(
        "batches of {batch}, {bytes} bytes captured, recipients: {recipients}, canceled: {cancel} %, \
         observer: {}{bounded}",
        format!("{observer:?}").to_lowercase()
    )
}

/// Bars for a terminal, as long as there are calls in a second.
pub(crate) fn bars(rows: &[Row], flags: &Flags) -> String {
    let most = rows.iter().map(Row::calls_per_second).fold(0.0, f64::max);
    let mut text = format!(
        "{}\n\nmillion calls per second; median nanoseconds per call of {} runs [quartiles]\n\n",
        what(flags),
        rows[0].runs
    );
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for row in rows {
        let bar = "#".repeat((row.calls_per_second() / most * 40.0).ceil() as usize);
        let (low, high) = row.middle;
        let _ = writeln!(
            text,
            "{:<width$} {:>7.1} M/s {:>7.1} ns {:<16} {bar}",
            row.name,
            row.calls_per_second() / 1e6,
            row.nanoseconds,
            format!("[{low:.1}, {high:.1}]"),
        );
    }
    if let Some(row) = rows.iter().find(|row| row.name == TO_RECIPIENTS) {
        let millions = row.calls_per_second() / 1e6;
        let _ = writeln!(
            text,
            "\nthis machine dials {millions:.1} million calls per second (to recipients)"
        );
    }
    text
}

pub(crate) fn json(rows: &[Row], flags: &Flags) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            format!(
                r#"{{"name":"{}","by_hand":{},"calls_per_second":{:.0},"nanoseconds":{:.2},"low":{:.2},"high":{:.2},"runs":{}}}"#,
                row.name,
                row.is_floor,
                row.calls_per_second(),
                row.nanoseconds,
                row.middle.0,
                row.middle.1,
                row.runs
            )
        })
        .collect();
    format!(
        "{{\"batch\":{},\"bytes\":{},\"recipients\":{},\"cancel\":{},\"observer\":\"{}\",\"bounded\":{},\"rows\":[\n{}\n]}}\n",
        flags.batch,
        flags.bytes,
        flags.recipients,
        flags.cancel,
        format!("{:?}", flags.observer).to_lowercase(),
        flags.bounded,
        rows.join(",\n")
    )
}

pub(crate) fn svg(rows: &[Row], flags: &Flags) -> String {
    let most = rows.iter().map(Row::calls_per_second).fold(0.0, f64::max);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\">Million calls a second: {}</text>\n",
        rows.len() * 26 + 44,
        what(flags)
    );
    for (index, row) in rows.iter().enumerate() {
        let y = index * 26 + 40;
        let fill = if row.is_floor { "#bbbbbb" } else { "#3b6ea5" };
        let _ = writeln!(
            text,
            "<text x=\"10\" y=\"{}\">{}</text><rect x=\"260\" y=\"{y}\" width=\"{:.0}\" height=\"18\" \
             fill=\"{fill}\"/><text x=\"{:.0}\" y=\"{}\">{:.1}</text>",
            y + 14,
            row.name,
            row.calls_per_second() / most * 420.0,
            266.0 + row.calls_per_second() / most * 420.0,
            y + 14,
            row.calls_per_second() / 1e6
        );
    }
    text + "</svg>\n"
}
