//! ARNs: built for the wire and the context object; a plain name works wherever an ARN does.

/// The account every local ARN carries.
pub const ACCOUNT: &str = "000000000000";
/// The region every local ARN carries.
pub const REGION: &str = "local";

#[must_use]
pub fn state_machine(name: &str) -> String {
    format!("arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}")
}

#[must_use]
pub fn execution(workflow: &str, name: &str) -> String {
    format!("arn:aws:states:{REGION}:{ACCOUNT}:execution:{workflow}:{name}")
}

#[must_use]
pub fn event_bus(name: &str) -> String {
    format!("arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{name}")
}

/// A rule as EventBridge names it: the bus is left out when it is `default`.
#[must_use]
pub fn rule(bus: &str, name: &str) -> String {
    match bus {
        "default" => format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"),
        bus => format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{bus}/{name}"),
    }
}

#[must_use]
pub fn api_destination(name: &str) -> String {
    format!("arn:aws:events:{REGION}:{ACCOUNT}:api-destination/{name}")
}

#[must_use]
pub fn function(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

#[must_use]
pub fn schedule(name: &str) -> String {
    format!("arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/{name}")
}

#[must_use]
pub fn queue(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

#[must_use]
pub fn mail_identity(address: &str) -> String {
    format!("arn:aws:ses:{REGION}:{ACCOUNT}:identity/{address}")
}

#[must_use]
pub fn log_group(name: &str) -> String {
    format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}")
}

#[must_use]
pub fn activity(name: &str) -> String {
    format!("arn:aws:states:{REGION}:{ACCOUNT}:activity:{name}")
}

/// The name at the end of an ARN, or the text itself when it is no ARN.
#[must_use]
pub fn name_of(arn_or_name: &str) -> &str {
    if !arn_or_name.starts_with("arn:") {
        return arn_or_name;
    }
    arn_or_name.rsplit([':', '/']).next().unwrap_or(arn_or_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_an_arn() {
        assert_eq!(name_of("catalog"), "catalog");
        assert_eq!(name_of(&event_bus("catalog")), "catalog");
        assert_eq!(name_of(&state_machine("fetch-products")), "fetch-products");
        assert_eq!(rule("default", "r"), "arn:aws:events:local:000000000000:rule/r");
    }
}
