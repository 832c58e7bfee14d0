//! Where a body ends: a pure state machine, fed with what comes behind a head.
//!
//! - B1 It takes no byte behind the end of the body: that belongs to the next message.
//! - B2 Framing that two parsers could read in two ways is an error: a bare CR or LF, blanks around a chunk's
//!   size, a sign, more digits than fit, lines that are folded.
//! - B3 What a chunk brings beside its data is bounded: a line, and all trailers together.

/// The most digits of a chunk's size: no overflow, and more than anybody sends.
const SIZE_DIGITS: usize = 15;

/// The most bytes of the line of a size, and of all trailers (B3).
const LINE_MAX: usize = 256;
const TRAILERS_MAX: usize = 8 * 1024;

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Length(u64),
    /// The line with the size of a chunk.
    Chunked,
    Chunk(u64),
    ChunkEnd,
    /// Lines behind the last chunk, of which so many bytes have come.
    Trailers(usize),
    UntilClose,
    Over,
}

/// The framing of a body is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadFraming;

impl Body {
    pub(crate) const fn of_length(length: u64) -> Self {
        if length == 0 { Self::Over } else { Self::Length(length) }
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Takes what there is of the body in `bytes`, and passes each piece of data to `on_data`. Returns how much
    /// it took, framing included.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        mut on_data: impl FnMut(&[u8]),
    ) -> Result<usize, BadFraming> {
        let mut taken = 0;
        loop {
            let (length, is_data) = self.next(&bytes[taken..])?;
            if length == 0 {
                return Ok(taken);
            }
            if is_data {
                on_data(&bytes[taken..taken + length]);
            }
            taken += length;
        }
    }

    /// Takes the longest first part of `bytes` that is data, or one line of framing. Returns its length,
    /// and whether it is data; 0 if there is no whole line, or the body is over (B1).
    fn next(&mut self, bytes: &[u8]) -> Result<(usize, bool), BadFraming> {
        let most = match *self {
            Self::Over => return Ok((0, false)),
            Self::UntilClose => return Ok((bytes.len(), true)),
            Self::Length(left) | Self::Chunk(left) => {
                let length =
                    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *self = match (*self, left - length as u64) {
                    (Self::Length(_), left) => Self::of_length(left),
                    (_, 0) => Self::ChunkEnd,
                    (_, left) => Self::Chunk(left),
                };
                return Ok((length, true));
            }
            Self::Chunked => LINE_MAX,
            Self::ChunkEnd => 0,
            Self::Trailers(came) => TRAILERS_MAX - came,
        };
        let Some(line) = line(bytes, most)? else { return Ok((0, false)) };
        *self = match *self {
            Self::Chunked => match size(line).ok_or(BadFraming)? {
                0 => Self::Trailers(0),
                size => Self::Chunk(size),
            },
            Self::Trailers(_) if line.is_empty() => Self::Over,
            Self::Trailers(came) if is_field(line) => Self::Trailers(came + line.len()),
            Self::ChunkEnd => Self::Chunked,
            _ => return Err(BadFraming),
        };
        Ok((line.len() + 2, false))
    }
}

/// The first line, without its end, if all of it is there. It has `most` bytes at most (B3).
fn line(bytes: &[u8], most: usize) -> Result<Option<&[u8]>, BadFraming> {
    match bytes.iter().take(most + 2).position(|byte| *byte == b'\n') {
        Some(end) => bytes[..end].strip_suffix(b"\r").map(Some).ok_or(BadFraming),
        None if bytes.len() < most + 2 => Ok(None),
        None => Err(BadFraming),
    }
}

/// The size of a chunk, which an extension may follow (B2).
fn size(line: &[u8]) -> Option<u64> {
    let mut parts = line.splitn(2, |byte| *byte == b';');
    let (digits, extension) = (parts.next()?, parts.next().unwrap_or_default());
    let is_size = digits.len() <= SIZE_DIGITS && digits.iter().all(u8::is_ascii_hexdigit);
    let size = u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
    size.filter(|_| is_size && extension.iter().all(is_text))
}

/// Whether a line is a field: a name, a colon, a value (B2).
fn is_field(line: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    colon > 0 && line[..colon].iter().all(is_token) && line[colon..].iter().all(is_text)
}

fn is_text(byte: &u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
