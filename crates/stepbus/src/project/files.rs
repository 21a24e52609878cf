//! The files that a project file names.

use std::path::{Path, PathBuf};

use stepbus_document::MAX_BYTES;

use super::Reader;
use super::problem::{Source, suggest};

#[derive(Debug)]
pub(super) struct Files {
    /// Where relative paths start.
    folder: PathBuf,
    /// What was read so far.
    pub(super) read: Vec<PathBuf>,
}

impl Files {
    pub(super) fn new(folder: PathBuf, project: PathBuf) -> Files {
        Files { folder, read: vec![project] }
    }
}

impl Reader<'_> {
    /// A path of the project file, the same from wherever it is used.
    pub(super) fn full_path(&self, path: impl AsRef<Path>) -> PathBuf {
        let full = self.files.folder.join(path);
        std::path::absolute(&full).unwrap_or(full)
    }

    /// The text of a file that the project file names at `at`.
    pub(super) fn file(&mut self, path: &str, at: &str) -> Option<Source> {
        let full = self.files.folder.join(path);
        match read(&full) {
            Ok(text) => {
                if !self.files.read.contains(&full) {
                    self.files.read.push(full.clone());
                }
                Some(Source { file: full, text })
            }
            Err(message) => {
                let hint = near(&full);
                let problem = self.wrong(at, message);
                problem.hint = hint;
                None
            }
        }
    }
}

/// A whole text file, within the bound of what a document may have.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let fail = |problem: String| format!("`{}` {problem}", path.display());
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => fail("does not exist".to_owned()),
        _ => fail(format!("cannot be read: {error}")),
    };
    let about = std::fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() {
        return Err(fail("is no file".to_owned()));
    }
    if about.len() > MAX_BYTES as u64 {
        return Err(fail(format!("has {} bytes; at most {MAX_BYTES} are read", about.len())));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = sound.iter().filter(|byte| **byte == b'\n').count() + 1;
        fail(format!("is not UTF-8 in line {line}"))
    })
}

/// What stands beside a file that is not there.
fn near(path: &Path) -> Option<String> {
    const SHOWN: usize = 12;
    let folder = path.parent()?;
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    let wanted = path.file_name()?.to_str()?;
    let hint = suggest(wanted, names.iter().map(String::as_str));
    if hint.starts_with("known:") && names.len() > SHOWN {
        return None;
    }
    Some(hint.replace("known:", "beside it:"))
}
