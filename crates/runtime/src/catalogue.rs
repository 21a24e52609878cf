//! The declared things as the running system uses them: compiled, with their ids, swapped as one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use stepbus_asl::Program;
use stepbus_document::Document;
use stepbus_expr::{EvalError, Template};
use stepbus_model::{EventId, Limits, ResourceId, Timestamp};
use stepbus_pattern::{Matcher, Pattern};
use stepbus_store::{
    Batch, CursorRow, DefinitionRow, ResourceKind, ResourceRow, Store, StoreError,
};

use crate::comparison::{Compared, place};
use crate::content::{Content, Input};
use crate::declared::{
    ArchiveSpec, Declared, EndpointSpec, FunctionSpec, QueueSpec, ScheduleSpec, ScheduleTarget,
    StartAt, StorageSpec, SubscriptionSpec, WorkflowSpec,
};
use crate::event::EventBody;
use crate::expression;
use crate::log::Archive;
use crate::parameters::Parameters;
use crate::schedules::{Schedule, Timing, time_zone};
use crate::targets::{Destination, NoTarget, Outside, Target};

/// Why declared things cannot run.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("{kind} '{name}': {message}")]
    Invalid { kind: &'static str, name: String, message: String },
    #[error("{kind} '{name}' names {missing}, which is not declared")]
    Missing { kind: &'static str, name: String, missing: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct Bus {
    pub id: ResourceId,
    pub name: String,
    pub retention_seconds: u64,
    pub matcher: Matcher<ResourceId>,
    pub deduplicates_content: bool,
}

#[derive(Debug)]
pub struct Queue {
    pub id: ResourceId,
    pub spec: QueueSpec,
    /// The queue that its redrive policy names.
    pub dead_letter: Option<ResourceId>,
}

#[derive(Debug)]
pub struct Workflow {
    pub id: ResourceId,
    pub definition: u64,
    pub spec: WorkflowSpec,
    pub program: Arc<Program>,
}

#[derive(Debug)]
pub struct Subscription {
    pub id: ResourceId,
    pub version: u32,
    pub spec: SubscriptionSpec,
    pub dead_letter: Option<ResourceId>,
    pub(crate) target: Target,
    pub(crate) parameters: Parameters,
    key: Option<Template>,
    input: Input,
    stale_version: Option<Template>,
    compared: Compared,
}

impl Subscription {
    /// The business key of an event; none when the subscription has none or it is undefined.
    ///
    /// # Errors
    /// When the expression fails, or gives neither text nor number.
    pub fn key(&self, event: &EventBody) -> Result<Option<String>, EvalError> {
        expression::text(self.key.as_ref(), event)
    }

    /// What of the event goes to the target; at most `most` bytes where a template makes it.
    ///
    /// # Errors
    /// When the expression fails, or nothing that can be sent comes of it.
    pub fn content(&self, event: &EventBody, most: usize) -> Result<Content, String> {
        if let Some(edited) = event.edited() {
            return Ok(Content::Value(edited.clone()));
        }
        self.input.content(event, most)
    }

    /// The same as a JSON value.
    pub(crate) fn value(&self, event: &EventBody, most: usize) -> Result<Value, String> {
        if let Some(edited) = event.edited() {
            return Ok(edited.clone());
        }
        self.input.value(event, most)
    }

    /// Whether the event goes as it is.
    pub(crate) fn sends_the_event(&self, event: &EventBody) -> bool {
        matches!(self.input, Input::Event) && event.edited().is_none()
    }

    /// What of the content is compared with what was last delivered.
    ///
    /// # Errors
    /// When the expression fails.
    pub(crate) fn compared<'c>(
        &self,
        content: &'c Content,
        event: &EventBody,
    ) -> Result<Cow<'c, Content>, EvalError> {
        if self.spec.compare.is_whole() {
            return Ok(Cow::Borrowed(content));
        }
        let value = content.clone().into_value();
        Ok(Cow::Owned(Content::Value(self.compared.of(value, event)?)))
    }

    /// What orders this event among those of its key.
    ///
    /// # Errors
    /// When the expression fails, or gives neither text nor number.
    pub fn stale_version(&self, event: &EventBody) -> Result<Option<String>, EvalError> {
        expression::text(self.stale_version.as_ref(), event)
    }
}

#[derive(Debug)]
pub struct Endpoint {
    pub spec: EndpointSpec,
    pub detail: Template,
    pub force: Option<Template>,
    /// Held while a call looks for an open run and starts one.
    pub gate: tokio::sync::Mutex<()>,
}

