//! What a definition's states refer to: resources that are offered, and things by their names.

use serde_json::{Map, Value};
use stepbus_document::join;
use stepbus_items::ReaderConfig;
use stepbus_model::arn;
use stepbus_runtime::{
    ITEM_PAGES, Offer, connection_name, function_name, is_function, not_offered, offered,
    queue_name, tasks_may_call,
};

use super::Reader;
use super::problem::{Problem, suggest};
use super::shape::Section;
use super::workflows::{Definition, next_reference};

/// Where events go that name no bus.
const DEFAULT_BUS: &str = "default";

/// Arguments of lambda:invoke that have one value here, and what to do instead.
const LAMBDA: [(&str, &str, &str); 2] = [
    ("Qualifier", "$LATEST", "there is one version of a function: leave it out"),
    (
        "InvocationType",
        "RequestResponse",
        "to call without waiting for the answer, publish an event to a subscription or start a workflow",
    ),
];

impl Reader<'_> {
    /// Notes what a definition refers to and what is not there. What is computed when a state
    /// runs is not looked at.
    pub(super) fn references(&mut self, value: &Value, at: &str, definition: &Definition) {
        match value {
            Value::Object(members) => {
                if let Some(resource) = members.get("Resource").and_then(Value::as_str) {
                    self.resource(resource, value, at, definition);
                }
                for (key, member) in members {
                    self.references(member, &join(at, key), definition);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.references(item, &join(at, index), definition);
                }
            }
            _ => {}
        }
    }

    fn resource(&mut self, resource: &str, state: &Value, at: &str, definition: &Definition) {
        let task = state.get("Type").is_some_and(|kind| kind == "Task");
        if task {
            self.offered(resource, &join(at, "Resource"), definition);
        }
        self.reader_config(state, at, definition);
        for field in ["Arguments", "Parameters"] {
            let Some(Value::Object(arguments)) = state.get(field) else { continue };
            let at = join(at, field);
            if let Some(offer) = offered(resource).filter(|_| task) {
                self.argument_names(offer, arguments, &at, definition);
            }
            self.named(resource, arguments, &at, definition);
        }
    }

    fn offered(&mut self, resource: &str, at: &str, definition: &Definition) {
        if is_function(resource) {
            self.known(Section::Functions, function_name(resource), at, definition);
            return;
        }
        let location = format!("{}{at}", definition.prefix);
        // What is no ARN has been told.
        if self.problems.any_within(&definition.source, &location) {
            return;
        }
        if not_offered(resource).is_some() {
            let short = |resource: &str| {
                resource.rsplit_once(":::").map_or(resource, |(_, short)| short).to_owned()
            };
            let known: Vec<String> = tasks_may_call().iter().map(|known| short(known)).collect();
            let hint = suggest(&short(resource), known.iter().map(String::as_str));
            self.told(at, definition, format!("the resource {resource} is not offered here"))
                .hint(hint);
        }
    }

    /// AWS refuses arguments that a service does not take, and the lack of some.
    fn argument_names(
        &mut self,
        offer: &Offer,
        arguments: &Map<String, Value>,
        at: &str,
        definition: &Definition,
    ) {
        let plain = |name: &str| name.strip_suffix(".$").unwrap_or(name).to_owned();
        let mut meant = Vec::new();
        for name in arguments.keys() {
            if !offer.arguments.contains(&plain(name).as_str()) {
                let hint = suggest(&plain(name), offer.arguments.iter().copied());
                let message = format!("{} takes no `{}`", offer.name(), plain(name));
                let location = join(at, name);
                let position = definition.document.position(&location);
                let location = format!("{}{location}", definition.prefix);
                meant.push(hint.clone());
                self.problems.error(&definition.source, position, &location, message).hint(hint);
            }
        }
        for required in offer.required {
            let mistyped = meant.iter().any(|hint| hint.contains(&format!("mean `{required}`")));
            if !mistyped && !arguments.keys().any(|name| plain(name) == *required) {
                self.told(at, definition, format!("{} needs `{required}`", offer.name()));
            }
        }
    }

    /// Things that arguments name outright.
    fn named(
        &mut self,
        resource: &str,
        arguments: &Map<String, Value>,
        at: &str,
        definition: &Definition,
    ) {
        let literal = |name: &str| arguments.get(name).and_then(outright);
        if resource.contains(":::s3:") {
            if let Some(bucket) = literal("Bucket") {
                self.known(Section::Buckets, arn::name_of(bucket), &join(at, "Bucket"), definition);
            }
        } else if resource.contains(":http:invoke") || resource == ITEM_PAGES {
            for member in ["Authentication", "InvocationConfig"] {
                let given = arguments.get(member).and_then(|value| value.get("ConnectionArn"));
                let Some(given) = given.and_then(outright) else { continue };
                let at = format!("{at}/{member}/ConnectionArn");
                self.known(Section::Connections, connection_name(given), &at, definition);
            }
        } else if resource.contains(":events:putEvents") {
            self.buses_of(arguments.get("Entries"), &join(at, "Entries"), definition);
        } else if resource.contains(":sqs:sendMessage") {
            if let Some(queue) = literal("QueueUrl") {
                self.known(Section::Queues, queue_name(queue), &join(at, "QueueUrl"), definition);
            }
        } else if resource.contains(":states:startExecution") {
            if let Some(machine) = literal("StateMachineArn") {
                let at = join(at, "StateMachineArn");
                self.known(Section::Workflows, arn::name_of(machine), &at, definition);
            }
        } else if resource.contains(":lambda:invoke") {
            if let Some(function) = literal("FunctionName") {
                let at = join(at, "FunctionName");
                self.known(Section::Functions, function_name(function), &at, definition);
            }
            for (name, offered, hint) in LAMBDA {
                if let Some(given) = literal(name).filter(|given| *given != offered) {
                    let message = format!("lambda:invoke does not offer the {name} `{given}`");
                    self.told(&join(at, name), definition, message).hint(hint);
                }
            }
        }
    }

    fn buses_of(&mut self, entries: Option<&Value>, at: &str, definition: &Definition) {
        let entries = entries.and_then(Value::as_array);
        for (index, entry) in entries.into_iter().flatten().enumerate() {
            let Value::Object(members) = entry else { continue };
            let at = join(at, index);
            match members.get("EventBusName") {
                Some(named) => {
                    if let Some(bus) = outright(named) {
                        let at = join(&at, "EventBusName");
                        self.known(Section::Buses, arn::name_of(bus), &at, definition);
                    }
                }
                None if members.contains_key("EventBusName.$") => {}
                None if self.has(Section::Buses, DEFAULT_BUS) => {}
                None => {
                    let message =
                        format!("the entry names no bus, and no bus is named `{DEFAULT_BUS}`");
                    self.told(&at, definition, message).hint("add `EventBusName`");
                }
            }
        }
    }

    /// Says what is wrong with an ItemReader before a run does, as far as nothing is computed.
    fn reader_config(&mut self, reader: &Value, at: &str, definition: &Definition) {
        let Some(config @ Value::Object(members)) = reader.get("ReaderConfig") else { return };
        let computed = |(name, value): (&String, &Value)| {
            name.ends_with("Path") || value.as_str().is_some_and(|text| text.starts_with("{%"))
        };
        let pointer = format!("{at}/ReaderConfig");
        let location = format!("{}{pointer}", definition.prefix);
        let noted = self.problems.any_within(&definition.source, &location);
        if noted || members.iter().any(computed) {
            return;
        }
        if let Err(fault) = ReaderConfig::parse(config, &self.limits) {
            let position = definition.document.position(&pointer);
            self.problems.error(&definition.source, position, &location, fault.to_string());
        }
    }

    fn has(&self, section: Section, name: &str) -> bool {
        self.names(section).contains(&name)
    }

    /// The names there are in a section; queues may be declared by use.
    fn names(&self, section: Section) -> Vec<&str> {
        let members = self.section(section.name());
        if section == Section::Queues && members.is_none() {
            return self.used_queues.iter().map(String::as_str).collect();
        }
        members.into_iter().flat_map(Map::keys).map(String::as_str).collect()
    }

    fn known(&mut self, section: Section, name: &str, pointer: &str, definition: &Definition) {
        if self.has(section, name) {
            return;
        }
        let hint = suggest(name, self.names(section));
        let message = format!("no {} is named `{name}`", section.kind());
        self.told(pointer, definition, message).hint(hint);
    }

    fn told(&mut self, pointer: &str, definition: &Definition, message: String) -> &mut Problem {
        let position = definition.document.value_position(pointer);
        let location = format!("{}{pointer}", definition.prefix);
        self.problems.error(&definition.source, position, &location, message)
    }
}

/// A text that is no expression, and in which nothing is left to be filled in.
fn outright(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.starts_with("{%") && next_reference(text).is_none())
}
