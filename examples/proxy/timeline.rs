//! What has happened of late, by a journal: a page to look at, and the story of what took longest.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use switchboard::QueueHandle;
use switchboard::journal::Journal;

/// How many steps are remembered: some seconds of a busy loop.
const STEPS: usize = 65_536;

pub(crate) struct Timeline {
    journal: Rc<Journal>,
    file: PathBuf,
}

impl Timeline {
    /// Every loop but the first one adds the name of its thread to that of the file.
    pub(crate) fn new(queue: &QueueHandle, file: &Path) -> Self {
        let file = match thread::current().name() {
            Some(name) if name != "loop-0" => format!("{}.{name}", file.display()).into(),
            _ => file.into(),
        };
        let journal = Rc::new(Journal::with_capacity(STEPS));
        queue.add_observer(Rc::clone(&journal));
        Self { journal, file }
    }

    /// Writes the page, and returns the story of the operation that took longest.
    pub(crate) fn write(&self) -> io::Result<String> {
        let history = self.journal.history();
        history.write_timeline(BufWriter::new(File::create(&self.file)?))?;
        let slowest = history.operations().iter().max_by_key(|operation| operation.duration());
        Ok(slowest.map_or_else(String::new, |slowest| self.journal.explain(slowest.id).to_string()))
    }
}
