use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::ReaderConfig;

fn format(config: &Value) -> Format {
    ReaderConfig::parse(config, &Limits::DEFAULT).unwrap().format.unwrap()
}

fn csv(config: Value) -> Format {
    let mut whole = json!({ "InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW" });
    for (name, value) in config.as_object().unwrap() {
        whole[name] = value.clone();
    }
    format(&whole)
}

/// All items of a text that comes in pieces, and the position behind each.
fn read(format: &Format, bytes: &[u8], piece: usize) -> Result<Vec<(Item, Position)>, ItemFault> {
    read_from(format, Position::default(), bytes, piece)
}

fn read_from(
    format: &Format,
    from: Position,
    bytes: &[u8],
    piece: usize,
) -> Result<Vec<(Item, Position)>, ItemFault> {
    let start = usize::try_from(from.offset).unwrap();
    let mut pieces = bytes[start..].chunks(piece);
    let mut decoder = Decoder::at(format, from, &Limits::DEFAULT);
    let mut items = Vec::new();
    loop {
        match decoder.next_item()? {
            Next::Item(item) => items.push((item, decoder.position())),
            Next::End => return Ok(items),
            Next::More => match pieces.next() {
                Some(piece) => decoder.feed(piece),
                None => decoder.finish(),
            },
        }
    }
}

fn values(format: &Format, text: impl AsRef<[u8]>) -> Result<Value, String> {
    let whole = read(format, text.as_ref(), usize::MAX);
    let in_pieces = read(format, text.as_ref(), 1);
    assert_eq!(whole, in_pieces, "pieces make no difference");
    let items = whole.map_err(|fault| fault.to_string())?;
    Ok(items.iter().map(|(item, _)| serde_json::from_str::<Value>(&item.json).unwrap()).collect())
}

#[track_caller]
fn check(format: &Format, text: impl AsRef<[u8]>, expected: Value) {
    assert_eq!(values(format, text), Ok(expected));
}

#[track_caller]
fn refused(format: &Format, text: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(values(format, text).unwrap_err(), expected);
}

#[test]
fn csv_rows() {
    let rows = csv(json!({}));
    let ab = |a: &str, b: &str| json!([{ "a": a, "b": b }]);
    check(&rows, "a,b\n1,2\n", ab("1", "2"));
    check(&rows, "a,b\n1,2", ab("1", "2"));
    check(&rows, "\u{feff}a,b\r\n1,2\r\n", ab("1", "2"));
    check(&rows, "\n\na,b\n\n\r\n1,2\n\n", ab("1", "2"));
    check(&rows, "a,b\r1,2\r", ab("1", "2"));
    check(&rows, "a,b\n1\n", ab("1", ""));
    check(&rows, "a,b\n1,2,3,4\n", ab("1", "2"));
    check(&rows, "a,b\n 1 ,\t2\n", ab(" 1 ", "\t2"));
    check(&rows, "a,b\n   \n", ab("   ", ""));
    check(&rows, "a,b\nä,\u{1f600}\n", ab("ä", "\u{1f600}"));
    check(&rows, "a,b\n", json!([]));
    check(&rows, "", json!([]));
    check(&rows, "H1,\nx,y,z\n,,,\n", json!([{ "H1": "x", "": "y" }, { "H1": "", "": "" }]));
}

