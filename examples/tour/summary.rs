//! The table at the end of the tour.

use std::time::Duration;

use super::paint::Paint;
use super::story::Ends;

/// What became of the calls of each story, and how long it took.
#[derive(Default)]
pub(crate) struct Summary(Vec<(&'static str, Ends, Duration)>);

impl Summary {
    pub(crate) fn add(&mut self, title: &'static str, ends: Ends, took: Duration) {
        self.0.push((title, ends, took));
    }

    pub(crate) fn stories(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn print(&self, paint: Paint) {
        let names = ["finished", "canceled", "refused", "abandoned", "panicked"];
        let head: String = names.iter().map(|name| format!("{name:>10}")).collect();
        println!("{}\n", paint.bold("What became of the calls"));
        println!("{}", paint.dim(&format!("{:<50}{head}{:>10}", "", "time")));
        for (number, (title, ends, took)) in (1..).zip(&self.0) {
            let Ends { finished, canceled, refused, abandoned, panicked } = ends;
            let counts = [finished, canceled, refused, abandoned, panicked];
            let cells: String =
                names.iter().zip(counts).map(|(name, count)| cell(paint, name, *count)).collect();
            println!("{number:>2}. {title:<46}{cells}{:>10}", format!("{took:.1?}"));
        }
        println!();
    }
}

/// A count; nothing to see is left dim.
fn cell(paint: Paint, name: &str, count: u64) -> String {
    match count {
        0 => paint.dim(&format!("{:>10}", "-")),
        _ => {
            let text = format!("{count:>10}");
            paint.end(name).replace(name, &text)
        }
    }
}
