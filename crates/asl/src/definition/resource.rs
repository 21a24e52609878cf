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
    // `aws-sdk:s3:getObject` names its service in the second place.
    let (resource_type, resource) = match (rest[0], rest[1].split_once(':')) {
        ("aws-sdk", Some((service, api))) => (format!("aws-sdk:{service}"), api),
        (service, _) => (service.to_owned(), rest[1]),
    };
    Some(Task {
        resource: Arc::from(stem),
        integration,
        ..plain(Service::Integrated { resource_type, resource: resource.to_owned() })
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

#[cfg(test)]
mod tests {
    use stepbus_document::Document;

    use super::*;

    #[track_caller]
    fn check(text: &str, resource: &str, integration: Integration, kind: (&str, &str)) {
        let document = Document::parse("{}").unwrap();
        let mut problems = Problems::new(&document);
        let at = At::root();
        let task = parse(text, &at, WorkflowType::Standard, &mut problems).unwrap();
        assert_eq!((&*task.resource, task.integration), (resource, integration));
        let (resource_type, resource) = (kind.0.to_owned(), kind.1.to_owned());
        assert_eq!(task.service, Service::Integrated { resource_type, resource });
    }

    #[test]
    fn resources_and_their_patterns() {
        let (plain, token) = (Integration::RequestResponse, Integration::WaitForTaskToken);
        let arn = "arn:aws:states:::http:invoke";
        check(arn, arn, plain, ("http", "invoke"));
        check(
            "arn:aws:states:::states:startExecution.sync:2",
            "arn:aws:states:::states:startExecution",
            Integration::Sync2,
            ("states", "startExecution.sync:2"),
        );
        check(
            "arn:aws:states:::aws-sdk:s3:getObject.waitForTaskToken",
            "arn:aws:states:::aws-sdk:s3:getObject",
            token,
            ("aws-sdk:s3", "getObject.waitForTaskToken"),
        );
    }
}
