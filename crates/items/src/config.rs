//! `ReaderConfig`: how the bytes of an object are to be read.

use serde_json::{Map, Value};
use stepbus_model::Limits;

use crate::csv::check_headers;
use crate::fault::ItemFault;

/// An evaluated `ReaderConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderConfig {
    /// None where the items are the entries of a listing.
    pub format: Option<Format>,
    pub manifest: Option<ManifestType>,
    pub transformation: Transformation,
    /// Items read at most.
    pub max_items: u64,
}

/// How items stand in an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    Csv(CsvSettings),
    /// A JSON array, or with a pointer (its segments) the array or object it leads to.
    Json(Option<Vec<String>>),
    JsonLines,
    /// Rows, which [`crate::ParquetRows`] reads.
    Parquet,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CsvSettings {
    pub delimiter: Delimiter,
    /// None: the first row names the fields.
    pub headers: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delimiter {
    #[default]
    Comma,
    Pipe,
    Semicolon,
    Space,
    Tab,
}

impl Delimiter {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Delimiter::Comma => b',',
            Delimiter::Pipe => b'|',
            Delimiter::Semicolon => b';',
            Delimiter::Space => b' ',
            Delimiter::Tab => b'\t',
        }
    }
}

/// What a manifest lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestType {
    S3Inventory,
    AthenaData,
}

/// What becomes of a listing's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transformation {
    /// The entries are the items.
    #[default]
    None,
    /// The objects are read, and their items are the items.
    LoadAndFlatten,
}

impl ReaderConfig {
    /// # Errors
    /// When a field makes no sense, as AWS says it where it is known to.
    pub fn parse(config: &Value, limits: &Limits) -> Result<ReaderConfig, ItemFault> {
        let empty = Map::new();
        let fields = match config {
            Value::Object(fields) => fields,
            Value::Null => &empty,
            _ => return Err(ItemFault::new("ReaderConfig must be an object")),
        };
        let max_items = max_items(fields.get("MaxItems"), limits)?;
        let transformation = match word(fields, "Transformation")? {
            None | Some("NONE") => Transformation::None,
            Some("LOAD_AND_FLATTEN") => Transformation::LoadAndFlatten,
            Some(other) => return Err(unknown("Transformation", other, "NONE, LOAD_AND_FLATTEN")),
        };
        let manifest = match word(fields, "ManifestType")? {
            None => None,
            Some("S3_INVENTORY") => Some(ManifestType::S3Inventory),
            Some("ATHENA_DATA") => Some(ManifestType::AthenaData),
            Some(other) => return Err(unknown("ManifestType", other, "S3_INVENTORY, ATHENA_DATA")),
        };
        let (format, manifest) = match (word(fields, "InputType")?, manifest) {
            // AWS's older spelling: a manifest of an inventory.
            (Some("MANIFEST"), manifest) => {
                let manifest = manifest.unwrap_or(ManifestType::S3Inventory);
                (inventory(fields, manifest, limits)?, Some(manifest))
            }
            (None, Some(ManifestType::S3Inventory)) => {
                let manifest = ManifestType::S3Inventory;
                (inventory(fields, manifest, limits)?, Some(manifest))
            }
            (input_type, manifest) => (format(input_type, fields, limits)?, manifest),
        };
        Ok(ReaderConfig { format, manifest, transformation, max_items })
    }

    /// The format of an object's items.
    ///
    /// # Errors
    /// When `InputType` is not given.
    pub fn format(&self) -> Result<&Format, ItemFault> {
        self.format.as_ref().ok_or_else(|| {
            ItemFault::new(
                "ReaderConfig needs an InputType: CSV, JSON, JSONL, PARQUET or MANIFEST says how the object \
                 is read",
            )
        })
    }
}

/// The rows of an inventory name no fields: its manifest does.
fn inventory(
    fields: &Map<String, Value>,
    manifest: ManifestType,
    limits: &Limits,
) -> Result<Option<Format>, ItemFault> {
    match manifest {
        ManifestType::AthenaData => format(Some("CSV"), fields, limits),
        ManifestType::S3Inventory => {
            let delimiter = delimiter(fields)?;
            Ok(Some(Format::Csv(CsvSettings { delimiter, headers: None })))
        }
    }
}

fn format(
    input_type: Option<&str>,
    fields: &Map<String, Value>,
    limits: &Limits,
) -> Result<Option<Format>, ItemFault> {
    let Some(input_type) = input_type else { return Ok(None) };
    Ok(Some(match input_type {
        "CSV" => Format::Csv(csv(fields, limits)?),
        "JSON" => Format::Json(word(fields, "ItemsPointer")?.map(pointer).transpose()?),
        "JSONL" => Format::JsonLines,
        "PARQUET" => Format::Parquet,
        other => return Err(unknown("InputType", other, "CSV, JSON, JSONL, MANIFEST, PARQUET")),
    }))
}

fn csv(fields: &Map<String, Value>, limits: &Limits) -> Result<CsvSettings, ItemFault> {
    let delimiter = delimiter(fields)?;
    let headers = match word(fields, "CSVHeaderLocation")? {
        Some("FIRST_ROW") => None,
        Some("GIVEN") => {
            let Some(Value::Array(names)) = fields.get("CSVHeaders") else {
                return Err(ItemFault::new(
                    "CSVHeaders must be an array of names when CSVHeaderLocation is GIVEN",
                ));
            };
            let names: Option<Vec<String>> =
                names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
            let names = names.ok_or_else(|| ItemFault::new("CSVHeaders must be texts"))?;
            check_headers(&names, limits)?;
            Some(names)
        }
        Some(other) => return Err(unknown("CSVHeaderLocation", other, "FIRST_ROW, GIVEN")),
        None => {
            return Err(ItemFault::new(
                "CSVHeaderLocation must be given for InputType CSV: FIRST_ROW or GIVEN",
            ));
        }
    };
    Ok(CsvSettings { delimiter, headers })
}

