//! What the tour leaves behind: with the feature `journal`, a page and a trace.

#[cfg(feature = "journal")]
pub(crate) use journal::Record;
#[cfg(not(feature = "journal"))]
pub(crate) use none::Record;

#[cfg(feature = "journal")]
mod journal {
    use std::fs::{self, File};
    use std::io::{self, BufWriter};
    use std::path::Path;
    use std::rc::Rc;

    use switchboard::Observer;
    use switchboard::journal::Journal;

    use super::super::Outcome;
    use super::super::flags::Flags;

    /// A journal of the tour.
    pub(crate) struct Record(Rc<Journal>);

    impl Record {
        pub(crate) fn new() -> Self {
            Self(Rc::new(Journal::new()))
        }

        pub(crate) fn observer(&self) -> impl Observer + use<> {
            Rc::clone(&self.0)
        }

        pub(crate) fn print_figures(&self) {
            println!("{}\n", self.0.figures());
        }

        pub(crate) fn write(&self, flags: &Flags) -> Outcome {
            let history = self.0.history();
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
    use switchboard::{CallId, Observer, Step};

    use super::super::Outcome;
    use super::super::flags::Flags;

    pub(crate) struct Record;

    impl Record {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) fn observer(&self) -> impl Observer + use<> {
            |_: CallId, _: &Step| ()
        }

        pub(crate) fn print_figures(&self) {}

        #[expect(clippy::unnecessary_wraps, reason = "with the feature `journal`, it may fail")]
        pub(crate) fn write(&self, _: &Flags) -> Outcome {
            Ok(())
        }
    }
}
