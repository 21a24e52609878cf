//! Definitions with one thing broken: never a panic, and whatever is refused is refused at a place
//! that the text has.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stepbus_asl::{Program, Severity, WorkflowType, validate};
use stepbus_document::Document;

const DEFINITIONS: [&str; 3] = [
    r#"{"QueryLanguage":"JSONata","StartAt":"Get","TimeoutSeconds":60,"States":{
        "Get":{"Type":"Task","Resource":"arn:aws:states:::http:invoke","Arguments":{"id":"{% $states.input.id %}"},
            "Assign":{"n":"{% $states.result.n %}"},"Output":"{% $states.result %}","TimeoutSeconds":5,"HeartbeatSeconds":2,
            "Retry":[{"ErrorEquals":["A","B"],"IntervalSeconds":2,"MaxAttempts":2,"BackoffRate":1.5,"MaxDelaySeconds":9,"JitterStrategy":"FULL"}],
            "Catch":[{"ErrorEquals":["States.ALL"],"Next":"Lost","Output":"{% $states.errorOutput %}","Assign":{"e":1}}],"Next":"Which"},
        "Which":{"Type":"Choice","Choices":[{"Condition":"{% $n > 1 %}","Next":"Each","Assign":{"many":true}}],"Default":"Rest","Output":1},
        "Each":{"Type":"Map","MaxConcurrency":3,"ItemSelector":{"v":"{% $states.context.Map.Item.Value %}"},
            "ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"EXPRESS"},"StartAt":"One","States":{"One":{"Type":"Pass","End":true}}},
            "ItemReader":{"Resource":"arn:aws:states:::s3:getObject","ReaderConfig":{"InputType":"CSV","CSVHeaderLocation":"FIRST_ROW","MaxItems":5},"Arguments":{"Bucket":"b","Key":"k"}},
            "ItemBatcher":{"MaxItemsPerBatch":2,"BatchInput":{"x":1}},"ResultWriter":{"Resource":"arn:aws:states:::s3:putObject","Arguments":{"Bucket":"b"}},
            "ToleratedFailurePercentage":5.5,"Label":"each","Next":"Rest"},
        "Rest":{"Type":"Wait","Seconds":"{% 1 + 1 %}","Next":"Until"},
        "Until":{"Type":"Wait","Timestamp":"2024-01-01T00:00:00Z","Next":"Done"},
        "Done":{"Type":"Succeed","Output":{"n":"{% $n %}"}},
        "Lost":{"Type":"Fail","Error":"{% 'E' & $n %}","Cause":"why"}}}"#,
    r#"{"Comment":"c","Version":"1.0","StartAt":"Make","States":{
        "Make":{"Type":"Pass","Parameters":{"a.$":"$.x[0].y","b.$":"States.Format('{}-{}', $.z, $$.Execution.Name)","c":{"d.$":"$.e"}},"ResultPath":"$.made","OutputPath":"$.made","Assign":{"v.$":"$.a"},"Next":"Which"},
        "Which":{"Type":"Choice","InputPath":"$","Choices":[
            {"And":[{"Variable":"$.a","IsPresent":true},{"Not":{"Variable":"$.a","StringMatches":"x*\\*"}}],"Next":"Both"},
            {"Or":[{"Variable":"$.n","NumericGreaterThanEqualsPath":"$.m"},{"Variable":"$v","TimestampEquals":"2024-01-01T00:00:00Z"}],"Next":"Each"}],"Default":"Both"},
        "Both":{"Type":"Parallel","Branches":[
            {"StartAt":"L","States":{"L":{"Type":"Wait","SecondsPath":"$.s","End":true}}},
            {"StartAt":"R","States":{"R":{"Type":"Task","Resource":"arn:aws:states:us-east-1:1:activity:a","HeartbeatSecondsPath":"$.h","TimeoutSecondsPath":"$.t","Credentials":{"RoleArn":"arn:aws:iam::1:role/r"},"End":true}}}],
            "ResultSelector":{"l.$":"$[0]"},"ResultPath":null,"Next":"Each"},
        "Each":{"Type":"Map","ItemsPath":"$.items","MaxConcurrencyPath":"$.most","ItemSelector":{"i.$":"$$.Map.Item.Index"},
            "Iterator":{"StartAt":"I","States":{"I":{"Type":"Pass","Result":{"r":[1,2]},"End":true}}},
            "Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.error","Next":"No"}],"Next":"Call"},
        "Call":{"Type":"Task","Resource":"arn:aws:states:::states:startExecution.sync:2","Parameters":{"Input.$":"$"},"End":true},
        "No":{"Type":"Fail","ErrorPath":"$.error.Error","CausePath":"States.JsonToString($.error)"}}}"#,
    r#"{"StartAt":"A","States":{"A":{"Type":"Pass","QueryLanguage":"JSONata","Output":{"deep":[{"x":"{% $uuid() %}"}]},"Next":"B"},"B":{"Type":"Succeed","InputPath":null,"OutputPath":null}}}"#,
];