/// A consistent set of everything declared.
#[derive(Debug, Default)]
pub struct Catalogue {
    pub buses: HashMap<String, Arc<Bus>>,
    pub subscriptions: HashMap<ResourceId, Arc<Subscription>>,
    pub workflows: HashMap<String, Arc<Workflow>>,
    pub endpoints: Vec<Arc<Endpoint>>,
    pub schedules: HashMap<ResourceId, Arc<Schedule>>,
    pub queues: HashMap<String, ResourceId>,
    queue_specs: HashMap<ResourceId, Arc<Queue>>,
    pub(crate) destinations: HashMap<String, Arc<dyn Outside>>,
    pub functions: HashMap<String, FunctionSpec>,
    pub archives: Vec<Archive>,
    pub storage: StorageSpec,
    /// Of subscriptions that are new and begin in the past.
    pub(crate) begun: Vec<CursorRow>,
    /// Names of all there ever was, for telling records.
    pub names: HashMap<ResourceId, (ResourceKind, String)>,
}

impl Catalogue {
    #[must_use]
    pub fn name(&self, id: ResourceId) -> &str {
        self.names.get(&id).map_or("?", |(_, name)| name)
    }

    #[must_use]
    pub fn queue(&self, id: ResourceId) -> Option<&Arc<Queue>> {
        self.queue_specs.get(&id)
    }

    pub fn all_queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queue_specs.values()
    }

    #[must_use]
    pub fn subscription_named(&self, name: &str) -> Option<&Arc<Subscription>> {
        self.subscriptions.values().find(|subscription| subscription.spec.name == name)
    }
}

/// Registers what is declared: unchanged things keep their version, changed ones get the next,
/// and what is gone is retired. All of it is one commit.
///
/// # Errors
/// When something does not compile, names what is not there, or the store fails.
pub(crate) async fn register(
    store: &dyn Store,
    limits: &Limits,
    declared: &Declared,
    now: Timestamp,
) -> Result<Catalogue, CatalogueError> {
    let mut registrar = Registrar::load(store, now).await?;
    let mut catalogue = Catalogue::default();
    register_queues(&mut registrar, &mut catalogue, declared)?;
    for spec in declared.called() {
        let (id, _) = registrar.register(ResourceKind::Destination, &spec.name, json(&*spec));
        catalogue.destinations.insert(spec.name.clone(), Arc::new(Destination::new(id, &spec)));
    }
    for spec in &declared.connections {
        registrar.register(ResourceKind::Connection, &spec.name, json(spec));
    }
    for spec in &declared.workflows {
        let workflow = registrar.workflow(spec, limits).await?;
        catalogue.workflows.insert(spec.name.clone(), Arc::new(workflow));
    }
    for spec in &declared.buses {
        let (id, _) = registrar.register(ResourceKind::Bus, &spec.name, json(spec));
        let (name, retention_seconds) = (spec.name.clone(), spec.retention_seconds);
        let bus = Bus {
            id,
            name,
            retention_seconds,
            matcher: Matcher::new(),
            deduplicates_content: spec.deduplicate_content,
        };
        catalogue.buses.insert(spec.name.clone(), Arc::new(bus));
    }
    let functions = declared.functions.iter();
    catalogue.functions = functions.map(|spec| (spec.name.clone(), spec.clone())).collect();
    catalogue.storage = declared.storage;
    for spec in &declared.archives {
        catalogue.archives.push(archive(spec, &catalogue)?);
    }
    for spec in &declared.subscriptions {
        let new = registrar.is_new(ResourceKind::Subscription, &spec.name);
        let subscription = registrar.subscription(spec, &catalogue)?;
        if new && let Some(cursor) = beginning(store, now, &subscription, &catalogue).await? {
            registrar.batch.open_cursor(cursor.clone());
            catalogue.begun.push(cursor);
        }
        subscribe(&catalogue, &subscription)?;
        catalogue.subscriptions.insert(subscription.id, Arc::new(subscription));
    }
    for spec in &declared.endpoints {
        registrar.register(ResourceKind::Endpoint, &spec.name, json(spec));
        let detail = compile("endpoint", &spec.name, &spec.detail)?;
        let force = spec.force.as_ref();
        let force = force.map(|value| compile("endpoint", &spec.name, value)).transpose()?;
        let gate = tokio::sync::Mutex::new(());
        catalogue.endpoints.push(Arc::new(Endpoint { spec: spec.clone(), detail, force, gate }));
    }
    for spec in &declared.schedules {
        let schedule = registrar.schedule(spec, &catalogue)?;
        catalogue.schedules.insert(schedule.id, Arc::new(schedule));
    }
    catalogue.names = registrar.finish().await?;
    Ok(catalogue)
}

