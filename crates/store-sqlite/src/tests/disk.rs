//! A disk in memory, behind a SQLite VFS, that does to files what a power cut, a failed sync and a
//! lack of room do: what was not synced may be gone, in part, and in any order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rusqlite::ffi;

use super::vfs;

pub(super) const SHM_LOCKS: usize = ffi::SQLITE_SHM_NLOCK as usize;
const SECTOR: usize = 512;

/// What an operation comes to, as SQLite's result code.
pub(super) type Done<T = ()> = Result<T, i32>;

/// A write that no sync has made durable yet.
#[derive(Debug)]
enum Pending {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Pending {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Pending::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(bytes);
            }
            Pending::Truncate(size) => image.resize(*size, 0),
        }
    }
}

#[derive(Debug, Default)]
struct File {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// Handles that hold a lock of this level or a higher one.
    locks: [usize; 5],
    /// Shared holders of each slot; -1 is one exclusive holder.
    shm_locks: [i32; SHM_LOCKS],
    shm: Vec<usize>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    /// Raised by a power cut: handles from before are dead.
    generation: u64,
    operations_left: Option<u64>,
    syncs_fail: bool,
    capacity: Option<usize>,
    random: u64,
}

#[derive(Debug)]
pub(super) struct Disk {
    name: String,
    state: Mutex<State>,
}

impl Disk {
    /// Registers a VFS of its own for the disk; `seed` decides what a power cut leaves.
    pub(super) fn new(seed: u64) -> Arc<Disk> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("disk-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let state = State { random: seed.wrapping_mul(2) + 1, ..State::default() };
        let disk = Arc::new(Disk { name, state: Mutex::new(state) });
        vfs::register(Arc::clone(&disk));
        disk
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The power is cut at that many writes and syncs from now.
    pub(super) fn cut_after(&self, operations: u64) {
        self.state.lock().operations_left = Some(operations);
    }

    pub(super) fn cut(&self) {
        self.state.lock().cut();
    }

    pub(super) fn fail_syncs(&self, fail: bool) {
        self.state.lock().syncs_fail = fail;
    }

    /// Files may grow by that much in all; none is without bound.
    pub(super) fn leave_room(&self, bytes: Option<usize>) {
        let mut state = self.state.lock();
        let used: usize = state.files.values().map(|file| file.current.len()).sum();
        state.capacity = bytes.map(|bytes| used + bytes);
    }

    pub(super) fn open(&self, name: &str, create: bool) -> Done<u64> {
        let mut state = self.state.lock();
        if !create && !state.files.contains_key(name) {
            return Err(ffi::SQLITE_CANTOPEN);
        }
        state.files.entry(name.to_owned()).or_default();
        Ok(state.generation)
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        self.state.lock().files.contains_key(name)
    }

    pub(super) fn delete(&self, name: &str) {
        self.state.lock().files.remove(name);
    }

    pub(super) fn read(&self, handle: &Handle, offset: usize, buffer: &mut [u8]) -> Done {
        self.with(handle, |file| {
            let from = offset.min(file.current.len());
            let found =
                &file.current[from..(offset + buffer.len()).min(file.current.len()).max(from)];
            buffer[..found.len()].copy_from_slice(found);
            buffer[found.len()..].fill(0);
            let whole = found.len() == buffer.len();
            if whole { Ok(()) } else { Err(ffi::SQLITE_IOERR_SHORT_READ) }
        })
    }

    pub(super) fn write(&self, handle: &Handle, offset: usize, bytes: &[u8]) -> Done {
        let mut state = self.state.lock();
        state.operate(handle)?;
        let used: usize = state.files.values().map(|file| file.current.len()).sum();
        let capacity = state.capacity;
        let file = state.file(handle)?;
        let growth = (offset + bytes.len()).saturating_sub(file.current.len());
        if growth > 0 && capacity.is_some_and(|capacity| used + growth > capacity) {
            return Err(ffi::SQLITE_FULL);
        }
        file.change(Pending::Write(offset, bytes.to_vec()));
        Ok(())
    }

    pub(super) fn truncate(&self, handle: &Handle, size: usize) -> Done {
        let mut state = self.state.lock();
        state.operate(handle)?;
        state.file(handle)?.change(Pending::Truncate(size));
        Ok(())
    }

    pub(super) fn sync(&self, handle: &Handle) -> Done {
        let mut state = self.state.lock();
        state.operate(handle)?;
        let fails = state.syncs_fail;
        let file = state.file(handle)?;
        if fails {
            // As Linux does: the pages are lost, and the next sync knows nothing of them.
            file.pending.clear();
            return Err(ffi::SQLITE_IOERR_FSYNC);
        }
        for change in std::mem::take(&mut file.pending) {
            change.apply(&mut file.durable);
        }
        Ok(())
    }

    pub(super) fn size(&self, handle: &Handle) -> Done<usize> {
        self.with(handle, |file| Ok(file.current.len()))
    }

    pub(super) fn lock(&self, handle: &mut Handle, level: usize) -> Done {
        let held = handle.level;
        self.with(handle, |file| {
            let others = |wanted: usize| file.locks[wanted] > usize::from(held >= wanted);
            let busy = match level {
                1 => others(3),
                2 => others(2),
                _ => others(1) || others(2),
            };
            if busy {
                return Err(ffi::SQLITE_BUSY);
            }
            for slot in held + 1..=level {
                file.locks[slot] += 1;
            }
            Ok(())
        })?;
        handle.level = handle.level.max(level);
        Ok(())
    }

    pub(super) fn unlock(&self, handle: &mut Handle, level: usize) {
        let held = handle.level;
        // A handle from before a cut has nothing to give back.
        let _ = self.with(handle, |file| {
            for slot in level + 1..=held {
                file.locks[slot] -= 1;
            }
            Ok(())
        });
        handle.level = handle.level.min(level);
    }

    pub(super) fn is_reserved(&self, handle: &Handle) -> Done<bool> {
        self.with(handle, |file| Ok(file.locks[2] > 0))
    }

    /// Address of a region of shared memory. It is never freed: a connection from before a cut may
    /// still look at it.
    pub(super) fn shm_region(
        &self,
        handle: &Handle,
        region: usize,
        size: usize,
        extend: bool,
    ) -> Done<usize> {
        self.with(handle, |file| {
            while file.shm.len() <= region {
                if !extend {
                    return Ok(0);
                }
                let words = vec![0_u64; size / 8].leak();
                file.shm.push(words.as_mut_ptr() as usize);
            }
            Ok(file.shm[region])
        })
    }

    pub(super) fn shm_lock(
        &self,
        handle: &mut Handle,
        slots: std::ops::Range<usize>,
        flags: i32,
    ) -> Done {
        let mut held = handle.shm_locks;
        self.with(handle, |file| {
            let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
            if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
                for slot in slots {
                    match held[slot] {
                        -1 => file.shm_locks[slot] = 0,
                        0 => {}
                        _ => file.shm_locks[slot] -= 1,
                    }
                    held[slot] = 0;
                }
                return Ok(());
            }
            for slot in slots.clone() {
                let others = if held[slot] == 0 { file.shm_locks[slot] } else { 0 };
                if others < 0 || (exclusive && others > 0) {
                    return Err(ffi::SQLITE_BUSY);
                }
            }
            for slot in slots {
                if held[slot] == 0 {
                    held[slot] = if exclusive { -1 } else { 1 };
                    file.shm_locks[slot] += held[slot];
                }
            }
            Ok(())
        })?;
        handle.shm_locks = held;
        Ok(())
    }

