//! How long something took, to be read.

use core::fmt;
use core::time::Duration;

/// A duration as it is shown: `12.5ms` or, from a minute on, `1:02:03`.
pub(super) struct Shown(pub(super) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds < 60 {
            return write!(f, "{:.1?}", self.0);
        }
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn times_from_a_minute_on_are_shown_by_hours() {
        let shown = |millis| Shown(Duration::from_millis(millis)).to_string();
        assert_eq!(shown(59_999), "60.0s");
        assert_eq!(shown(60_000), "0:01:00");
        assert_eq!(shown(82_800_500), "23:00:00");
        assert_eq!(shown(360_000_000), "100:00:00");
    }
}