#[test]
fn csv_quotes() {
    let rows = csv(json!({}));
    let ab = |a: &str, b: &str| json!([{ "a": a, "b": b }]);
    check(&rows, "a,b\n\"1,1\",\"2\n2\"\n", ab("1,1", "2\n2"));
    check(&rows, "a,b\n\"say \"\"hi\"\"\",\"\"\n", ab("say \"hi\"", ""));
    check(&rows, "a,b\n{\"\"k\"\":1},x\n", ab("{\"k\":1}", "x"));
    check(&rows, "a,b\n  \"1,1\" , \"2\"\n", ab("1,1", "2"));
    check(&rows, "a,b\n\"\"\n", ab("", ""));
    check(&rows, "a,b\n\"1\r\n1\",2\r\n", ab("1\r\n1", "2"));
    check(&rows, "a,b\nC:\\\\Files\\\\x,1\\,5\n", ab("C:\\Files\\x", "1,5"));
    check(&rows, "a,b\n\\\"x\\\",\"\\\"y\\\"\"\n", ab("\"x\"", "\"y\""));
    check(&rows, "a,b\n\\n\\t,x\\\n", ab("nt", "x"));
    check(&rows, "a,b\n'x',\"'y'\"\n", ab("'x'", "'y'"));
}

#[test]
fn csv_delimiters() {
    let given = |delimiter: &str, text: &str| {
        let rows = csv(json!({ "CSVDelimiter": delimiter }));
        check(&rows, text, json!([{ "a": "1", "b": "2,3" }]));
    };
    given("PIPE", "a|b\n1|2,3\n");
    given("SEMICOLON", "a;b\n1;2,3\n");
    given("SPACE", "a b\n1 2,3\n");
    given("TAB", "a\tb\n1\t2,3\n");
    given("COMMA", "a,b\n1,\"2,3\"\n");
}

