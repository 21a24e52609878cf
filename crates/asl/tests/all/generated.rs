//! Machines as chance has them: every type of state, in both languages, one inside another.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stepbus_asl::{Program, WorkflowType};
use stepbus_document::Document;

// Texts that a machine replaces once it knows its states' names.
/// The state that follows.
const NEXT: &str = "NEXT";
/// A Fail state of the same machine.
const FAIL: &str = "FAIL";
/// A variable of the same machine.
const VARIABLE: &str = "VARIABLE";
/// The machines within a state.
const MACHINES: &str = "MACHINES";

/// States one after the other, some with machines inside, `depth` of them one in another.
pub(crate) fn machine(depth: u32) -> BoxedStrategy<Vec<Value>> {
    let simple = prop_oneof![2 => pass(), 1 => wait(), 4 => task(), 1 => choice()].boxed();
    if depth == 0 {
        return prop::collection::vec(simple, 1..4).boxed();
    }
    let state = prop_oneof![
        4 => simple,
        1 => parallel(depth),
        1 => inline_map(depth),
        1 => distributed_map(depth),
    ];
    prop::collection::vec(state, 1..4).boxed()
}

fn jsonata(mut state: Value) -> Value {
    state["QueryLanguage"] = json!("JSONata");
    state
}

fn pass() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(jsonata(json!({
            "Type": "Pass", "Output": "{% {'n': $random(), 'in': $states.input, 'v': $VARIABLE} %}",
        }))),
        Just(jsonata(json!({
            "Type": "Pass", "Assign": {"VARIABLE": "{% [$uuid(), $now(), $VARIABLE[0]] %}"},
        }))),
        Just(json!({
            "Type": "Pass",
            "Parameters": {"r.$": "States.MathRandom(1, 1000)", "v.$": "$VARIABLE"},
            "ResultPath": "$.passed",
        })),
        Just(json!({"Type": "Pass", "Assign": {"VARIABLE.$": "States.UUID()"}})),
        Just(json!({"Type": "Pass", "Result": {"x": 5}, "OutputPath": "$.x"})),
    ]
}

fn wait() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0_u64..3).prop_map(|seconds| json!({"Type": "Wait", "Seconds": seconds})),
        Just(jsonata(json!({
            "Type": "Wait", "Seconds": "{% $floor($random() * 3) %}", "Output": "{% $now() %}",
        }))),
        Just(json!({"Type": "Wait", "TimestampPath": "$$.State.EnteredTime"})),
    ]
}

fn task() -> impl Strategy<Value = Value> {
    let resource = prop::sample::select(vec![
        "arn:aws:states:::http:invoke",
        "arn:aws:states:::http:invoke",
        "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "arn:aws:states:local:000000000000:activity:a",
    ]);
    let times = (0_u64..4, any::<bool>());
    let handled = (0_u64..3, any::<bool>());
    (any::<bool>(), resource, times, handled).prop_map(
        |(is_jsonata, resource, (timeout, beats), (retries, caught))| {
            let mut task = json!({"Type": "Task", "Resource": resource});
            if timeout > 0 {
                task["TimeoutSeconds"] = json!(timeout * 2);
            }
            if timeout > 1 && beats {
                task["HeartbeatSeconds"] = json!(timeout - 1);
            }
            if retries > 0 {
                task["Retry"] = json!([
                    {"ErrorEquals": ["States.Timeout"], "MaxAttempts": 1, "IntervalSeconds": 1},
                    {"ErrorEquals": ["States.ALL"], "MaxAttempts": retries, "JitterStrategy": "FULL", "MaxDelaySeconds": 3},
                ]);
            }
            if is_jsonata {
                task["Arguments"] = json!({"in": "{% $states.input %}", "r": "{% $random() %}", "v": "{% $VARIABLE %}"});
                task["Output"] = json!("{% $states.result %}");
                task["Assign"] = json!({"VARIABLE": "{% [$states.result, $VARIABLE][0] %}"});
            } else {
                task["Parameters"] = json!({"in.$": "$", "name.$": "$$.State.Name", "u.$": "States.UUID()"});
                task["ResultSelector"] = json!({"got.$": "$"});
            }
            if caught {
                task["Catch"] = caught_by(is_jsonata);
            }
            if is_jsonata { jsonata(task) } else { task }
        },
    )
}

fn caught_by(is_jsonata: bool) -> Value {
    if is_jsonata {
        json!([{"ErrorEquals": ["States.ALL"], "Next": NEXT, "Output": "{% $states.errorOutput %}", "Assign": {"VARIABLE": "{% $states.errorOutput.Error %}"}}])
    } else {
        json!([{"ErrorEquals": ["Down", "States.Timeout"], "Next": NEXT}])
    }
}

