//! What a state of a product sync costs: ten fields of an object of 1.5 KB, in microseconds.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use std::hint::black_box;

use serde_json::{Value, json};
use stepbus_expr::{Env, EvalLimits, Jsonata, PayloadTemplate, Roots, Scope, Template};
use stepbus_model::Timestamp;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ENV: Env = Env { now: Timestamp(1_700_000_000_000), seed: 1 };

fn product() -> Value {
    let names: Vec<Value> = ["en", "de", "fr", "it"]
        .iter()
        .map(|lang| json!({"lang": lang, "text": format!("Trail running shoe, {lang}")}))
        .collect();
    let variants: Vec<Value> = (0..8)
        .map(
            |n| json!({"sku": format!("A-100-{n}"), "size": 38 + n, "stock": n * 3, "price": 99.5}),
        )
        .collect();
    json!({
        "id": "A-100", "brand": {"name": "Stride", "code": "STR"}, "names": names,
        "description": "A light shoe for soft ground, with a grippy sole and a wide toe box. ".repeat(4),
        "prices": [{"currency": "EUR", "amount": 99.5}, {"currency": "CHF", "amount": 105}],
        "variants": variants, "active": true, "updated": "2026-11-22T23:47:00Z",
        "category": {"path": ["Shoes", "Running", "Trail"]},
    })
}

fn template() -> Value {
    json!({
        "sku": "{% $states.input.id %}",
        "title": "{% $states.input.names[lang = 'en'].text %}",
        "label": "{% $states.input.brand.name & ' ' & $states.input.id %}",
        "text": "{% $substring($states.input.description, 0, 80) %}",
        "price": "{% $states.input.prices[currency = 'EUR'].amount %}",
        "gross": "{% $round($states.input.prices[0].amount * 1.19, 2) %}",
        "stock": "{% $sum($states.input.variants.stock) %}",
        "variants": "{% $states.input.variants.{'sku': sku, 'size': $string(size)} %}",
        "visible": "{% $states.input.active and $count($states.input.variants) > 0 %}",
        "updated": "{% $states.input.updated %}",
    })
}

/// What this thread has used of the processor: another program's load does not count.
fn processor_nanoseconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("it begins with a number")
}

fn time(name: &str, mut work: impl FnMut()) {
    for _ in 0..2_000 {
        work();
    }
    let rounds = 20_000;
    let start = processor_nanoseconds();
    for _ in 0..rounds {
        work();
    }
    let took = processor_nanoseconds() - start;
    println!("{name:<44} {:>8.2} µs", took / 1e3 / f64::from(rounds));
}

fn main() {
    let (input, context) = (product(), json!({"State": {"Name": "Build"}}));
    println!("input: {} bytes", input.to_string().len());
    let compiled = Template::compile(&template()).expect("it compiles");
    let run = |compiled: &Template, limits: EvalLimits| {
        let mut scope = Scope::new(ENV);
        scope.limits(limits);
        scope.bind_member("states", "input", &input);
        scope.bind_member("states", "context", &context);
        black_box(compiled.eval(&scope).expect("it evaluates"));
    };
    time("ten fields", || run(&compiled, EvalLimits::DEFAULT));
    time("ten fields, metered", || {
        run(&compiled, EvalLimits { steps: 30_000, ..EvalLimits::DEFAULT });
    });
    let fields = template();
    for (name, source) in fields.as_object().expect("an object") {
        let one = Template::compile(source).expect("it compiles");
        time(&format!("  {name} alone"), || run(&one, EvalLimits::DEFAULT));
    }
    let whole = Template::compile(&json!("{% $count($states.input.*) %}")).expect("it compiles");
    time("conversion of the whole input", || run(&whole, EvalLimits::DEFAULT));
    let bytes = json!({"detail": input}).to_string();
    let key = Jsonata::compile("$event.detail.id").expect("it compiles");
    time("a key from an event's bytes", || {
        let mut scope = Scope::new(ENV);
        scope.bind_json("event", bytes.as_bytes()).expect("it is JSON");
        black_box(key.eval(&scope).expect("it evaluates"));
    });
    let payload = PayloadTemplate::compile(&json!({
        "sku.$": "$.id", "title.$": "$.names[?(@.lang == 'en')].text", "brand.$": "$.brand.name",
        "label.$": "States.Format('{} {}', $.brand.name, $.id)", "all.$": "$.variants[*].sku",
    }))
    .expect("it compiles");
    time("five fields by JSONPath", || {
        black_box(payload.eval(Roots::new(&input, &context), ENV).expect("it evaluates"));
    });
    time("compiling the ten fields", || {
        black_box(Template::compile(&fields).expect("it compiles"));
    });
}
