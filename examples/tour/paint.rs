//! Colors, where they are welcome.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

/// Whether there are colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        Self::when(terminal, std::env::var_os("NO_COLOR").as_deref())
    }

    /// Colors on a terminal, unless `NO_COLOR` is set to anything (<https://no-color.org>).
    pub(crate) fn when(terminal: bool, no_color: Option<&OsStr>) -> Self {
        Self(terminal && no_color.is_none_or(OsStr::is_empty))
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    /// The end of a call, in the color of its kind.
    pub(crate) fn end(self, text: &str) -> String {
        let code = match text.split([':', ' ', ',']).next() {
            Some("finished" | "dialed") => "32",
            Some("canceled") => "33",
            Some("refused" | "panicked") => "31",
            Some("abandoned") => "35",
            _ => return text.into(),
        };
        let code = if text.ends_with("panicked") { "31" } else { code };
        self.code(code, text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}
