//! The Resource of a Task: an ARN with its integration pattern.

use std::sync::Arc;

use super::model::{Service, Task};
use crate::diagnostic::{At, INVALID_RESOURCE, Problems};
use crate::io::{Integration, WorkflowType};

const PATTERNS: &[(&str, Integration)] = &[
    (".waitForTaskToken", Integration::WaitForTaskToken),
    (".sync:2", Integration::Sync2),
    (".sync", Integration::Sync),
];

/// A Task with only what its Resource says.
pub(super) fn parse(
    text: &str,
    at: &At,
    workflow_type: WorkflowType,
    problems: &mut Problems<'_>,
) -> Option<Task> {
    let parts: Vec<&str> = text.splitn(7, ':').collect();
    let [arn, _partition, service, _region, account, rest @ ..] = parts.as_slice() else {
        return refuse(text, at, problems);
    };
    if *arn != "arn" || rest.is_empty() {
        return refuse(text, at, problems);
    }
    let plain = |service| Task {
        resource_text: text.to_owned(),
        resource: Arc::from(text),
        integration: Integration::RequestResponse,
        service,
        timeout: None,
        heartbeat: None,
        credentials: None,
    };
    if *service == "lambda" && rest[0] == "function" {
        return Some(plain(Service::LambdaFunction));
    }
    if *service != "states" {
        return refuse(text, at, problems);
    }
    if rest[0] == "activity" {
        if workflow_type == WorkflowType::Express {
            let message = "Express state machine does not support activity resources";
            problems.schema(at, message);
        }
        return Some(plain(Service::Activity));
    }
    if !account.is_empty() || rest.len() < 2 {
        return refuse(text, at, problems);
    }
    let (stem, suffix, integration) = split_pattern(text);
    if workflow_type == WorkflowType::Express && integration != Integration::RequestResponse {
        let shown = if integration == Integration::WaitForTaskToken { suffix } else { ".sync" };
        // AWS leaves a space at the end of one of the two.
        let end = if integration == Integration::WaitForTaskToken { " " } else { "" };
        let message =
            format!("Express state machine does not support '{shown}' service integration{end}");
        problems
            .schema(at, message)
            .hint("make the workflow STANDARD, or call without waiting for the result");
    }
    let resource_type = rest[0];
    let resource = text.rsplit_once(&format!(":{resource_type}:")).map_or("", |(_, api)| api);
    Some(Task {
        resource: Arc::from(stem),
        integration,
        ..plain(Service::Integrated {
            resource_type: resource_type.to_owned(),
            resource: resource.to_owned(),
        })
    })
}

fn split_pattern(text: &str) -> (&str, &'static str, Integration) {
    PATTERNS
        .iter()
        .find_map(|(suffix, pattern)| {
            text.strip_suffix(suffix).map(|stem| (stem, *suffix, *pattern))
        })
        .unwrap_or((text, "", Integration::RequestResponse))
}

fn refuse(text: &str, at: &At, problems: &mut Problems<'_>) -> Option<Task> {
    problems
        .error(INVALID_RESOURCE, at, format!("Resource is not a valid ARN: {text}"))
        .hint("as `arn:aws:states:::http:invoke` or the ARN of a function or an activity");
    None
}