/// The cursor of a new subscription that begins in the past. Matches behind it are counted as they
/// are read.
async fn beginning(
    store: &dyn Store,
    now: Timestamp,
    subscription: &Subscription,
    catalogue: &Catalogue,
) -> Result<Option<CursorRow>, StoreError> {
    let spec = &subscription.spec;
    let bus = catalogue.buses.get(&spec.bus).filter(|_| spec.enabled);
    let Some((bus, start)) = bus.zip(spec.start) else { return Ok(None) };
    let since = match start {
        StartAt::Earliest => Timestamp(i64::MIN),
        StartAt::At(time) => time,
        StartAt::SecondsAgo(seconds) => {
            let span = i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
            Timestamp(now.0.saturating_sub(span))
        }
    };
    Ok(Some(CursorRow {
        subscription: subscription.id,
        opened: EventId(store.next_id()),
        bus: bus.id,
        version: subscription.version,
        position: crate::log::exactly_since(store, bus.id, since).await?,
        until: None,
        counted: false,
        behind: 0,
    }))
}

fn archive(spec: &ArchiveSpec, catalogue: &Catalogue) -> Result<Archive, CatalogueError> {
    let name = spec.name.clone();
    let bus = catalogue.buses.get(&spec.bus).ok_or_else(|| CatalogueError::Missing {
        kind: "archive",
        name: name.clone(),
        missing: format!("bus '{}'", spec.bus),
    })?;
    let pattern = Pattern::parse(spec.pattern.as_bytes()).map_err(|error| {
        let message = error.to_string();
        CatalogueError::Invalid { kind: "archive", name: name.clone(), message }
    })?;
    let matcher = Matcher::new();
    matcher.add((), &pattern);
    let (pattern, retention_seconds) = (spec.pattern.clone(), spec.retention_seconds);
    Ok(Archive { name, bus: bus.id, retention_seconds, pattern, matcher })
}

fn register_queues(
    registrar: &mut Registrar<'_>,
    catalogue: &mut Catalogue,
    declared: &Declared,
) -> Result<(), CatalogueError> {
    for spec in &declared.queues {
        let (id, _) = registrar.register(ResourceKind::Queue, &spec.name, json(spec));
        catalogue.queues.insert(spec.name.clone(), id);
    }
    for spec in &declared.queues {
        let id = catalogue.queues[&spec.name];
        let other = |name: &String| {
            catalogue.queues.get(name).copied().ok_or_else(|| CatalogueError::Missing {
                kind: "queue",
                name: spec.name.clone(),
                missing: format!("queue '{name}'"),
            })
        };
        let redrive = spec.redrive.as_ref();
        let dead_letter = redrive.map(|policy| other(&policy.dead_letter)).transpose()?;
        let queue = Queue { id, spec: spec.clone(), dead_letter };
        catalogue.queue_specs.insert(id, Arc::new(queue));
    }
    Ok(())
}

/// A subscription as it was in an earlier version, to redrive or finish what began under it.
///
/// # Errors
/// When its text no longer compiles or its target is gone.
pub(crate) fn compile_version(
    catalogue: &Catalogue,
    row: &ResourceRow,
) -> Result<Subscription, CatalogueError> {
    let invalid = |message: String| CatalogueError::Invalid {
        kind: "subscription",
        name: row.name.clone(),
        message,
    };
    let spec: SubscriptionSpec =
        serde_json::from_str(&row.body).map_err(|error| invalid(error.to_string()))?;
    let target = Target::resolve(catalogue, &spec.target).map_err(|why| match why {
        NoTarget::Missing => {
            invalid(format!("its {} '{}' is gone", spec.target.kind(), spec.target.name()))
        }
        NoTarget::Invalid(message) => invalid(message),
    })?;
    let dead_letter =
        spec.dead_letter.as_ref().and_then(|name| catalogue.queues.get(name)).copied();
    build(row.id, row.version, spec, target, dead_letter)
}

