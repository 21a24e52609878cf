//! Find, then create or update, so that one thing here stays one thing there.

use serde_json::Value;
use stepbus_expr::Jsonata;

use crate::attempt::{Attempt, Refusal, Refused};
use crate::client::Answer;
use crate::destination::CompiledUpsert;
use crate::outcome::{Seen, body};
use crate::template::encode;

/// The remote id as it is known now, and how the attempt ended.
type End = (Option<String>, Result<Answer, Refused>);

enum Update {
    Ended(Result<Answer, Refused>),
    /// There is nothing of that id.
    Missing(Refused),
}

pub(crate) async fn run(attempt: &mut Attempt<'_>, upsert: &CompiledUpsert) -> End {
    if let Some(id) = attempt.request.remote_id.clone()
        && let Update::Ended(end) = update(attempt, upsert, &id).await
    {
        return (Some(id), end);
    }
    match find(attempt, upsert).await {
        Ok(Some(id)) => update_found(attempt, upsert, id).await,
        Ok(None) => create(attempt, upsert).await,
        Err(refused) => (None, Err(refused)),
    }
}

async fn create(attempt: &mut Attempt<'_>, upsert: &CompiledUpsert) -> End {
    let refused = match attempt.step(&upsert.create, Some("-create"), None).await {
        Ok(answer) => return (created_id(attempt, upsert, &answer), Ok(answer)),
        Err(refused) => refused,
    };
    if refused.kind != Refusal::Permanent {
        return (None, Err(refused));
    }
    // Somebody else may have made it meanwhile, or this call did and was answered with an error.
    match find(attempt, upsert).await {
        Ok(Some(id)) => update_found(attempt, upsert, id).await,
        Err(again) if again.kind != Refusal::Permanent => (None, Err(again)),
        Ok(None) | Err(_) => (None, Err(refused)),
    }
}

async fn update_found(attempt: &mut Attempt<'_>, upsert: &CompiledUpsert, id: String) -> End {
    match update(attempt, upsert, &id).await {
        Update::Ended(end) => (Some(id), end),
        // Found and gone in one attempt: the next one looks again.
        Update::Missing(refused) => {
            (None, Err(Refused { kind: Refusal::Retryable(None), ..refused }))
        }
    }
}

async fn update(attempt: &mut Attempt<'_>, upsert: &CompiledUpsert, id: &str) -> Update {
    let suffix = format!("-update-{}", encode(id));
    match attempt.step(&upsert.update, Some(&suffix), Some(id)).await {
        Err(refused) if is_missing(attempt, upsert, &refused, &[404, 410]) => {
            Update::Missing(refused)
        }
        end => Update::Ended(end),
    }
}

/// `None` when there is no such thing; a lookup that failed is never taken for that.
async fn find(
    attempt: &mut Attempt<'_>,
    upsert: &CompiledUpsert,
) -> Result<Option<String>, Refused> {
    // Without a key, also where a lookup is a POST: what was not there a moment ago may be now.
    let answer = match attempt.step(&upsert.find, None, None).await {
        Ok(answer) => answer,
        Err(refused) if is_missing(attempt, upsert, &refused, &[]) => return Ok(None),
        Err(refused) => return Err(with_hint(upsert, refused)),
    };
    let seen = Seen::new(&answer, attempt.env());
    let missing = upsert.missing.as_ref().map_or(Ok(false), |rule| seen.is_true(rule));
    let found = match missing {
        Ok(true) => return Ok(None),
        Ok(false) => id_of(&upsert.id, &seen),
        Err(problem) => Err(problem),
    };
    let readable = answer.status == http::StatusCode::NO_CONTENT || !body(&answer).is_string();
    match found {
        Ok(Some(id)) => Ok(Some(id)),
        Ok(None) if readable => Ok(None),
        Ok(None) => {
            let note = "the answer to find is no JSON, which does not say that there is nothing";
            Err(attempt.refuse(answer, Refusal::Retryable(None), note))
        }
        Err(problem) => {
            let note = format!("the remote id cannot be taken from the answer to find: {problem}");
            Err(attempt.refuse(answer, Refusal::Permanent, &note))
        }
    }
}

/// Without an id in the answer the thing is there all the same; the next delivery finds it.
fn created_id(attempt: &Attempt<'_>, upsert: &CompiledUpsert, answer: &Answer) -> Option<String> {
    let seen = Seen::new(answer, attempt.env());
    let expression = upsert.create_id.as_ref().unwrap_or(&upsert.id);
    if let Ok(Some(id)) = id_of(expression, &seen) {
        return Some(id);
    }
    match body(answer).get("id")? {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

fn id_of(expression: &Jsonata, seen: &Seen<'_>) -> Result<Option<String>, String> {
    match seen.eval(expression)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if !id.is_empty() => Ok(Some(id)),
        Some(Value::Number(id)) => Ok(Some(id.to_string())),
        Some(Value::Array(ids)) if ids.is_empty() => Ok(None),
        Some(Value::Array(ids)) => Err(format!(
            "`{}` gives {} values; one thing must be found, or none",
            expression.source(),
            ids.len()
        )),
        Some(_) => Err(format!("`{}` gives no text or number", expression.source())),
    }
}

fn is_missing(
    attempt: &Attempt<'_>,
    upsert: &CompiledUpsert,
    refused: &Refused,
    statuses: &[u16],
) -> bool {
    let Some(answer) = refused.answer.as_ref().filter(|_| refused.kind == Refusal::Permanent)
    else {
        return false;
    };
    let rule = upsert.missing.as_ref();
    statuses.contains(&answer.status.as_u16())
        || rule.is_some_and(|rule| Seen::new(answer, attempt.env()).is_true(rule).unwrap_or(false))
}

fn with_hint(upsert: &CompiledUpsert, mut refused: Refused) -> Refused {
    let status = refused.answer.as_ref().map(|answer| answer.status.as_u16());
    if upsert.missing.is_none() && matches!(status, Some(404 | 410)) {
        let mut error = (*refused.error).clone();
        error.message.push_str(
            " (if that means that there is no such thing, add \
             `missing: \"{% $response.status = 404 %}\"` to the upsert)",
        );
        refused.error = error.into();
    }
    refused
}
