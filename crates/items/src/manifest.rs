//! Manifests: objects that list the objects to be read.

use serde::Deserialize;

use crate::fault::ItemFault;

/// The objects a manifest lists, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Where they are, when the manifest says so.
    pub bucket: Option<String>,
    pub objects: Vec<ManifestObject>,
    /// What names the fields of an inventory's rows.
    pub headers: Option<Vec<String>>,
}

/// A bucket, when it is another than the manifest's, and a key.
pub type ManifestObject = (Option<String>, String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inventory {
    destination_bucket: Option<String>,
    file_format: String,
    file_schema: String,
    files: Vec<InventoryFile>,
}

#[derive(Deserialize)]
struct InventoryFile {
    key: String,
}

/// The manifest.json of an S3 inventory.
///
/// # Errors
/// When it is none, or lists files that are no CSV.
pub fn parse_inventory(text: &[u8]) -> Result<Manifest, ItemFault> {
    let inventory: Inventory = serde_json::from_slice(text)
        .map_err(|error| ItemFault::new(format!("this is no inventory's manifest: {error}")))?;
    if inventory.file_format != "CSV" {
        return Err(ItemFault::new(format!(
            "the inventory's files are {}; only CSV can be read",
            inventory.file_format
        )));
    }
    let bucket = inventory.destination_bucket.map(|bucket| {
        // `arn:aws:s3:::NAME`
        bucket.rsplit(':').next().unwrap_or_default().to_owned()
    });
    Ok(Manifest {
        bucket,
        objects: inventory.files.into_iter().map(|file| (None, file.key)).collect(),
        headers: Some(inventory_headers(&inventory.file_schema)),
    })
}

/// `Bucket, Key, Size`
fn inventory_headers(schema: &str) -> Vec<String> {
    schema.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The manifest of an Athena UNLOAD: a line an object, `s3://BUCKET/KEY`.
///
/// # Errors
/// When a line is no such address.
pub fn parse_athena(text: &[u8]) -> Result<Manifest, ItemFault> {
    let text = std::str::from_utf8(text)
        .map_err(|error| ItemFault::new(format!("the manifest is no text: {error}")))?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let objects = lines
        .map(|(number, line)| {
            let address = line.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
            let (bucket, key) = address
                .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
                .ok_or_else(|| {
                    ItemFault::new(format!(
                        "line {} of the manifest is `{line}`; expected s3://BUCKET/KEY",
                        number + 1
                    ))
                })?;
            Ok((Some(bucket.to_owned()), key.to_owned()))
        })
        .collect::<Result<_, ItemFault>>()?;
    Ok(Manifest { bucket: None, objects, headers: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory() {
        let text = r#"{"sourceBucket":"s","destinationBucket":"arn:aws:s3:::lists","version":"2016-11-30",
            "fileFormat":"CSV","fileSchema":"Bucket, Key, Size","files":
            [{"key":"data/a.csv.gz","size":1,"MD5checksum":"x"},{"key":"data/b.csv.gz","size":2}]}"#;
        let manifest = parse_inventory(text.as_bytes()).unwrap();
        assert_eq!(manifest.bucket.as_deref(), Some("lists"));
        let keys = ["data/a.csv.gz", "data/b.csv.gz"].map(|key| (None, key.to_owned()));
        assert_eq!(manifest.objects, keys);
        assert_eq!(manifest.headers.unwrap(), ["Bucket", "Key", "Size"]);
        let orc = text.replace("\"CSV\"", "\"ORC\"");
        assert!(parse_inventory(orc.as_bytes()).unwrap_err().0.contains("ORC"));
    }

    #[test]
    fn athena() {
        let manifest = parse_athena(b"s3://b/x/1.csv\n\ns3://b/x/2.csv\n").unwrap();
        let keys = ["x/1.csv", "x/2.csv"].map(|key| (Some("b".to_owned()), key.to_owned()));
        assert_eq!(manifest.objects, keys);
        let error = parse_athena(b"s3://b/k\n/local/file\n").unwrap_err();
        assert_eq!(error.0, "line 2 of the manifest is `/local/file`; expected s3://BUCKET/KEY");
    }
}
