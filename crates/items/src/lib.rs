//! Where a map's items come from, as bytes, and where its results go, as bytes: CSV, JSON and JSON
//! Lines read bit by bit, manifests, and the files that a ResultWriter writes.
//!
//! A pure room: it is handed bytes and gives items, or the other way round. A [`Decoder`] can say
//! at any item where it stands, and one that begins there gives the rest.

mod config;
mod csv;
mod decoder;
mod expand;
mod fault;
mod json;
mod lines;
mod manifest;
mod parquet;
mod results;

pub use config::{CsvSettings, Delimiter, Format, ManifestType, ReaderConfig, Transformation};
pub use decoder::{Decoder, Item, Next, Position};
pub use expand::{Compression, Expander};
pub use fault::ItemFault;
pub use manifest::{Manifest, ManifestObject, parse_athena, parse_inventory};
pub use parquet::{ParquetRows, Pieces, RowPlace};
pub use results::{
    Child, Column, Entries, Listed, OutputType, ResultFile, ResultTransformation, WriterConfig,
    manifest,
};