    fn with<T>(&self, handle: &Handle, act: impl FnOnce(&mut File) -> Done<T>) -> Done<T> {
        act(self.state.lock().file(handle)?)
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) disk: Arc<Disk>,
    pub(super) name: String,
    pub(super) generation: u64,
    pub(super) level: usize,
    pub(super) shm_locks: [i32; SHM_LOCKS],
}

impl File {
    fn change(&mut self, change: Pending) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }
}

impl State {
    fn file(&mut self, handle: &Handle) -> Done<&mut File> {
        if handle.generation != self.generation {
            return Err(ffi::SQLITE_IOERR);
        }
        self.files.get_mut(&handle.name).ok_or(ffi::SQLITE_IOERR)
    }

    /// Counts an operation down to the power cut.
    fn operate(&mut self, handle: &Handle) -> Done {
        if handle.generation != self.generation {
            return Err(ffi::SQLITE_IOERR);
        }
        match &mut self.operations_left {
            Some(0) => {
                self.cut();
                Err(ffi::SQLITE_IOERR)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// Of what was not synced, each write is there, not there, or there in part.
    fn cut(&mut self) {
        self.generation += 1;
        self.operations_left = None;
        let mut files = std::mem::take(&mut self.files);
        for file in files.values_mut() {
            let mut image = std::mem::take(&mut file.durable);
            for change in std::mem::take(&mut file.pending) {
                match (self.random(3), change) {
                    (0, change) => change.apply(&mut image),
                    (1, Pending::Write(offset, mut bytes)) => {
                        let sectors = (bytes.len() / SECTOR) as u64 + 1;
                        let kept = usize::try_from(self.random(sectors)).unwrap_or(0);
                        bytes.truncate(kept * SECTOR);
                        Pending::Write(offset, bytes).apply(&mut image);
                    }
                    _ => {}
                }
            }
            *file = File { current: image.clone(), durable: image, ..File::default() };
        }
        self.files = files;
    }
}
