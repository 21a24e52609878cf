//! The C side of [`Disk`]: the functions that SQLite calls.
//!
//! Unsafe, since SQLite hands over raw pointers; only tests are built with it. What holds: SQLite
//! calls a file's functions only between a successful `open` and its `close`, with the buffers it
//! says, and uses a connection from one thread at a time.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use rusqlite::ffi;

use super::disk::{Disk, Done, Handle, SHM_LOCKS};

#[repr(C)]
struct OpenFile {
    base: ffi::sqlite3_file,
    handle: *mut Handle,
}

fn code<T>(done: Done<T>) -> c_int {
    match done {
        Ok(_) => ffi::SQLITE_OK,
        Err(code) => code,
    }
}

/// # Safety
/// `file` was opened by [`open`] and not closed yet.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Handle {
    unsafe { &mut *(*file.cast::<OpenFile>()).handle }
}

/// # Safety
/// `vfs` was made by [`register`].
unsafe fn disk<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a Arc<Disk> {
    unsafe { &*(*vfs).pAppData.cast::<Arc<Disk>>() }
}

/// # Safety
/// `name` is null or a C string.
unsafe fn text(name: *const c_char) -> String {
    if name.is_null() {
        return "unnamed".to_owned();
    }
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// Registers a VFS named as the disk. It stays for the life of the process.
pub(super) fn register(disk: Arc<Disk>) {
    let name = CString::new(disk.name()).expect("a name without NUL");
    // SAFETY: the default VFS is there for ever; the new one and what it points at are leaked.
    unsafe {
        let system = &*ffi::sqlite3_vfs_find(std::ptr::null());
        let vfs = ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: size_of::<OpenFile>() as c_int,
            mxPathname: system.mxPathname,
            pNext: null_mut(),
            zName: name.into_raw(),
            pAppData: Box::into_raw(Box::new(disk)).cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_path_name),
            ..*system
        };
        let done = ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0);
        assert_eq!(done, ffi::SQLITE_OK);
    }
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    unsafe {
        (*file).pMethods = std::ptr::null();
        let (disk, name) = (disk(vfs), text(name));
        match disk.open(&name, flags & ffi::SQLITE_OPEN_CREATE != 0) {
            Err(code) => code,
            Ok(generation) => {
                let disk = Arc::clone(disk);
                let shm_locks = [0; SHM_LOCKS];
                let handle = Handle { disk, name, generation, level: 0, shm_locks };
                (*file.cast::<OpenFile>()).handle = Box::into_raw(Box::new(handle));
                (*file).pMethods = &raw const METHODS;
                if !out_flags.is_null() {
                    *out_flags = flags;
                }
                ffi::SQLITE_OK
            }
        }
    }
}

unsafe extern "C" fn delete(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _sync: c_int,
) -> c_int {
    unsafe { disk(vfs).delete(&text(name)) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    out: *mut c_int,
) -> c_int {
    unsafe { *out = c_int::from(disk(vfs).exists(&text(name))) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path_name(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    unsafe {
        let bytes = CStr::from_ptr(name).to_bytes_with_nul();
        if bytes.len() > room as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len());
    }
    ffi::SQLITE_OK
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    unsafe {
        let mut handle = Box::from_raw((*file.cast::<OpenFile>()).handle);
        let disk = Arc::clone(&handle.disk);
        disk.unlock(&mut handle, 0);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    unsafe {
        let buffer = slice::from_raw_parts_mut(buffer.cast(), count as usize);
        let handle = handle(file);
        code(handle.disk.read(handle, offset as usize, buffer))
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    count: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    unsafe {
        let bytes = slice::from_raw_parts(bytes.cast(), count as usize);
        let handle = handle(file);
        code(handle.disk.write(handle, offset as usize, bytes))
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    let handle = unsafe { handle(file) };
    code(handle.disk.truncate(handle, size as usize))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    let handle = unsafe { handle(file) };
    code(handle.disk.sync(handle))
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    out: *mut ffi::sqlite3_int64,
) -> c_int {
    let handle = unsafe { handle(file) };
    code(handle.disk.size(handle).map(|size| unsafe { *out = size as ffi::sqlite3_int64 }))
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    let handle = unsafe { handle(file) };
    let disk = Arc::clone(&handle.disk);
    code(disk.lock(handle, level as usize))
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    let handle = unsafe { handle(file) };
    let disk = Arc::clone(&handle.disk);
    disk.unlock(handle, level as usize);
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    let handle = unsafe { handle(file) };
    let reserved = handle.disk.is_reserved(handle);
    code(reserved.map(|reserved| unsafe { *out = c_int::from(reserved) }))
}

unsafe extern "C" fn file_control(
    _file: *mut ffi::sqlite3_file,
    _operation: c_int,
    _argument: *mut c_void,
) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    4096
}

unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let handle = unsafe { handle(file) };
    let address = handle.disk.shm_region(handle, region as usize, size as usize, extend != 0);
    code(address.map(|address| unsafe { *out = address as *mut c_void }))
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    let handle = unsafe { handle(file) };
    let disk = Arc::clone(&handle.disk);
    let first = offset as usize;
    code(disk.shm_lock(handle, first..first + count as usize, flags))
}

unsafe extern "C" fn shm_barrier(_file: *mut ffi::sqlite3_file) {
    fence(Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    let handle = unsafe { handle(file) };
    let disk = Arc::clone(&handle.disk);
    code(disk.shm_lock(handle, 0..SHM_LOCKS, ffi::SQLITE_SHM_UNLOCK))
}
