//! Writes down every request to a stand-in, so that a benchmark can repeat the very same ones.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::http::Request;

/// One request, a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    pub method: String,
    /// Host and port it went to.
    pub host: String,
    /// With the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

#[derive(Debug)]
pub(crate) struct Recorder(Mutex<BufWriter<File>>);

impl Recorder {
    pub(crate) fn create(path: &Path) -> std::io::Result<Recorder> {
        Ok(Recorder(Mutex::new(BufWriter::new(File::create(path)?))))
    }

    pub(crate) fn record(&self, request: &Request) {
        let headers = request.headers.iter();
        let recorded = Recorded {
            method: request.method.to_string(),
            host: request.header("host").unwrap_or_default().to_owned(),
            path: request.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            headers: headers
                .filter_map(|(name, value)| {
                    Some((name.to_string(), value.to_str().ok()?.to_owned()))
                })
                .collect(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
        };
        let line = serde_json::to_string(&recorded).unwrap_or_default();
        if let Ok(mut file) = self.0.lock() {
            // A recording that broke off shows in the count of its lines.
            let _ = writeln!(file, "{line}").and_then(|()| file.flush());
        }
    }
}