fn delimiter(fields: &Map<String, Value>) -> Result<Delimiter, ItemFault> {
    Ok(match word(fields, "CSVDelimiter")? {
        None | Some("COMMA") => Delimiter::Comma,
        Some("PIPE") => Delimiter::Pipe,
        Some("SEMICOLON") => Delimiter::Semicolon,
        Some("SPACE") => Delimiter::Space,
        Some("TAB") => Delimiter::Tab,
        Some(other) => {
            let known = "COMMA, PIPE, SEMICOLON, SPACE, TAB";
            return Err(unknown("CSVDelimiter", other, known));
        }
    })
}

/// 0 is no limit, and what is above the most there may be is that.
fn max_items(value: Option<&Value>, limits: &Limits) -> Result<u64, ItemFault> {
    let number = match value {
        None | Some(Value::Null) => return Ok(limits.map_items),
        Some(Value::Number(number)) => number
            .as_i64()
            .or_else(|| number.as_u64().map(|_| i64::MAX))
            .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0).map(saturated)),
        // AWS takes digits in text where a path leads to them.
        Some(Value::String(text)) => text.parse::<i64>().ok(),
        Some(_) => None,
    };
    match number {
        Some(0) => Ok(limits.map_items),
        Some(number) if number > 0 => Ok(number.unsigned_abs().min(limits.map_items)),
        Some(_) => Err(ItemFault::new("field MaxItems must be positive")),
        None => {
            let value = value.unwrap_or(&Value::Null);
            Err(ItemFault::new(format!("field MaxItems must be an integer, but is {value}")))
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float saturates")]
fn saturated(number: f64) -> i64 {
    number as i64
}

/// RFC 6901.
fn pointer(text: &str) -> Result<Vec<String>, ItemFault> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err(ItemFault::new(format!(
            "ItemsPointer `{text}` is no JSON pointer: it must begin with `/`, as in /catalog/items"
        )));
    };
    Ok(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

fn word<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ItemFault> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ItemFault::new(format!("{name} must be text"))),
    }
}

fn unknown(field: &str, value: &str, known: &str) -> ItemFault {
    ItemFault::new(format!("{field} `{value}` is not known; there are: {known}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(config: &Value) -> Result<ReaderConfig, String> {
        ReaderConfig::parse(config, &Limits::AWS).map_err(|fault| fault.to_string())
    }

    #[test]
    fn max_items_as_aws_counts_them() {
        let check = |given: Value, expected: Result<u64, &str>| {
            let config = parse(&json!({ "InputType": "JSON", "MaxItems": given }));
            assert_eq!(config.map(|c| c.max_items), expected.map_err(str::to_owned), "{given}");
        };
        check(json!(0), Ok(100_000_000));
        check(json!(2), Ok(2));
        check(json!("2"), Ok(2));
        check(json!(2.0), Ok(2));
        check(json!(100_000_000), Ok(100_000_000));
        check(json!(100_000_001), Ok(100_000_000));
        check(json!(u64::MAX), Ok(100_000_000));
        check(json!(-1), Err("field MaxItems must be positive"));
        check(json!("x"), Err("field MaxItems must be an integer, but is \"x\""));
        check(json!(1.5), Err("field MaxItems must be an integer, but is 1.5"));
    }

    #[test]
    fn headers() {
        let check = |config: Value, expected: &str| {
            assert_eq!(parse(&config).map(|_| ()).unwrap_err(), expected);
        };
        let csv = |more: Value| {
            let mut config = json!({ "InputType": "CSV" });
            for (name, value) in more.as_object().unwrap() {
                config[name] = value.clone();
            }
            config
        };
        check(
            csv(json!({ "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["H1", "H1", "H3"] })),
            "CSV headers cannot contain duplicates.",
        );
        check(
            csv(json!({ "CSVHeaderLocation": "GIVEN" })),
            "CSVHeaders must be an array of names when CSVHeaderLocation is GIVEN",
        );
        check(
            csv(json!({})),
            "CSVHeaderLocation must be given for InputType CSV: FIRST_ROW or GIVEN",
        );
        check(
            csv(json!({ "CSVHeaderLocation": "FIRST_ROW", "CSVDelimiter": "DOT" })),
            "CSVDelimiter `DOT` is not known; there are: COMMA, PIPE, SEMICOLON, SPACE, TAB",
        );
        check(
            csv(json!({ "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["x".repeat(10_241)] })),
            "The CSV header has 10241 bytes, allowed are 10240 (limit csv_header_bytes)",
        );
    }

    #[test]
    fn manifests() {
        let inventory = parse(&json!({ "InputType": "MANIFEST" })).unwrap();
        assert_eq!(inventory.manifest, Some(ManifestType::S3Inventory));
        assert_eq!(parse(&json!({ "ManifestType": "S3_INVENTORY" })).unwrap(), inventory);
        let athena = json!({ "ManifestType": "ATHENA_DATA", "InputType": "JSONL" });
        assert_eq!(parse(&athena).unwrap().format, Some(Format::JsonLines));
        let rows = json!({ "ManifestType": "ATHENA_DATA", "InputType": "PARQUET" });
        assert_eq!(parse(&rows).unwrap().format, Some(Format::Parquet));
    }

    #[test]
    fn pointers() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(pointer(text).unwrap(), expected);
        };
        check("", &[]);
        check("/a/b~1c/0", &["a", "b/c", "0"]);
        check("/", &[""]);
        assert!(pointer("a").is_err());
    }
}