/// Every container and leaf, by pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(member, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Breaks one thing of `value`: which, and how, is up to chance.
fn broken(mut value: Value, place: usize, how: u8, text: &str) -> Value {
    let mut places = Vec::new();
    pointers(&value, "", &mut places);
    let pointer = places[place % places.len()].clone();
    let replacement = match how % 12 {
        0 => json!(null),
        1 => json!(-1),
        2 => json!(1.5),
        3 => json!([]),
        4 => json!({}),
        5 => json!(text),
        6 => json!(format!("{{% {text} %}}")),
        7 => json!(format!("$.{text}")),
        8 => json!(u64::MAX),
        9 => {
            // A member gets another name.
            if let Some(Value::Object(members)) = value.pointer_mut(&pointer)
                && let Some(name) = members.keys().nth(place % members.len().max(1)).cloned()
            {
                let member = members.remove(&name).unwrap_or_default();
                members.insert(format!("{name}{text}"), member);
            }
            return value;
        }
        10 => {
            if let Some(Value::Object(members)) = value.pointer_mut(&pointer) {
                let name = members.keys().nth(place % members.len().max(1)).cloned();
                name.and_then(|name| members.remove(&name));
            }
            return value;
        }
        _ => {
            if let Some(Value::Object(members)) = value.pointer_mut(&pointer) {
                members.insert(text.to_owned(), json!({ "Type": "Pass" }));
            }
            return value;
        }
    };
    if let Some(there) = value.pointer_mut(&pointer) {
        *there = replacement;
    }
    if !value.is_object() { Value::Object(Map::new()) } else { value }
}

#[test]
fn unbroken_ones_are_fine() {
    for text in DEFINITIONS {
        let found = validate(text, WorkflowType::Standard);
        assert!(found.is_empty(), "{found:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_refused_has_a_place(
        which in 0..DEFINITIONS.len(),
        mutations in prop::collection::vec((any::<usize>(), any::<u8>(), "[a-zA-Z$({%'.\\[ é]{0,6}"), 1..3),
        pretty in any::<bool>(),
    ) {
        let mut value: Value = serde_json::from_str(DEFINITIONS[which]).unwrap();
        for (place, how, text) in &mutations {
            value = broken(value, *place, *how, text);
        }
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        let lines: Vec<&str> = text.lines().collect();
        let found = validate(&text, WorkflowType::Standard);
        for problem in &found {
            let position = problem.position.expect("every problem has a place");
            let line = lines.get(position.line as usize - 1).expect("a line of the text");
            prop_assert!(position.column >= 1);
            prop_assert!(position.column as usize <= line.chars().count() + 1, "{problem}");
            prop_assert!(!problem.message.is_empty());
        }
        let refused = found.iter().any(|problem| problem.severity == Severity::Error);
        let document = Document::parse(&text).unwrap();
        prop_assert_eq!(Program::parse(&document, WorkflowType::Standard).is_err(), refused);
    }
}
