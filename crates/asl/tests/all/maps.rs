use serde_json::json;
use stepbus_asl::MapSource;

use crate::support::check;

const MAP: &str = r#"
QueryLanguage: JSONata
StartAt: Set
States:
  Set: { Type: Pass, Assign: { rate: 3 }, Next: Each }
  Each:
    Type: Map
    Items: "{% $states.input.ids %}"
    MaxConcurrency: 50
    Label: products
    ToleratedFailurePercentage: 40
    ItemSelector: { id: "{% $states.context.Map.Item.Value %}", rate: "{% $rate %}" }
    ItemBatcher: { MaxItemsPerBatch: 1 }
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: EXPRESS }
      StartAt: Get
      States:
        Get:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments: "{% $states.input %}"
          Output: "{% $states.result.id * $states.result.rate %}"
          End: true
    End: true
"#;

#[test]
fn a_map_run_is_described_as_data() {
    let ran = check(MAP, json!({"ids": [1, 2, 3]}), json!({}), json!([3, 6, 9]));
    let spec = &ran.map_runs[0];
    assert_eq!(spec.state_path, "/States/Each");
    assert_eq!(spec.label, "products");
    assert!(spec.map_run_arn.starts_with("arn:aws:states:local:000000000000:mapRun:m/products:"));
    assert_eq!((spec.max_concurrency, spec.tolerated_failure_percentage), (50, Some(40.0)));
    assert_eq!(spec.batcher.as_ref().map(|batcher| batcher.max_items_per_batch), Some(1));
    let text = serde_json::to_string(spec).unwrap();
    assert_eq!(serde_json::from_str::<stepbus_asl::MapRunSpec>(&text).unwrap(), *spec);
}

#[test]
fn failures_are_tolerated_up_to_the_threshold() {
    let down = json!({"error": "Down"});
    let one = json!({"id": 5, "rate": 1});
    check(MAP, json!({"ids": [1, 2, 3]}), json!({"Get": [down, one]}), json!([5, 5]));
    check(
        MAP,
        json!({"ids": [1, 2, 3]}),
        json!({"Get": [down, down, one]}),
        json!({
            "status": "FAILED",
            "error": "States.ExceedToleratedFailureThreshold",
            "cause": "The specified tolerated failure threshold was exceeded",
        }),
    );
}

#[test]
fn a_reader_is_handed_on_evaluated() {
    let ran = check(
        r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    ItemReader:
      Resource: arn:aws:states:::s3:getObject
      ReaderConfig: { InputType: CSV, CSVHeaderLocation: FIRST_ROW, MaxItems: "{% $states.input.most %}" }
      Arguments: { Bucket: b, Key: "{% $states.input.key %}" }
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED }
      StartAt: P
      States: { P: { Type: Pass, End: true } }
    Catch: [{ ErrorEquals: [States.ItemReaderFailed], Next: Caught }]
    End: true
  Caught: { Type: Succeed, Output: caught }
"#,
        json!({"most": 9, "key": "k.csv"}),
        json!({}),
        json!("caught"),
    );
    let MapSource::Reader(reader) = &ran.map_runs[0].source else { panic!("a reader") };
    assert_eq!(reader.arguments, json!({"Bucket": "b", "Key": "k.csv"}));
    let config = json!({"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW", "MaxItems": 9});
    assert_eq!(reader.config, config);
}