fn build(
    id: ResourceId,
    version: u32,
    spec: SubscriptionSpec,
    target: Target,
    dead_letter: Option<ResourceId>,
) -> Result<Subscription, CatalogueError> {
    let invalid = |message: String| CatalogueError::Invalid {
        kind: "subscription",
        name: spec.name.clone(),
        message,
    };
    let optional = |text: &Option<Value>| {
        text.as_ref().map(|value| compile("subscription", &spec.name, value)).transpose()
    };
    let (key, stale_version) = (optional(&spec.key)?, optional(&spec.version)?);
    let input = match (optional(&spec.transform)?, &spec.input) {
        (Some(transform), _) => Input::Transform(transform),
        (None, Some(input)) => {
            let input = input.compile().map_err(|error| invalid(error.message(&spec.name)))?;
            Input::classic(&spec, input)
        }
        (None, None) => Input::Event,
    };
    let parameters = Parameters::compile(&spec.parameters).map_err(|problems| {
        let problems: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
        invalid(problems.join("; "))
    })?;
    let ignore = spec.compare.ignore.iter().map(|text| place(text)).collect::<Result<_, _>>();
    let compared = Compared { ignore: ignore.map_err(invalid)?, by: optional(&spec.compare.by)? };
    Ok(Subscription {
        id,
        version,
        target,
        dead_letter,
        parameters,
        key,
        input,
        stale_version,
        compared,
        spec,
    })
}

fn subscribe(catalogue: &Catalogue, subscription: &Subscription) -> Result<(), CatalogueError> {
    let spec = &subscription.spec;
    if !spec.enabled {
        return Ok(());
    }
    let pattern = Pattern::parse(spec.pattern.as_bytes()).map_err(|error| {
        let (name, message) = (spec.name.clone(), error.to_string());
        CatalogueError::Invalid { kind: "subscription", name, message }
    })?;
    if let Some(bus) = catalogue.buses.get(&spec.bus) {
        bus.matcher.add(subscription.id, &pattern);
    }
    Ok(())
}

fn compile(kind: &'static str, name: &str, value: &Value) -> Result<Template, CatalogueError> {
    Template::compile(value).map_err(|errors| {
        let messages: Vec<String> =
            errors.iter().map(|(at, error)| format!("{at}: {error}")).collect();
        CatalogueError::Invalid { kind, name: name.to_owned(), message: messages.join("; ") }
    })
}

fn json(spec: &impl serde::Serialize) -> String {
    serde_json::to_string(spec).unwrap_or_default()
}

/// Compares what is declared with what is stored, and gathers the difference in one batch.
struct Registrar<'a> {
    store: &'a dyn Store,
    now: Timestamp,
    known: HashMap<(ResourceKind, String), ResourceRow>,
    batch: Batch,
    /// Definitions of this batch, by hash.
    definitions: HashMap<String, u64>,
    names: HashMap<ResourceId, (ResourceKind, String)>,
}

impl<'a> Registrar<'a> {
    async fn load(store: &'a dyn Store, now: Timestamp) -> Result<Self, StoreError> {
        let rows = store.resources().await?;
        let names = rows
            .iter()
            .map(|row| (row.id, (row.kind, row.name.clone())))
            .collect::<HashMap<_, _>>();
        let known = rows.into_iter().map(|row| ((row.kind, row.name.clone()), row)).collect();
        Ok(Registrar { store, now, known, batch: Batch::new(), definitions: HashMap::new(), names })
    }

    /// Never declared before.
    fn is_new(&self, kind: ResourceKind, name: &str) -> bool {
        !self.known.contains_key(&(kind, name.to_owned()))
    }

    fn register(&mut self, kind: ResourceKind, name: &str, body: String) -> (ResourceId, u32) {
        let known = self.known.remove(&(kind, name.to_owned()));
        if let Some(row) = &known
            && row.body == body
            && !row.retired
        {
            return (row.id, row.version);
        }
        let id = known.as_ref().map_or_else(|| ResourceId(self.store.next_id()), |row| row.id);
        let version = known.map_or(1, |row| row.version + 1);
        self.names.insert(id, (kind, name.to_owned()));
        self.batch.put_resource(ResourceRow {
            id,
            kind,
            name: name.to_owned(),
            version,
            body,
            at: self.now,
            retired: false,
        });
        (id, version)
    }

    /// The id of a definition, which several workflows may share.
    async fn definition(&mut self, hash: String, text: &str) -> Result<u64, StoreError> {
        if let Some(id) = self.definitions.get(&hash) {
            return Ok(*id);
        }
        let id = match self.store.definition_by_hash(&hash).await? {
            Some(row) => row.id,
            None => {
                let id = self.store.next_id();
                let row = DefinitionRow { id, hash: hash.clone(), text: text.to_owned() };
                self.batch.put_definition(row);
                id
            }
        };
        self.definitions.insert(hash, id);
        Ok(id)
    }

