//! Against folders, and against an S3-like service on loopback.

use std::sync::Arc;

use stepbus_model::{Limits, SystemClock};
use stepbus_sandbox::ObjectService;

use super::*;
use crate::{Connect, Secret};

const LIMITS: Limits = Limits { object_chunk_bytes: 10, object_part_bytes: 8, ..Limits::DEFAULT };

fn connect() -> Connect {
    Connect::new(Arc::new(SystemClock::default()), LIMITS)
}

fn folder(folder: &tempfile::TempDir) -> Bucket {
    let connect = connect();
    let place = BucketPlace::Path(folder.path().to_owned());
    connect.set_bucket(BucketSpec { name: "files".to_owned(), place }).unwrap();
    connect.bucket("files").unwrap()
}

fn s3_spec(service: &ObjectService) -> S3Spec {
    S3Spec {
        endpoint: Some(service.url.clone()),
        bucket: Some("real".to_owned()),
        access_key: Some(Secret::from(service.access_key.as_str())),
        secret_key: Some(Secret::from(service.secret_key.as_str())),
        ..S3Spec::default()
    }
}

fn s3(spec: S3Spec) -> Bucket {
    let connect = connect();
    let place = BucketPlace::S3(Box::new(spec));
    connect.set_bucket(BucketSpec { name: "files".to_owned(), place }).unwrap();
    connect.bucket("files").unwrap()
}

async fn whole(bucket: &Bucket, key: &str) -> Result<Vec<u8>, ObjectError> {
    let version = bucket.look_at(key, None).await?;
    let mut bytes = Vec::new();
    loop {
        let read = bucket.read(key, &version, bytes.len() as u64).await?;
        if read.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&read);
    }
}

