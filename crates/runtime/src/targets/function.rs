//! A function as a target. It is called as a destination is, with what Lambda's answers mean.

use std::time::Duration;

use stepbus_connect::{Action, CallSpec, DestinationSpec, OutcomeRules};

use crate::declared::FunctionSpec;

/// What Lambda's answer has when the function failed, whatever the status.
const THREW: &str = "$exists($response.headers.`x-amz-function-error`)";

/// The name of a function among the destinations; theirs have no colon.
pub(crate) fn destination_name(function: &str) -> String {
    format!("function:{function}")
}

/// The call of a function as a destination.
#[must_use]
pub fn function_destination(spec: &FunctionSpec) -> DestinationSpec {
    // The function's URL is no template.
    let url = spec.url.replace('{', "{{").replace('}', "}}");
    let call = CallSpec::new("POST", &url);
    DestinationSpec {
        name: destination_name(&spec.name),
        connection: spec.connection.clone(),
        action: Action::Call(call),
        rate: None,
        concurrency: None,
        timeout: spec.timeout_ms.map(Duration::from_millis),
        outcome: OutcomeRules {
            success: Some(format!("$not({THREW})")),
            // What a function throws may pass: Lambda tries an asynchronous call again as well.
            retryable: Some(format!("{THREW} or $exists($response.body.errorType)")),
            // Lambda's own answer about single records of a batch.
            items: Some("$response.body.batchItemFailures.$number(itemIdentifier)".to_owned()),
            ..OutcomeRules::default()
        },
    }
}
