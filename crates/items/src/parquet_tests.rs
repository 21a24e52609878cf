use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};
use stepbus_model::Limits;

use super::*;

/// A file in memory, handed out in small pieces.
struct File {
    bytes: Bytes,
    asked: Arc<AtomicUsize>,
}

const PIECE: u64 = 100;

impl Pieces for File {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn piece_bytes(&self) -> u64 {
        PIECE
    }

    fn piece(&self, number: u64) -> Result<Bytes, ItemFault> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let from = usize::try_from(number * PIECE).unwrap();
        Ok(self.bytes.slice(from..self.bytes.len().min(from + 100)))
    }
}

/// A column's values with their definition and repetition levels.
type Column = Box<dyn Fn(&mut ColumnWriter<'_>)>;

fn file(schema: &str, groups: &[Vec<Column>], compression: Compression) -> Bytes {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    for columns in groups {
        let mut group = writer.next_row_group().unwrap();
        let mut columns = columns.iter();
        while let Some(mut column) = group.next_column().unwrap() {
            (columns.next().unwrap())(column.untyped());
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    Bytes::from(bytes)
}

macro_rules! column {
    ($kind:ident, $values:expr) => {
        column!($kind, $values, None, None)
    };
    ($kind:ident, $values:expr, $definition:expr, $repetition:expr) => {{
        let values = $values;
        let (definition, repetition): (Option<Vec<i16>>, Option<Vec<i16>>) =
            ($definition, $repetition);
        Box::new(move |writer: &mut ColumnWriter<'_>| {
            let ColumnWriter::$kind(writer) = writer else { panic!("another type") };
            writer.write_batch(&values, definition.as_deref(), repetition.as_deref()).unwrap();
        }) as Column
    }};
}

fn rows_from(
    bytes: &Bytes,
    at: RowPlace,
    limits: &Limits,
) -> Result<Vec<(RowPlace, Value)>, String> {
    let pieces = File { bytes: bytes.clone(), asked: Arc::default() };
    let mut rows = ParquetRows::open(pieces, at, limits).map_err(|fault| fault.0)?;
    let mut all = Vec::new();
    loop {
        let read = rows.next_rows(64).map_err(|fault| fault.0)?;
        if read.is_empty() {
            return Ok(all);
        }
        let value =
            |(place, item): (RowPlace, Item)| (place, serde_json::from_str(&item.json).unwrap());
        all.extend(read.into_iter().map(value));
    }
}

/// The only row of a file of one column.
fn check(field: &str, column: Column, expected: Value) {
    let bytes = file(&format!("message m {{ {field} }}"), &[vec![column]], Compression::SNAPPY);
    let rows = rows_from(&bytes, RowPlace::default(), &Limits::DEFAULT).unwrap();
    assert_eq!(rows.len(), 1, "{field}");
    assert_eq!(rows[0].1, json!({ "c": expected }), "{field}");
}

#[test]
fn values_of_each_type() {
    let text = |text: &str| vec![ByteArray::from(text)];
    check("required boolean c;", column!(BoolColumnWriter, [true]), json!(true));
    check("required int32 c (INTEGER(8,true));", column!(Int32ColumnWriter, [-7]), json!(-7));
    check(
        "required int32 c (INTEGER(32,false));",
        column!(Int32ColumnWriter, [-1]),
        json!(u32::MAX),
    );
    check("required int64 c;", column!(Int64ColumnWriter, [i64::MIN]), json!(i64::MIN));
    check(
        "required int64 c (INTEGER(64,false));",
        column!(Int64ColumnWriter, [-1]),
        json!(u64::MAX),
    );
    check("required float c;", column!(FloatColumnWriter, [0.1]), json!(0.1));
    check("required double c;", column!(DoubleColumnWriter, [2.5]), json!(2.5));
    check("required double c;", column!(DoubleColumnWriter, [f64::NAN]), Value::Null);
    check(
        "required binary c (STRING);",
        column!(ByteArrayColumnWriter, text("B\u{e4}r")),
        json!("B\u{e4}r"),
    );
    check("required binary c;", column!(ByteArrayColumnWriter, text("raw")), json!("cmF3"));
    check("required int32 c (DECIMAL(9,2));", column!(Int32ColumnWriter, [-1250]), json!("-12.50"));
    check("required int64 c (DECIMAL(18,0));", column!(Int64ColumnWriter, [7]), json!("7"));
    let fixed = vec![FixedLenByteArray::from(vec![0, 1, 226, 64])];
    check(
        "required fixed_len_byte_array(4) c (DECIMAL(9,3));",
        column!(FixedLenByteArrayColumnWriter, fixed),
        json!("123.456"),
    );
    check("required int32 c (DATE);", column!(Int32ColumnWriter, [20_484]), json!("2026-01-31"));
    check(
        "required int32 c (TIME(MILLIS,true));",
        column!(Int32ColumnWriter, [45_005_120]),
        json!("12:30:05.12"),
    );
    check(
        "required int64 c (TIME(NANOS,true));",
        column!(Int64ColumnWriter, [1]),
        json!("00:00:00.000000001"),
    );
    let moment = 1_769_862_605_123;
    check(
        "required int64 c (TIMESTAMP(MILLIS,true));",
        column!(Int64ColumnWriter, [moment]),
        json!("2026-01-31T12:30:05.123Z"),
    );
    check(
        "required int64 c (TIMESTAMP(MICROS,false));",
        column!(Int64ColumnWriter, [moment * 1_000]),
        json!("2026-01-31T12:30:05.123"),
    );
    check(
        "required int64 c (TIMESTAMP(NANOS,true));",
        column!(Int64ColumnWriter, [moment * 1_000_000 + 7]),
        json!("2026-01-31T12:30:05.123000007Z"),
    );
    check("optional int32 c;", column!(Int32ColumnWriter, [], Some(vec![0]), None), Value::Null);
}

#[test]
fn nested_values() {
    let list = "optional group c (LIST) { repeated group list { optional int64 element (TIMESTAMP(NANOS,true)); } }";
    let column =
        column!(Int64ColumnWriter, [0, 1_000_000_000], Some(vec![3, 2, 3]), Some(vec![0, 1, 1]));
    check(list, column, json!(["1970-01-01T00:00:00Z", null, "1970-01-01T00:00:01Z"]));
    let schema = "message m { required group c { required int32 a; required group b { required binary t (STRING); } }
        required group d (MAP) { repeated group key_value { required binary key (STRING); required int32 value; } } }";
    let names = vec![ByteArray::from("x"), ByteArray::from("y")];
    let bytes = file(
        schema,
        &[vec![
            column!(Int32ColumnWriter, [1]),
            column!(ByteArrayColumnWriter, vec![ByteArray::from("deep")]),
            column!(ByteArrayColumnWriter, names, Some(vec![1, 1]), Some(vec![0, 1])),
            column!(Int32ColumnWriter, [5, 6], Some(vec![1, 1]), Some(vec![0, 1])),
        ]],
        Compression::UNCOMPRESSED,
    );
    let rows = rows_from(&bytes, RowPlace::default(), &Limits::DEFAULT).unwrap();
    assert_eq!(
        rows[0].1,
        json!({ "c": { "a": 1, "b": { "t": "deep" } }, "d": { "x": 5, "y": 6 } })
    );
}

/// Three row groups of numbers, with a text that makes them long.
fn numbers(compression: Compression) -> Bytes {
    let group = |from: i32, count: i32| {
        let texts: Vec<ByteArray> =
            (0..count).map(|n| ByteArray::from(format!("{:>50}", from + n).as_str())).collect();
        vec![
            column!(Int32ColumnWriter, (from..from + count).collect::<Vec<_>>()),
            column!(ByteArrayColumnWriter, texts),
        ]
    };
    let groups = [group(0, 30), group(30, 1), group(31, 70)];
    file("message m { required int32 n; required binary t (STRING); }", &groups, compression)
}

#[test]
fn every_row_is_a_place_to_go_on_from() {
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
    ] {
        let bytes = numbers(compression);
        let all = rows_from(&bytes, RowPlace::default(), &Limits::DEFAULT).unwrap();
        let found: Vec<i64> = all.iter().map(|(_, row)| row["n"].as_i64().unwrap()).collect();
        assert_eq!(found, (0..101).collect::<Vec<_>>());
        for at in [0, 1, 29, 30, 31, 77, 100] {
            let rest = rows_from(&bytes, all[at].0, &Limits::DEFAULT).unwrap();
            assert_eq!(rest, all[at..], "from row {at}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let bytes = numbers(Compression::SNAPPY);
    let refused = |bytes: &Bytes, limits: &Limits, expected: &str| {
        let error = rows_from(bytes, RowPlace::default(), limits).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    let most = Limits::DEFAULT;
    refused(&Bytes::from_static(b"n,t\n1,2\n"), &most, "this is no Parquet file, or it is cut off");
    refused(&bytes.slice(..bytes.len() - 1), &most, "this is no Parquet file, or it is cut off");
    refused(&bytes, &Limits { parquet_footer_bytes: 10, ..most }, "limit parquet_footer_bytes");
    refused(
        &bytes,
        &Limits { parquet_row_group_bytes: 50, ..most },
        "limit parquet_row_group_bytes",
    );
    refused(
        &bytes,
        &Limits { payload_bytes: 20, ..most },
        "row group 0, row 0: it is larger than 20 bytes",
    );
    let interval = "message m { required fixed_len_byte_array(12) c (INTERVAL); }";
    let values = vec![FixedLenByteArray::from(vec![0; 12])];
    let bytes = file(
        interval,
        &[vec![column!(FixedLenByteArrayColumnWriter, values)]],
        Compression::SNAPPY,
    );
    refused(&bytes, &most, "the column `c` is of type INTERVAL over FIXED_LEN_BYTE_ARRAY");
    let bad = vec![ByteArray::from(vec![0xff, 0xfe])];
    let bytes = file(
        "message m { required binary c (STRING); }",
        &[vec![column!(ByteArrayColumnWriter, bad)]],
        Compression::SNAPPY,
    );
    refused(&bytes, &most, "row group 0, row 0: ");
}

#[test]
fn damage_is_an_error_and_no_more() {
    let whole = numbers(Compression::SNAPPY);
    for at in 4..whole.len() - 8 {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x55;
        // Rows or an error, whatever the damage.
        let _ = rows_from(&Bytes::from(bytes), RowPlace::default(), &Limits::DEFAULT);
    }
}

#[test]
fn memory_is_bounded_by_what_is_kept() {
    let bytes = numbers(Compression::UNCOMPRESSED);
    let asked = Arc::new(AtomicUsize::new(0));
    let pieces = File { bytes: bytes.clone(), asked: asked.clone() };
    let limits = Limits { parquet_cache_bytes: 4 * PIECE, ..Limits::DEFAULT };
    let mut rows = ParquetRows::open(pieces, RowPlace::default(), &limits).unwrap();
    while !rows.next_rows(1).unwrap().is_empty() {}
    let whole = bytes.len().div_ceil(100);
    assert!(asked.load(Ordering::Relaxed) >= whole, "each piece once at least");
    assert!(rows.chunks.kept() <= 4);
}
