//! The example project, carried in the binary so that the demo runs anywhere.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

macro_rules! files {
    ($($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../../../examples/product-sync/", $path)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "stepbus.yaml",
    "workflows/fetch-product-ids.asl.yaml",
    "workflows/fetch-products.asl.yaml",
    "mappings/crm.jsonata",
    "mappings/erp.jsonata",
    "mappings/shop.jsonata",
];

/// Writes the project for people to look at and change, and gives its project file. Files that
/// are there already stay as they are.
pub(super) fn write(folder: &Path) -> anyhow::Result<PathBuf> {
    for (path, text) in FILES {
        let path = folder.join(path);
        if path.exists() {
            continue;
        }
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(folder.join(FILES[0].0))
}
