//! The bytes of a file, asked for in pieces; the latest ones are kept.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use stepbus_model::Limits;

use crate::fault::ItemFault;

/// Whoever has the bytes of a file.
pub trait Pieces: Send + Sync + 'static {
    /// Of the whole file.
    fn size(&self) -> u64;

    /// Of a piece; all but the last one have as many.
    fn piece_bytes(&self) -> u64;

    /// # Errors
    /// When it cannot be had.
    fn piece(&self, number: u64) -> std::result::Result<Bytes, ItemFault>;
}

/// What the reader reads from.
#[derive(Clone)]
pub(super) struct Chunks(Arc<Shared>);

struct Shared {
    pieces: Box<dyn Pieces>,
    /// The latest ones, the one used last at the end.
    kept: Mutex<VecDeque<(u64, Bytes)>>,
    most: usize,
    /// Why a piece could not be had; what the reader makes of it says less.
    failed: Mutex<Option<ItemFault>>,
}

/// The end of a Parquet file: the length of its footer, and four letters.
const TAIL: u64 = 8;

impl Chunks {
    pub(super) fn new(pieces: impl Pieces, limits: &Limits) -> Chunks {
        let most = limits.parquet_cache_bytes / pieces.piece_bytes().max(1);
        Chunks(Arc::new(Shared {
            pieces: Box::new(pieces),
            kept: Mutex::default(),
            most: usize::try_from(most).unwrap_or(usize::MAX).max(2),
            failed: Mutex::default(),
        }))
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.0.kept.lock().len()
    }

    /// Whether the file ends as a Parquet file does, with a footer that is not too large.
    pub(super) fn check_footer(&self, limits: &Limits) -> std::result::Result<(), ItemFault> {
        let size = self.len();
        let no_parquet = || ItemFault::new("this is no Parquet file, or it is cut off");
        let from = size.checked_sub(TAIL).ok_or_else(no_parquet)?;
        let tail = self.range(from, TAIL).map_err(|error| self.fault("the footer", &error))?;
        let (length, magic) = tail.split_at(4);
        if magic == b"PARE" {
            return Err(ItemFault::new("the file is encrypted, which is not offered"));
        }
        if magic != b"PAR1" {
            return Err(no_parquet());
        }
        let length = length.try_into().map_or(0, u32::from_le_bytes);
        if u64::from(length) > limits.parquet_footer_bytes {
            let limit = limits.parquet_footer_bytes;
            return Err(ItemFault(format!(
                "the footer has {length} bytes, the limit is {limit} (limit parquet_footer_bytes)"
            )));
        }
        Ok(())
    }

    /// What went wrong at a place: why a piece could not be had, or what the reader says.
    pub(super) fn fault(&self, place: &str, error: &ParquetError) -> ItemFault {
        match self.0.failed.lock().take() {
            Some(failed) => failed,
            None => ItemFault(format!("{place}: {error}")),
        }
    }

    fn range(&self, from: u64, length: u64) -> Result<Bytes> {
        let to = from.checked_add(length).filter(|to| *to <= self.len());
        let to = to.ok_or_else(|| ParquetError::EOF("behind the end of the file".to_owned()))?;
        let whole = self.0.pieces.piece_bytes();
        let mut gathered: Option<BytesMut> = None;
        let mut at = from;
        while at < to {
            let number = at / whole;
            let piece = self.piece(number)?;
            let begin = usize::try_from(at - number * whole).unwrap_or(usize::MAX);
            let wanted = usize::try_from(to - at).unwrap_or(usize::MAX);
            let end = begin.saturating_add(wanted).min(piece.len());
            if begin >= end {
                return Err(ParquetError::EOF("a piece of the file is too short".to_owned()));
            }
            let part = piece.slice(begin..end);
            at += part.len() as u64;
            match &mut gathered {
                None if at == to => return Ok(part),
                None => {
                    let mut bytes = BytesMut::with_capacity(part.len());
                    bytes.extend_from_slice(&part);
                    gathered = Some(bytes);
                }
                Some(bytes) => bytes.extend_from_slice(&part),
            }
        }
        Ok(gathered.map(BytesMut::freeze).unwrap_or_default())
    }

    fn piece(&self, number: u64) -> Result<Bytes> {
        let mut kept = self.0.kept.lock();
        if let Some(at) = kept.iter().position(|(known, _)| *known == number) {
            let found = kept.remove(at);
            kept.extend(found.clone());
            return Ok(found.map(|(_, bytes)| bytes).unwrap_or_default());
        }
        let bytes = self.0.pieces.piece(number).map_err(|fault| {
            let told = ParquetError::General(fault.0.clone());
            *self.0.failed.lock() = Some(fault);
            told
        })?;
        if kept.len() >= self.0.most {
            kept.pop_front();
        }
        kept.push_back((number, bytes.clone()));
        Ok(bytes)
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.pieces.size()
    }
}

impl ChunkReader for Chunks {
    type T = Reading;

    fn get_read(&self, start: u64) -> Result<Reading> {
        Ok(Reading { chunks: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.range(start, length as u64)
    }
}

/// Bytes one after the other.
pub(super) struct Reading {
    chunks: Chunks,
    at: u64,
}

impl Read for Reading {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let left = self.chunks.len().saturating_sub(self.at);
        let length = left.min(into.len() as u64);
        if length == 0 {
            return Ok(0);
        }
        let bytes = self.chunks.range(self.at, length).map_err(std::io::Error::other)?;
        into[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}