#[test]
fn csv_given_headers() {
    let rows = csv(json!({ "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["x", "y"] }));
    check(&rows, "1,2\n3\n", json!([{ "x": "1", "y": "2" }, { "x": "3", "y": "" }]));
}

#[test]
fn csv_that_is_broken() {
    let rows = csv(json!({}));
    refused(&rows, "a,a\n1,2\n", "CSV headers cannot contain duplicates.");
    refused(
        &rows,
        "a,b\n1,2\n\n3,\"4\n5,6\n",
        "row 3 (line 4), column 2 (`b`), character 3: the field that is quoted from here on has \
         no closing quotation mark; quotation marks within it must be doubled",
    );
    refused(
        &rows,
        "a,b\n\"1\n1\",5\" pipe\n",
        "row 2 (line 3), column 2 (`b`), character 5: a quotation mark within a field that is not \
         quoted; double it, and put the field in quotation marks",
    );
    refused(
        &rows,
        "a,b\n1,\"5\" pipe\"\n",
        "row 2 (line 2), column 2 (`b`), character 7: text behind the closing quotation mark of a \
         field; quotation marks within a quoted field must be doubled",
    );
    refused(
        &rows,
        b"a,b\n1,x\xe4y\n",
        "row 2 (line 2), column 2 (`b`): the text is not valid UTF-8 after its first 1 \
         characters; convert the file to UTF-8",
    );
    refused(&rows, b"\xff\xfea\0", "the text is UTF-16; convert the file to UTF-8");
}

#[test]
fn an_item_has_a_limit() {
    let limits = Limits { payload_bytes: 100, ..Limits::DEFAULT };
    let mut decoder = Decoder::new(&csv(json!({})), &limits);
    decoder.feed(b"a\n\"");
    decoder.feed(&[b'x'; 300]);
    let fault = decoder.next_item().unwrap_err().0;
    let expected = "the row that begins in line 2 is larger than 100 bytes (limit payload_bytes)";
    assert!(fault.starts_with(expected), "{fault}");
}

#[test]
fn json_arrays() {
    let array = format(&json!({ "InputType": "JSON" }));
    check(&array, " [ 1 , {\"a\":[\"]\"]},\"x\\\"\" ,null,[] ] \n", {
        json!([1, { "a": ["]"] }, "x\"", null, []])
    });
    check(&array, "[]", json!([]));
    check(&array, "\u{feff}[1]", json!([1]));
    refused(&array, "{\"a\":1}", "Attempting to map over non-iterable node.");
    refused(&array, "7 ", "Attempting to map over non-iterable node.");
    refused(&array, "", "the JSON document is empty");
    refused(&array, "[1,2", "the JSON breaks off: it ends at item 2");
    refused(&array, "[1 2]", "the JSON is broken at item 1: a comma is expected, `2` was found");
    refused(
        &array,
        "[1,]",
        "item 1 is no JSON value: EOF while parsing a value at line 1 column 0",
    );
    refused(&array, "[{\"a\":tru}]", "item 0 is no JSON value: expected ident at line 1 column 9");
    refused(
        &array,
        "[1]\n[2]",
        "text behind the JSON document; for one JSON value a line use InputType JSONL",
    );
}

#[test]
fn json_pointers() {
    let at = |pointer: &str| format(&json!({ "InputType": "JSON", "ItemsPointer": pointer }));
    let text = r#"{"skip":{"items":["no"],"t":"\"}]"},"n":-1.5e3,"a":{"items":[1,2],"o":{"k":3,"l":[]}},
        "list":[[0],{"x":[9]}],"a/b":[4],"rest":1}"#;
    check(&at("/a/items"), text, json!([1, 2]));
    check(&at("/list/1/x"), text, json!([9]));
    check(&at("/list/0"), text, json!([0]));
    check(&at("/a~1b"), text, json!([4]));
    check(&at("/a/o"), text, json!([3, []]));
    let members = read(&at("/a/o"), text.as_bytes(), 3).unwrap();
    let keys: Vec<_> = members.iter().map(|(item, _)| item.key.as_deref().unwrap()).collect();
    assert_eq!(keys, ["k", "l"]);
    check(&at(""), r#"{"a":1}"#, json!([1]));
    let nowhere = "ItemsPointer `/a/none` leads to nothing in the JSON document";
    refused(&at("/a/none"), text, nowhere);
    refused(&at("/n"), text, "Attempting to map over non-iterable node.");
    refused(&at("/n/x"), text, "ItemsPointer `/n/x` leads to nothing in the JSON document");
    refused(&at("/list/7"), text, "ItemsPointer `/list/7` leads to nothing in the JSON document");
}

#[test]
fn json_lines() {
    let lines = format(&json!({ "InputType": "JSONL" }));
    check(&lines, "{\"a\":1}\n\n 2 \r\n\"x\"", json!([{ "a": 1 }, 2, "x"]));
    check(&lines, "", json!([]));
    refused(
        &lines,
        "1\n\n{\"a\":}\n",
        "line 3 is no JSON value: expected value at line 1 column 6",
    );
}

/// From any item on, the rest is what it would have been.
#[test]
fn reading_goes_on_anywhere() {
    let object = json!({ "InputType": "JSON", "ItemsPointer": "/o" });
    let sources = [
        (csv(json!({})), "\u{feff}a,b\r\n1,\"x\n\"\"y\"\r\n\r\n2,z\r\n3,\r\n"),
        (csv(json!({ "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["x"] })), "1\n2\n3"),
        (format(&json!({ "InputType": "JSON" })), "[1, {\"a\": 2}, [3] ,4]"),
        (format(&object), r#"{"a":[],"o":{"x":1,"y":2,"z":3}}"#),
        (format(&json!({ "InputType": "JSONL" })), "1\n\n2\n3\n"),
    ];
    for (format, text) in sources {
        let all = read(&format, text.as_bytes(), 2).unwrap();
        assert!(all.len() > 1);
        for (index, (_, position)) in all.iter().enumerate() {
            let kept = serde_json::to_string(position).unwrap();
            let position: Position = serde_json::from_str(&kept).unwrap();
            let rest = read_from(&format, position, text.as_bytes(), 3).unwrap();
            assert_eq!(rest, all[index + 1..], "{text} from {kept}");
        }
    }
}

proptest! {
    /// What is written with every field quoted is read as it was, in whatever pieces.
    #[test]
    fn csv_comes_back(
        rows in prop::collection::vec(prop::collection::vec("[a-z\"\\\\,\r\n é]{0,6}", 3), 0..8),
        piece in 1_usize..9,
    ) {
        let quote = |field: &String| {
            format!("\"{}\"", field.replace('\\', "\\\\").replace('"', "\"\""))
        };
        let mut text = "a,b,c\n".to_owned();
        for row in &rows {
            let fields: Vec<String> = row.iter().map(quote).collect();
            let _ = write!(text, "{}\r\n", fields.join(","));
        }
        let items = read(&csv(json!({})), text.as_bytes(), piece).unwrap();
        let read: Vec<Value> =
            items.iter().map(|(item, _)| serde_json::from_str(&item.json).unwrap()).collect();
        let expected: Vec<Value> =
            rows.iter().map(|row| json!({ "a": row[0], "b": row[1], "c": row[2] })).collect();
        prop_assert_eq!(read, expected);
    }

    /// No bytes make a decoder panic or run for ever.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50) {
        for config in [
            json!({ "InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW" }),
            json!({ "InputType": "JSON" }),
            json!({ "InputType": "JSON", "ItemsPointer": "/a/0" }),
            json!({ "InputType": "JSONL" }),
        ] {
            let _ = read(&format(&config), &bytes, piece);
        }
    }

    /// The same for what is nearly JSON.
    #[test]
    fn nearly_json(text in "[\\[\\]{}\",:a0 \\\\]{0,40}", piece in 1_usize..9) {
        for pointer in ["", "/a", "/0/a"] {
            let config = json!({ "InputType": "JSON", "ItemsPointer": pointer });
            let _ = read(&format(&config), text.as_bytes(), piece);
        }
        let _ = read(&csv(json!({})), text.as_bytes(), piece);
    }
}

/// A file such as a price list comes: a byte order mark, CRLF, empty lines, fields with line breaks
/// and quotation marks. Every row is read, and the first broken one is named.
fn price_list(rows: usize, broken: Option<usize>) -> String {
    let mut text = String::with_capacity(rows * 40);
    text.push_str("\u{feff}sku,name,price\r\n");
    for row in 0..rows {
        if Some(row) == broken {
            let _ = write!(text, "P{row},5\" pipe,1\r\n");
            continue;
        }
        match row % 10 {
            0 => text.push_str("\r\n"),
            1 => {
                let _ = write!(text, "P{row},\"two\r\nlines, {row}\",1.50\r\n");
                continue;
            }
            2 => {
                let _ = write!(text, "P{row},\"5\"\" pipe\",{row}\r\n");
                continue;
            }
            _ => {}
        }
        let _ = write!(text, "P{row},plain {row},{row}\r\n");
    }
    text
}

fn a_price_list_is_read(rows: usize) {
    let rows_format = csv(json!({}));
    let text = price_list(rows, None);
    let items = read(&rows_format, text.as_bytes(), 64 * 1024).unwrap();
    assert_eq!(items.len(), rows);
    let name =
        |row: usize| serde_json::from_str::<Value>(&items[row].0.json).unwrap()["name"].clone();
    assert_eq!(name(1), "two\r\nlines, 1");
    assert_eq!(name(2), "5\" pipe");
    assert_eq!(name(rows - 1), format!("plain {}", rows - 1));
    let broken = rows - 5;
    let text = price_list(rows, Some(broken));
    let fault = read(&rows_format, text.as_bytes(), 64 * 1024).unwrap_err().0;
    // Every tenth row has an empty line before it, and every tenth one takes two lines.
    let line = text[..text.find("5\" pipe,1\r\n").unwrap()].matches('\n').count() + 1;
    let place = format!("row {} (line {line}), column 2 (`name`), character ", broken + 2);
    assert!(fault.starts_with(&place), "{fault}, expected {place}");
}

#[test]
fn a_price_list_of_ten_thousand_rows() {
    a_price_list_is_read(10_000);
}

#[test]
#[ignore = "full tier"]
fn a_price_list_of_a_million_rows() {
    a_price_list_is_read(1_000_000);
}
