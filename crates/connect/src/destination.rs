//! A registered destination: everything compiled, and its gate.

use std::sync::Arc;
use std::time::Duration;

use stepbus_expr::Jsonata;
use stepbus_model::Limits;

use crate::call::Call;
use crate::gate::Gate;
use crate::outcome::{Rules, expression};
use crate::spec::{Action, CallSpec, DestinationSpec, ParamValue, SpecError, Upsert};

pub(crate) struct Destination {
    pub(crate) spec: DestinationSpec,
    pub(crate) gate: Arc<Gate>,
    pub(crate) rules: Rules,
    pub(crate) action: CompiledAction,
    pub(crate) timeout: Duration,
}

#[derive(Debug)]
pub(crate) enum CompiledAction {
    Call(Call),
    Upsert(Box<CompiledUpsert>),
}

#[derive(Debug)]
pub(crate) struct CompiledUpsert {
    pub(crate) find: Call,
    pub(crate) create: Call,
    pub(crate) update: Call,
    pub(crate) id: Jsonata,
    pub(crate) create_id: Option<Jsonata>,
    pub(crate) missing: Option<Jsonata>,
}

impl Destination {
    /// Takes over the gate of the destination it replaces; its pauses end when it calls
    /// something else now.
    pub(crate) fn new(
        spec: DestinationSpec,
        before: Option<&Destination>,
        limits: Limits,
    ) -> Result<Self, Vec<SpecError>> {
        let (action, rules) = compile(&spec)?;
        let concurrency = spec.concurrency.unwrap_or(limits.destination_concurrency);
        let same = before.filter(|before| {
            before.spec.connection == spec.connection && before.spec.action == spec.action
        });
        let gate = match same {
            Some(before) => {
                before.gate.configure(concurrency, spec.rate);
                Arc::clone(&before.gate)
            }
            None => Arc::new(Gate::new(concurrency, spec.rate, limits)),
        };
        let default = Duration::from_secs(limits.http_timeout_seconds);
        let timeout = spec.timeout.unwrap_or(default);
        Ok(Destination { spec, gate, rules, action, timeout })
    }

    /// Values of the destination's own parameters that must not be shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let calls: Vec<&CallSpec> = match &self.spec.action {
            Action::Call(call) => vec![call],
            Action::Upsert(upsert) => vec![&upsert.find, &upsert.create, &upsert.update],
        };
        let params = calls.into_iter().flat_map(|call| call.headers.0.iter().chain(&call.query.0));
        params.filter_map(|(_, value)| match value {
            ParamValue::Secret(secret) => Some(secret.expose()),
            ParamValue::Plain(_) => None,
        })
    }
}

pub(crate) fn compile(spec: &DestinationSpec) -> Result<(CompiledAction, Rules), Vec<SpecError>> {
    let mut errors = Vec::new();
    if spec.concurrency == Some(0) {
        errors.push(SpecError::new("/concurrency", "concurrency must be above 0"));
    }
    let rules = Rules::compile(&spec.outcome, &mut errors);
    let action = match &spec.action {
        Action::Call(call) => Call::compile(call, "", false, &mut errors).map(CompiledAction::Call),
        Action::Upsert(upsert) => compile_upsert(upsert, &mut errors)
            .map(|upsert| CompiledAction::Upsert(Box::new(upsert))),
    };
    match action {
        Some(action) if errors.is_empty() => Ok((action, rules)),
        _ => Err(errors),
    }
}

fn compile_upsert(upsert: &Upsert, errors: &mut Vec<SpecError>) -> Option<CompiledUpsert> {
    let find = Call::compile(&upsert.find, "/upsert/find", false, errors);
    let create = Call::compile(&upsert.create, "/upsert/create", false, errors);
    let update = Call::compile(&upsert.update, "/upsert/update", true, errors);
    let mut rule = |text: &str, name: &str| expression(text, &format!("/upsert/{name}"), errors);
    let id = rule(&upsert.id, "id");
    let create_id = upsert.create_id.as_ref().and_then(|text| rule(text, "create_id"));
    let missing = upsert.missing.as_ref().and_then(|text| rule(text, "missing"));
    Some(CompiledUpsert {
        find: find?,
        create: create?,
        update: update?,
        id: id?,
        create_id,
        missing,
    })
}