fn choice() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(jsonata(json!({
            "Type": "Choice", "Default": NEXT,
            "Choices": [{"Condition": "{% $random() > 0.9 %}", "Next": FAIL, "Assign": {"VARIABLE": 0}}],
        }))),
        Just(json!({
            "Type": "Choice", "Default": NEXT,
            "Choices": [
                {"And": [{"Variable": "$.got", "IsPresent": true}, {"Variable": "$.got.choice", "IsPresent": true}, {"Variable": "$.got.choice", "NumericGreaterThan": 200}], "Next": FAIL},
                {"Variable": "$VARIABLE", "IsString": true, "Next": NEXT},
            ],
        })),
    ]
}

fn parallel(depth: u32) -> impl Strategy<Value = Value> {
    let branches = prop::collection::vec(machine(depth - 1), 1..3);
    (branches, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(branches, caught, retried, is_jsonata)| {
            let mut state = json!({"Type": "Parallel", "MACHINES": branches});
            if caught {
                state["Catch"] = json!([{"ErrorEquals": ["States.ALL"], "Next": NEXT}]);
            }
            if retried {
                state["Retry"] = json!([{"ErrorEquals": ["Down", "Boom"], "MaxAttempts": 1}]);
            }
            if is_jsonata { jsonata(state) } else { state }
        },
    )
}

fn inline_map(depth: u32) -> impl Strategy<Value = Value> {
    (machine(depth - 1), 0_usize..4, 0_u64..3, any::<bool>()).prop_map(
        |(inner, items, most, is_jsonata)| {
            let items: Vec<usize> = (0..items).collect();
            if is_jsonata {
                return jsonata(json!({
                    "Type": "Map", "Items": items, "MaxConcurrency": most, "MACHINES": [inner],
                    "ItemSelector": {"i": "{% $states.context.Map.Item.Index %}", "r": "{% $random() %}"},
                }));
            }
            json!({
                "Type": "Map", "ItemsPath": "$$.Execution.Input.items", "MaxConcurrency": most,
                "ItemSelector": {"i.$": "$$.Map.Item.Value", "u.$": "States.UUID()"},
                "ResultPath": "$.mapped", "MACHINES": [inner],
            })
        },
    )
}

fn distributed_map(depth: u32) -> impl Strategy<Value = Value> {
    (machine(depth - 1), any::<bool>()).prop_map(|(inner, caught)| {
        let mut state = json!({
            "Type": "Map", "Items": "{% [$random(), $VARIABLE] %}", "MACHINES": [inner],
            "DISTRIBUTED": true,
        });
        if caught {
            state["Catch"] = caught_by(true);
        }
        jsonata(state)
    })
}

/// Names the states and joins them.
fn joined(states: Vec<Value>, names: &mut u32) -> Value {
    let first = *names;
    *names += u32::try_from(states.len()).unwrap();
    let last = first + u32::try_from(states.len()).unwrap() - 1;
    let (begin, end, failed) = (format!("B{first}"), format!("E{first}"), format!("F{first}"));
    let mut object = Map::new();
    let variable = format!("v{first}");
    let assigned = json!({variable.clone() + ".$": "States.Array(States.UUID())"});
    object.insert(
        begin.clone(),
        json!({"Type": "Pass", "Assign": assigned, "Next": format!("S{first}")}),
    );
    let mut fails = false;
    for (id, mut state) in (first..).zip(states) {
        let next = if id == last { end.clone() } else { format!("S{}", id + 1) };
        let machines = state.as_object_mut().unwrap().remove(MACHINES);
        let distributed = state.as_object_mut().unwrap().remove("DISTRIBUTED").is_some();
        let text = state.to_string();
        fails |= text.contains(FAIL);
        let text = text.replace(&format!("\"{NEXT}\""), &format!("\"{next}\""));
        let text = text.replace(FAIL, &failed).replace(VARIABLE, &variable);
        state = serde_json::from_str(&text).unwrap();
        if let Some(machines) = machines {
            let machines: Vec<Vec<Value>> = serde_json::from_value(machines).unwrap();
            let inner: Vec<Value> = machines.into_iter().map(|m| joined(m, names)).collect();
            if state["Type"] == "Map" {
                state["ItemProcessor"] = inner.into_iter().next().unwrap();
            } else {
                state["Branches"] = Value::Array(inner);
            }
        }
        if distributed {
            let config = json!({"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"});
            state["ItemProcessor"]["ProcessorConfig"] = config;
        }
        if state["Type"] != "Choice" {
            state["Next"] = json!(next);
        }
        object.insert(format!("S{id}"), state);
    }
    object.insert(end, json!({"Type": "Succeed"}));
    if fails {
        object
            .insert(failed, json!({"Type": "Fail", "Error": "Boom", "CausePath": "States.UUID()"}));
    }
    json!({"StartAt": begin, "States": object})
}

pub(crate) fn program(states: Vec<Value>) -> Program {
    let mut definition = joined(states, &mut 0);
    definition["TimeoutSeconds"] = json!(50);
    let document = Document::parse(&definition.to_string()).unwrap();
    Program::parse(&document, WorkflowType::Standard)
        .unwrap_or_else(|problems| panic!("{problems:#?}\n{definition:#}"))
}
