//! Compressed objects: `.gz` and `.zst` (also `.zstd`), expanded as their bytes come.

use std::fmt;
use std::io::Write;

use flate2::write::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::fault::ItemFault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// By the end of the object's key.
    #[must_use]
    pub fn of_key(key: &str) -> Compression {
        let end = key.rsplit('.').next().filter(|end| end.len() < key.len());
        match end.map(str::to_ascii_lowercase).as_deref() {
            Some("gz" | "gzip") => Compression::Gzip,
            Some("zst" | "zstd") => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// Compressed bytes in, the object's bytes out.
pub struct Expander(Kind);

enum Kind {
    None,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd(Box<Zstd>),
}

impl fmt::Debug for Expander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::None => "Expander(none)",
            Kind::Gzip(_) => "Expander(gzip)",
            Kind::Zstd(_) => "Expander(zstd)",
        })
    }
}

impl Expander {
    #[must_use]
    pub fn new(compression: Compression) -> Expander {
        Expander(match compression {
            Compression::None => Kind::None,
            Compression::Gzip => Kind::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Compression::Zstd => Kind::Zstd(Box::default()),
        })
    }

    /// Appends to `out` what these bytes give. Small pieces expand to small ones.
    ///
    /// # Errors
    /// When the bytes are not what the object's name says they are.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ItemFault> {
        match &mut self.0 {
            Kind::None => out.extend_from_slice(bytes),
            Kind::Gzip(decoder) => {
                decoder.write_all(bytes).map_err(|error| broken("gzip", &error))?;
                out.append(decoder.get_mut());
            }
            Kind::Zstd(zstd) => zstd.push(bytes, false, out)?,
        }
        Ok(())
    }

    /// No more bytes come.
    ///
    /// # Errors
    /// When the compressed data breaks off.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ItemFault> {
        match &mut self.0 {
            Kind::None => {}
            Kind::Gzip(decoder) => {
                decoder.try_finish().map_err(|error| broken("gzip", &error))?;
                out.append(decoder.get_mut());
            }
            Kind::Zstd(zstd) => {
                zstd.push(&[], true, out)?;
                if !zstd.input.is_empty() || zstd.in_frame {
                    return Err(broken("zstd", &"it breaks off"));
                }
            }
        }
        Ok(())
    }
}

fn broken(kind: &str, error: &dyn fmt::Display) -> ItemFault {
    ItemFault::new(format!("the {kind} data is broken: {error}"))
}

/// A frame's header takes at most so many bytes.
const FRAME_HEADER: usize = 18;
const CHECKSUM: usize = 4;

#[derive(Default)]
struct Zstd {
    decoder: FrameDecoder,
    input: Vec<u8>,
    in_frame: bool,
    /// Bytes of a skippable frame still to come.
    skip: usize,
}

impl Zstd {
    fn push(&mut self, bytes: &[u8], ended: bool, out: &mut Vec<u8>) -> Result<(), ItemFault> {
        self.input.extend_from_slice(bytes);
        let mut used = 0;
        while let Some(step) = self.step(used, ended, out)? {
            used += step;
        }
        self.input.drain(..used);
        Ok(())
    }

    /// Takes one header or block; none when it is not there as a whole.
    fn step(
        &mut self,
        used: usize,
        ended: bool,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, ItemFault> {
        let input = &self.input[used..];
        if input.is_empty() {
            return Ok(None);
        }
        if self.skip > 0 {
            let skipped = self.skip.min(input.len());
            self.skip -= skipped;
            return Ok(Some(skipped));
        }
        if !self.in_frame {
            if input.len() < FRAME_HEADER && !ended {
                return Ok(None);
            }
            return self.begin_frame(used).map(Some);
        }
        let &[low, middle, high, ..] = input else { return Ok(None) };
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let (last, kind, size) = (header & 1 == 1, (header >> 1) & 3, (header >> 3) as usize);
        let content = if kind == 1 { 1 } else { size };
        let checksum = if last && !ended { CHECKSUM } else { 0 };
        if input.len() < 3 + content + checksum {
            return Ok(None);
        }
        let mut rest = input;
        let one = BlockDecodingStrategy::UptoBlocks(1);
        let finished =
            self.decoder.decode_blocks(&mut rest, one).map_err(|error| broken("zstd", &error))?;
        let step = input.len() - rest.len();
        self.in_frame = !finished;
        self.decoder.collect_to_writer(&mut *out).map_err(|error| broken("zstd", &error))?;
        Ok(Some(step))
    }

    fn begin_frame(&mut self, used: usize) -> Result<usize, ItemFault> {
        let input = &self.input[used..];
        let mut rest = input;
        match self.decoder.reset(&mut rest) {
            Ok(()) => self.in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                self.skip = length as usize;
            }
            Err(error) => return Err(broken("zstd", &error)),
        }
        Ok(input.len() - rest.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn text() -> Vec<u8> {
        (0..20_000)
            .flat_map(|row| format!("{row},name of {row},{}\n", row * 7).into_bytes())
            .collect()
    }

    fn expand(kind: Compression, bytes: &[u8], piece: usize) -> Result<Vec<u8>, ItemFault> {
        let (mut expander, mut out) = (Expander::new(kind), Vec::new());
        for piece in bytes.chunks(piece) {
            expander.push(piece, &mut out)?;
        }
        expander.finish(&mut out)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gives_the_bytes_whatever_the_pieces() {
        let text = text();
        let zstd = compress_to_vec(text.as_slice(), CompressionLevel::Fastest);
        for piece in [1, 7, 1_000, 1_000_000] {
            assert_eq!(expand(Compression::Gzip, &gzip(&text), piece).unwrap(), text);
            assert_eq!(expand(Compression::Zstd, &zstd, piece).unwrap(), text);
            assert_eq!(expand(Compression::None, &text, piece).unwrap(), text);
        }
    }

    #[test]
    fn several_members_are_one_object() {
        let (a, b) = (b"a,b\n1,2\n".as_slice(), b"3,4\n".as_slice());
        let whole = [a, b].concat();
        let zstd = |part: &[u8]| compress_to_vec(part, CompressionLevel::Fastest);
        // Between them a skippable frame of three bytes.
        let skippable = [0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let frames = [zstd(a).as_slice(), &skippable, &zstd(b)].concat();
        for piece in [1, 5, 1_000] {
            let members = [gzip(a), gzip(b)].concat();
            assert_eq!(expand(Compression::Gzip, &members, piece).unwrap(), whole);
            assert_eq!(expand(Compression::Zstd, &frames, piece).unwrap(), whole);
        }
    }

    #[test]
    fn what_breaks_off_is_refused() {
        let text = text();
        let gz = gzip(&text);
        assert!(expand(Compression::Gzip, &gz[..gz.len() / 2], 1_000).is_err());
        let zstd = compress_to_vec(text.as_slice(), CompressionLevel::Fastest);
        assert!(expand(Compression::Zstd, &zstd[..zstd.len() / 2], 1_000).is_err());
        assert!(expand(Compression::Zstd, b"no zstd at all, but long enough", 1_000).is_err());
        assert!(expand(Compression::Gzip, b"no gzip", 1_000).is_err());
    }

    #[test]
    fn kinds_by_key() {
        let check = |key: &str, kind| assert_eq!(Compression::of_key(key), kind, "{key}");
        check("a/b.csv.GZ", Compression::Gzip);
        check("a.jsonl.zst", Compression::Zstd);
        check("a.jsonl.zstd", Compression::Zstd);
        check("gz", Compression::None);
        check("a.csv", Compression::None);
    }
}
