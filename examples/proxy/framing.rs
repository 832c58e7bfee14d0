//! Where a body ends: a pure state machine, fed with what comes behind a head.
//!
//! - B1 It takes no byte behind the end of the body: that belongs to the next message.
//! - B2 Framing that two parsers could read in two ways is an error: a bare CR or LF, blanks around a chunk's
//!   size, a sign, more digits than fit, lines that are folded.
//! - B3 What a chunk brings beside its data is bounded: an extension, and all trailers together.

/// The most digits of a chunk's size: no overflow, and more than anybody sends.
const SIZE_DIGITS: u8 = 15;

/// The most bytes of an extension, and of all trailers together (B3).
const EXTENSION_MAX: u32 = 256;
const TRAILERS_MAX: u32 = 8 * 1024;

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Length(u64),
    Chunked(Chunk),
    UntilClose,
    Over,
}

/// Where in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        value: u64,
        length: u32,
    },
    SizeLf {
        value: u64,
    },
    Data(u64),
    DataCr,
    DataLf,
    /// In a line behind the last chunk: so many bytes of all, and of which part.
    Trailer {
        total: u32,
        at: Line,
    },
    /// The LF of the empty line.
    LastLf,
}

/// Where in the line of a trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Start,
    Name,
    Value,
    Lf,
}

/// The next bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) length: usize,
    /// Not framing.
    pub(crate) is_data: bool,
}

/// The framing of a body is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadFraming;

impl Body {
    pub(crate) const CHUNKED: Self = Self::Chunked(Chunk::Size { value: 0, digits: 0 });

    pub(crate) const fn of_length(length: u64) -> Self {
        if length == 0 { Self::Over } else { Self::Length(length) }
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Takes the longest first part of `bytes` that is data as a whole, or framing as a whole; nothing if
    /// there are none, or the body is over (B1).
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Piece, BadFraming> {
        let data = |length| Ok(Piece { length, is_data: true });
        match self {
            Self::Over => Ok(Piece { length: 0, is_data: false }),
            Self::UntilClose => data(bytes.len()),
            Self::Length(left) => {
                let length = at_most(bytes, *left);
                *self = Self::of_length(*left - length as u64);
                data(length)
            }
            Self::Chunked(Chunk::Data(left)) => {
                let length = at_most(bytes, *left);
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::Chunked(Chunk::DataCr);
                }
                data(length)
            }
            Self::Chunked(_) => {
                let mut length = 0;
                while let Self::Chunked(chunk) = self
                    && !matches!(chunk, Chunk::Data(_))
                    && let Some(byte) = bytes.get(length)
                {
                    *self = chunk.after(*byte)?;
                    length += 1;
                }
                Ok(Piece { length, is_data: false })
            }
        }
    }

    /// Takes as much of `bytes` as belongs to the body. Returns how much, and how much of that is data.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(usize, u64), BadFraming> {
        let (mut taken, mut data) = (0, 0);
        while taken < bytes.len() && !self.is_over() {
            let piece = self.next(&bytes[taken..])?;
            taken += piece.length;
            data += if piece.is_data { piece.length as u64 } else { 0 };
        }
        Ok((taken, data))
    }
}

fn at_most(bytes: &[u8], left: u64) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

impl Chunk {
    /// The state behind a byte that is framing.
    fn after(self, byte: u8) -> Result<Body, BadFraming> {
        let next = match (self, byte) {
            (Self::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F')
                if digits < SIZE_DIGITS =>
            {
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                Self::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { value, digits: 1.. }, b';') => Self::Extension { value, length: 0 },
            (Self::Size { value, digits: 1.. } | Self::Extension { value, .. }, b'\r') => {
                Self::SizeLf { value }
            }
            (Self::Extension { value, length }, _) if is_text(byte) && length < EXTENSION_MAX => {
                Self::Extension { value, length: length + 1 }
            }
            (Self::SizeLf { value: 0 }, b'\n') => Self::Trailer { total: 0, at: Line::Start },
            (Self::SizeLf { value }, b'\n') => Self::Data(value),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { value: 0, digits: 0 },
            (Self::Trailer { at: Line::Start, .. }, b'\r') => Self::LastLf,
            (Self::LastLf, b'\n') => return Ok(Body::Over),
            (Self::Trailer { total, at }, _) if total < TRAILERS_MAX => {
                Self::Trailer { total: total + 1, at: at.after(byte)? }
            }
            _ => return Err(BadFraming),
        };
        Ok(Body::Chunked(next))
    }
}

impl Line {
    fn after(self, byte: u8) -> Result<Self, BadFraming> {
        match (self, byte) {
            (Self::Start | Self::Name, _) if is_token(byte) => Ok(Self::Name),
            (Self::Name, b':') => Ok(Self::Value),
            (Self::Value, b'\r') => Ok(Self::Lf),
            (Self::Value, _) if is_text(byte) => Ok(Self::Value),
            (Self::Lf, b'\n') => Ok(Self::Start),
            _ => Err(BadFraming),
        }
    }
}

/// Whether a byte may stand in the value of a field.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Whether a byte may stand in a name.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}
