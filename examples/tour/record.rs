//! What the tour leaves behind: with the feature `journal`, a page and a trace.

#[cfg(feature = "journal")]
pub(crate) use journal::Record;
#[cfg(not(feature = "journal"))]
pub(crate) use none::Record;

#[cfg(feature = "journal")]
mod journal {
    use std::cell::Cell;
    use std::fs::{self, File};
    use std::io::{self, BufWriter};
    use std::path::Path;
    use std::rc::Rc;

    use switchboard::journal::Journal;
    use switchboard::{CallId, QueueHandle, Step};

    use super::super::flags::Flags;
    use super::super::story::Outcome;

    /// A journal of the tour, in which the first call of each story has its title.
    pub(crate) struct Record {
        journal: Rc<Journal>,
        title: Rc<Cell<Option<&'static str>>>,
    }

    impl Record {
        pub(crate) fn of(queue: &QueueHandle) -> Self {
            let journal = Journal::builder().install(queue);
            let title = Rc::new(Cell::new(None::<&str>));
            let (next, names) = (Rc::clone(&title), queue.clone());
            queue.add_observer(move |call: CallId, step: &Step| {
                if let Step::Created { .. } = step
                    && let Some(title) = next.take()
                {
                    names.name_call(call, title);
                }
            });
            Self { journal, title }
        }

        pub(crate) fn begin(&self, title: &'static str) {
            self.title.set(Some(title));
        }

        pub(crate) fn print_figures(&self) {
            println!("{}\n", self.journal.figures());
        }

        pub(crate) fn write(&self, flags: &Flags) -> Outcome {
            let history = self.journal.history();
            if let Some(file) = &flags.timeline {
                write(file, "timeline", |out| history.write_timeline(out))?;
            }
            if let Some(file) = &flags.trace {
                write(file, "trace", |out| history.write_trace(out))?;
            }
            Ok(())
        }
    }

    fn write(
        file: &Path,
        what: &str,
        content: impl FnOnce(BufWriter<File>) -> io::Result<()>,
    ) -> Outcome {
        let place = file.display();
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        let written = folder.and_then(|()| content(BufWriter::new(File::create(file)?)));
        written.map_err(|error| format!("the {what} could not be written to {place}: {error}"))?;
        println!("The {what} is in {place}.");
        Ok(())
    }
}

#[cfg(not(feature = "journal"))]
mod none {
    use switchboard::QueueHandle;

    use super::super::flags::Flags;
    use super::super::story::Outcome;

    pub(crate) struct Record;

    impl Record {
        pub(crate) const fn of(_: &QueueHandle) -> Self {
            Self
        }

        pub(crate) fn begin(&self, _: &'static str) {}

        pub(crate) fn print_figures(&self) {}

        #[expect(clippy::unnecessary_wraps, reason = "with the feature `journal`, it may fail")]
        pub(crate) fn write(&self, _: &Flags) -> Outcome {
            Ok(())
        }
    }
}