    async fn workflow(
        &mut self,
        spec: &WorkflowSpec,
        limits: &Limits,
    ) -> Result<Workflow, CatalogueError> {
        let invalid = |message: String| CatalogueError::Invalid {
            kind: "workflow",
            name: spec.name.clone(),
            message,
        };
        if spec.definition.len() > limits.definition_bytes {
            let (size, limit) = (spec.definition.len(), limits.definition_bytes);
            return Err(invalid(format!("the definition has {size} bytes, the limit is {limit}")));
        }
        let document =
            Document::parse(&spec.definition).map_err(|error| invalid(error.to_string()))?;
        let program = Program::parse(&document, spec.kind).map_err(|problems| {
            let messages: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
            invalid(messages.join("; "))
        })?;
        let hash = expression::hash(spec.definition.as_bytes());
        let definition = self.definition(hash, &spec.definition).await?;
        let body = serde_json::json!({ "definition": definition, "kind": spec.kind }).to_string();
        let (id, _) = self.register(ResourceKind::Workflow, &spec.name, body);
        Ok(Workflow { id, definition, spec: spec.clone(), program: Arc::new(program) })
    }

    fn subscription(
        &mut self,
        spec: &SubscriptionSpec,
        catalogue: &Catalogue,
    ) -> Result<Subscription, CatalogueError> {
        let missing = |what: &str, name: &str| CatalogueError::Missing {
            kind: "subscription",
            name: spec.name.clone(),
            missing: format!("{what} '{name}'"),
        };
        if !catalogue.buses.contains_key(&spec.bus) {
            return Err(missing("bus", &spec.bus));
        }
        let target = Target::resolve(catalogue, &spec.target).map_err(|why| match why {
            NoTarget::Missing => missing(spec.target.kind(), spec.target.name()),
            NoTarget::Invalid(message) => {
                let name = spec.name.clone();
                CatalogueError::Invalid { kind: "subscription", name, message }
            }
        })?;
        let dead_letter = match &spec.dead_letter {
            None => None,
            Some(name) => Some(*catalogue.queues.get(name).ok_or_else(|| missing("queue", name))?),
        };
        let (id, version) = self.register(ResourceKind::Subscription, &spec.name, json(spec));
        build(id, version, spec.clone(), target, dead_letter)
    }

    fn schedule(
        &mut self,
        spec: &ScheduleSpec,
        catalogue: &Catalogue,
    ) -> Result<Schedule, CatalogueError> {
        let (kind, name) = ("schedule", spec.name.clone());
        let missing = match &spec.target {
            ScheduleTarget::Event { bus, .. } if !catalogue.buses.contains_key(bus) => {
                Some(format!("bus '{bus}'"))
            }
            ScheduleTarget::Workflow(name) if !catalogue.workflows.contains_key(name) => {
                Some(format!("workflow '{name}'"))
            }
            ScheduleTarget::Queue(name) if !catalogue.queues.contains_key(name) => {
                Some(format!("queue '{name}'"))
            }
            _ => None,
        };
        if let Some(missing) = missing {
            return Err(CatalogueError::Missing { kind, name, missing });
        }
        let invalid =
            |message: String| CatalogueError::Invalid { kind, name: spec.name.clone(), message };
        let zone = time_zone(&spec.timezone).map_err(invalid)?;
        let timing = Timing::parse(&spec.expression, zone, spec.start, spec.end)
            .map_err(|error| invalid(error.to_string()))?;
        let input = compile(kind, &spec.name, &spec.input)?;
        let dead_letter =
            spec.dead_letter.as_ref().and_then(|name| catalogue.queues.get(name)).copied();
        let (id, _) = self.register(ResourceKind::Schedule, &spec.name, json(spec));
        Ok(Schedule { id, spec: spec.clone(), timing, dead_letter, input })
    }

    /// Commits the difference; what was not registered again is retired.
    async fn finish(mut self) -> Result<HashMap<ResourceId, (ResourceKind, String)>, StoreError> {
        let stays = |row: &ResourceRow| row.retired || row.kind == ResourceKind::Activity;
        for row in self.known.into_values().filter(|row| !stays(row)) {
            let retired =
                ResourceRow { version: row.version + 1, at: self.now, retired: true, ..row };
            self.batch.put_resource(retired);
        }
        if !self.batch.is_empty() {
            self.store.commit(self.batch).await?;
        }
        Ok(self.names)
    }
}
