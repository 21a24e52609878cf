//! What AWS's SDK adds to the result of a call, so that workflows that look at it find it.

use serde_json::{Value, json};
use stepbus_asl::RunTask;
use stepbus_store::ExecutionRow;

use super::tasks::identity;
use crate::engine::Engine;

/// The result with the metadata of a call that went well. The request's id follows from the
/// execution and the state visit, so a call that is made again has the same.
pub(super) fn result(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
    mut result: Value,
) -> Value {
    let request = request_id(engine, row, task);
    result["SdkHttpMetadata"] = json!({
        "AllHttpHeaders": { "x-amzn-RequestId": [request] },
        "HttpHeaders": { "x-amzn-RequestId": request },
        "HttpStatusCode": 200,
    });
    result["SdkResponseMetadata"] = json!({ "RequestId": request });
    result
}

pub(super) fn request_id(engine: &Engine, row: &ExecutionRow, task: &RunTask) -> String {
    let (identity, id) = (identity(row), task.task);
    engine
        .derived_name(format_args!("request {identity}/{}/{}", id.visit.0, id.attempt))
        .to_string()
}