/// What holds for every kind of bucket.
async fn a_bucket(bucket: &Bucket) {
    let text = b"0123456789abcdefghijklmnopqrstuvwxyz".as_slice();
    let mut writer = bucket.writer("some/where.txt").unwrap();
    for piece in text.chunks(7) {
        writer.write(piece).await.unwrap();
    }
    assert!(matches!(bucket.look_at("some/where.txt", None).await, Err(ObjectError::NotFound(_))));
    assert_eq!(writer.finish().await.unwrap(), 36);
    assert_eq!(whole(bucket, "some/where.txt").await.unwrap(), text);

    let mut small = bucket.writer("some/small.txt").unwrap();
    small.write(b"tiny").await.unwrap();
    assert_eq!(small.finish().await.unwrap(), 4);
    assert_eq!(whole(bucket, "some/small.txt").await.unwrap(), b"tiny");
    bucket.put("some/empty.txt", "").await.unwrap();
    assert_eq!(whole(bucket, "some/empty.txt").await.unwrap(), b"");
    let (bytes, _) = bucket.read_whole("some/where.txt", 36).await.unwrap();
    assert_eq!(bytes, text);
    let error = bucket.read_whole("some/where.txt", 35).await.unwrap_err().to_string();
    assert_eq!(error, "s3://files/some/where.txt has 36 bytes, allowed are 35");

    let error = whole(bucket, "none").await.unwrap_err();
    assert_eq!(error, ObjectError::NotFound("s3://files/none is not there".to_owned()));
    let error = bucket.put("../out", "x").await.unwrap_err().to_string();
    assert!(error.starts_with("`../out` cannot be a key"), "{error}");

    let version = bucket.look_at("some/where.txt", None).await.unwrap();
    bucket.put("some/where.txt", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ!").await.unwrap();
    let error = bucket.read("some/where.txt", &version, 10).await.unwrap_err();
    assert!(matches!(error, ObjectError::Changed(_)), "{error}");
}

/// Keys in order, by prefix, page by page.
async fn a_listing(bucket: &Bucket) {
    for key in ["b/2", "a/10", "a/1", "a/9", "ab", "a/2/x", "c"] {
        bucket.put(key, key.to_owned()).await.unwrap();
    }
    let keys = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>();
    let (entries, more) = bucket.list("a/", None, 100).await.unwrap();
    assert!(!more);
    assert_eq!(entries[0].size, 3);
    assert!(entries[0].etag.is_some());
    assert_eq!(keys(entries), ["a/1", "a/10", "a/2/x", "a/9"]);
    let (entries, more) = bucket.list("a", None, 3).await.unwrap();
    assert!(more);
    assert_eq!(keys(entries), ["a/1", "a/10", "a/2/x"]);
    let (entries, more) = bucket.list("a", Some("a/2/x"), 3).await.unwrap();
    assert!(!more);
    assert_eq!(keys(entries), ["a/9", "ab"]);
    assert_eq!(keys(bucket.list("", None, 100).await.unwrap().0).len(), 7);
    assert_eq!(keys(bucket.list("none/", None, 100).await.unwrap().0).len(), 0);
}

#[tokio::test]
async fn folders() {
    let place = tempfile::tempdir().unwrap();
    a_bucket(&folder(&place)).await;
    let place = tempfile::tempdir().unwrap();
    a_listing(&folder(&place)).await;
    let gone = place.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let connect = connect();
    let place = BucketPlace::Path(gone.clone());
    connect.set_bucket(BucketSpec { name: "files".to_owned(), place }).unwrap();
    std::fs::remove_dir(&gone).unwrap();
    let error = connect.bucket("files").unwrap().look_at("x", None).await.unwrap_err();
    assert!(error.to_string().ends_with("of the bucket `files` is not there"), "{error}");
}

#[tokio::test]
async fn s3_service() {
    let service = ObjectService::start().await.unwrap();
    let bucket = s3(s3_spec(&service));
    a_bucket(&bucket).await;
    assert_eq!(service.open_uploads(), 0);
    let requests = service.requests();
    let has = |wanted: &str| requests.iter().any(|request| request.contains(wanted));
    assert!(has("GET /real/some/where.txt bytes=10-19"), "{requests:#?}");
    assert!(has("POST /real/some/where.txt?uploads"), "{requests:#?}");
    assert!(has("PUT /real/some/where.txt?partNumber=5"), "{requests:#?}");
    assert!(has("PUT /real/some/small.txt"), "{requests:#?}");

    let service = ObjectService::start().await.unwrap();
    service.set_page(2);
    a_listing(&s3(s3_spec(&service))).await;
    assert!(service.requests().iter().any(|request| request.contains("continuation-token=")));
}

#[tokio::test]
async fn s3_that_is_busy_is_asked_again() {
    let service = ObjectService::start().await.unwrap();
    service.put("real", "key", "text");
    service.fail(2);
    assert_eq!(whole(&s3(s3_spec(&service)), "key").await.unwrap(), b"text");
    assert!(service.requests().len() > 3);
}

#[tokio::test]
async fn keys_that_are_refused_show_nowhere() {
    let service = ObjectService::start().await.unwrap();
    service.put("real", "key", "text");
    let access_key = Some(Secret::from("WRONGKEY"));
    let bucket = s3(S3Spec { access_key, ..s3_spec(&service) });
    let error = whole(&bucket, "key").await.unwrap_err().to_string();
    assert!(error.starts_with("s3://files/key: "), "{error}");
    for secret in ["WRONGKEY", &service.secret_key] {
        assert!(!error.contains(secret) && !format!("{bucket:?}").contains(secret), "{error}");
    }
    let unsigned = S3Spec { access_key: None, secret_key: None, ..s3_spec(&service) };
    assert!(whole(&s3(unsigned), "key").await.is_err());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let check = |s3: S3Spec, pointer: &str, message: &str| {
        let place = BucketPlace::S3(Box::new(s3));
        let errors = BucketSpec { name: "b".to_owned(), place }.check().unwrap_err();
        assert_eq!((errors[0].pointer.as_str(), errors[0].message.as_str()), (pointer, message));
    };
    check(
        S3Spec { endpoint: Some("minio:9000".to_owned()), ..S3Spec::default() },
        "/s3/endpoint",
        "the endpoint must begin with http:// or https://",
    );
    check(
        S3Spec { access_key: Some(Secret::from("k")), ..S3Spec::default() },
        "/s3",
        "`access_key` and `secret_key` go together",
    );
}
