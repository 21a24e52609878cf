//! Parquet: rows of a file whose pieces are asked for as they are needed, a row group after the other.
//!
//! Of a row group one page a column is in memory, and the latest pieces of the file.

mod pieces;
mod value;

use parquet::basic::{ConvertedType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::{ColumnDescriptor, TypePtr};
use serde::{Deserialize, Serialize};
use stepbus_model::Limits;

use crate::decoder::Item;
use crate::fault::ItemFault;
use pieces::Chunks;
pub use pieces::Pieces;

/// A row by its row group and its number in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowPlace {
    pub(crate) group: usize,
    pub(crate) row: u64,
}

/// The rows of a Parquet file. What it asks for blocks until it is there.
pub struct ParquetRows {
    chunks: Chunks,
    schema: TypePtr,
    /// Rows of each row group.
    groups: Vec<u64>,
    at: RowPlace,
    /// Bytes of a row.
    limit: usize,
    /// Of the row group that is being read.
    rows: Option<RowIter<'static>>,
}

impl std::fmt::Debug for ParquetRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetRows").field("at", &self.at).finish_non_exhaustive()
    }
}

impl ParquetRows {
    /// Reads the file's footer, to go on at a row.
    ///
    /// # Errors
    /// When it is no Parquet file, has columns of a type that is not offered, or is too large in
    /// its parts.
    pub fn open(
        pieces: impl Pieces,
        at: RowPlace,
        limits: &Limits,
    ) -> Result<ParquetRows, ItemFault> {
        let chunks = Chunks::new(pieces, limits);
        chunks.check_footer(limits)?;
        let opened = guarded(|| SerializedFileReader::new(chunks.clone()))?;
        let reader = opened.map_err(|error| chunks.fault("the footer", &error))?;
        let metadata = reader.metadata();
        let descriptor = metadata.file_metadata().schema_descr();
        for column in descriptor.columns() {
            check_column(column)?;
        }
        let mut groups = Vec::with_capacity(metadata.num_row_groups());
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let bytes = u64::try_from(group.total_byte_size()).unwrap_or(u64::MAX);
            if bytes > limits.parquet_row_group_bytes {
                let limit = limits.parquet_row_group_bytes;
                return Err(ItemFault(format!(
                    "row group {number} has {bytes} bytes when expanded, the limit is {limit} \
                     (limit parquet_row_group_bytes); write the file with smaller row groups"
                )));
            }
            groups.push(u64::try_from(group.num_rows()).unwrap_or(0));
        }
        let schema = descriptor.root_schema_ptr();
        let limit = limits.payload_bytes;
        Ok(ParquetRows { chunks, schema, groups, at, limit, rows: None })
    }

    /// The next rows with the place of each, until they have so many bytes; none at the end.
    ///
    /// # Errors
    /// When a row cannot be read, saying which.
    pub fn next_rows(&mut self, bytes: usize) -> Result<Vec<(RowPlace, Item)>, ItemFault> {
        let (mut read, mut size) = (Vec::new(), 0);
        while size < bytes.max(1) {
            let Some(count) = self.groups.get(self.at.group) else { break };
            if self.at.row >= *count {
                self.at = RowPlace { group: self.at.group + 1, row: 0 };
                self.rows = None;
                continue;
            }
            let place = self.at;
            let row = self.next_row()?;
            let json = value::row(&row, &self.schema).map_err(|what| self.of_row(&what))?;
            let limit = self.limit;
            if json.len() > limit {
                return Err(
                    self.of_row(&format!("it is larger than {limit} bytes (limit payload_bytes)"))
                );
            }
            size += json.len();
            read.push((place, Item { json, key: None }));
            self.at.row += 1;
        }
        Ok(read)
    }

    /// The place of the next row.
    #[must_use]
    pub fn place(&self) -> RowPlace {
        self.at
    }

    fn next_row(&mut self) -> Result<parquet::record::Row, ItemFault> {
        let at = self.at;
        let rows = match &mut self.rows {
            Some(rows) => rows,
            none => none.insert(rows_of(&self.chunks, at)?),
        };
        match guarded(|| rows.next())? {
            Some(Ok(row)) => Ok(row),
            Some(Err(error)) => {
                Err(self.chunks.fault(&format!("row group {}, row {}", at.group, at.row), &error))
            }
            None => Err(self.of_row("the row group has fewer rows than the footer says")),
        }
    }

    fn of_row(&self, what: &str) -> ItemFault {
        ItemFault(format!("row group {}, row {}: {what}", self.at.group, self.at.row))
    }
}

/// The rows of one row group from a row on; those before it are read and left out.
fn rows_of(chunks: &Chunks, at: RowPlace) -> Result<RowIter<'static>, ItemFault> {
    let only = Box::new(move |_: &_, number: usize| number == at.group);
    let options = ReadOptionsBuilder::new().with_predicate(only).build();
    let rows = guarded(|| {
        let reader = SerializedFileReader::new_with_options(chunks.clone(), options)?;
        let mut rows = RowIter::from_file_into(Box::new(reader));
        for _ in 0..at.row {
            rows.next().transpose()?;
        }
        Ok::<_, ParquetError>(rows)
    })?;
    rows.map_err(|error| chunks.fault(&format!("row group {}", at.group), &error))
}

/// The reader breaks off where a file is damaged in a way it does not look for.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, ItemFault> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .map_err(|_| ItemFault::new("the file is damaged: its parts do not go together"))
}

/// What the reader gives no value for is refused before anything is read.
fn check_column(column: &ColumnDescriptor) -> Result<(), ItemFault> {
    use ConvertedType as C;
    use PhysicalType as P;
    let converted = column.converted_type();
    let offered = match column.physical_type() {
        P::BOOLEAN | P::INT96 | P::FLOAT | P::DOUBLE => true,
        P::INT32 => matches!(
            converted,
            C::NONE
                | C::INT_8
                | C::INT_16
                | C::INT_32
                | C::UINT_8
                | C::UINT_16
                | C::UINT_32
                | C::DATE
                | C::TIME_MILLIS
                | C::DECIMAL
        ),
        P::INT64 => matches!(
            converted,
            C::NONE
                | C::INT_64
                | C::UINT_64
                | C::TIME_MICROS
                | C::TIMESTAMP_MILLIS
                | C::TIMESTAMP_MICROS
                | C::DECIMAL
        ),
        P::BYTE_ARRAY => {
            matches!(converted, C::NONE | C::UTF8 | C::ENUM | C::JSON | C::BSON | C::DECIMAL)
        }
        P::FIXED_LEN_BYTE_ARRAY => matches!(converted, C::NONE | C::DECIMAL),
    };
    if offered {
        return Ok(());
    }
    let path = column.path().string();
    Err(ItemFault(format!(
        "the column `{path}` is of type {converted} over {}, which is not offered; cast it to text \
         or a number where the file is written",
        column.physical_type()
    )))
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
mod tests;
