//! Random but legal batches of one run, and what the records must hold after each.

use std::collections::BTreeMap;

use bytes::Bytes;
use stepbus_model::{
    DeliveryId, EventId, ExecutionId, MapRunId, MessageId, Outcome, ResourceId, RunId, Timestamp,
    Totals,
};

use crate::{
    Batch, Cause, CursorRow, DefinitionRow, DeliveryRow, EventRow, ExecutionEnd, ExecutionKind,
    ExecutionRow, ExecutionStatus, Finish, ItemCounts, JournalRow, LedgerRow, MapCounts,
    MapPageRow, MapRunEnd, MapRunRow, MapRunStatus, MapSettings, MessageRow, Priority, Reception,
    Retry, RunRow, Store, StoreError,
};

/// One move: what kind, and which of the rows there are it concerns. Any two numbers will do.
pub type Move = (u8, u8);

const SUBSCRIPTIONS: u64 = 3;
const QUEUE: ResourceId = ResourceId(50);
const WORKFLOW: ResourceId = ResourceId(40);

/// A run's records as they must be.
#[derive(Debug, Clone)]
pub struct Script {
    run: RunId,
    definition: u64,
    clock: i64,
    open: i64,
    events: Vec<EventId>,
    deliveries: BTreeMap<DeliveryId, DeliveryRow>,
    ledger: BTreeMap<DeliveryId, LedgerRow>,
    letters: BTreeMap<MessageId, MessageRow>,
    executions: BTreeMap<ExecutionId, ExecutionRow>,
    journals: BTreeMap<ExecutionId, Vec<JournalRow>>,
    maps: BTreeMap<MapRunId, MapRunRow>,
    cursors: BTreeMap<ResourceId, (CursorRow, Vec<EventId>)>,
    totals: BTreeMap<ResourceId, Totals>,
}

impl Script {
    /// The first batch starts the run.
    #[must_use]
    pub fn begin(store: &dyn Store) -> (Script, Batch) {
        let script = Script {
            run: RunId(store.next_id()),
            definition: store.next_id(),
            clock: 1,
            open: 0,
            events: vec![EventId(store.next_id())],
            deliveries: BTreeMap::new(),
            ledger: BTreeMap::new(),
            letters: BTreeMap::new(),
            executions: BTreeMap::new(),
            journals: BTreeMap::new(),
            maps: BTreeMap::new(),
            cursors: BTreeMap::new(),
            totals: BTreeMap::new(),
        };
        let mut batch = Batch::new();
        batch.put_definition(DefinitionRow {
            id: script.definition,
            hash: script.run.to_string(),
            text: "{}".into(),
        });
        let at = Timestamp(1);
        let (origin, label) = ("script".into(), String::new());
        batch.start_run(RunRow {
            id: script.run,
            origin,
            label,
            priority: Priority::Normal,
            force: false,
            started: at,
            last: at,
            open: 0,
        });
        batch.append_event(script.event(script.events[0]));
        (script, batch)
    }

    /// Makes a batch of a few moves and takes them as done.
    pub fn play(&mut self, store: &dyn Store, moves: &[Move]) -> Batch {
        let mut batch = Batch::new();
        for &(kind, pick) in moves {
            self.clock += 1;
            match kind % 18 {
                0 => self.add_event(store, &mut batch),
                1..=4 => self.add_delivery(store, pick, &mut batch),
                5 => self.retry(pick, &mut batch),
                6 | 7 => self.finish(pick, &mut batch),
                8 => self.dead_letter(store, pick, &mut batch),
                9 => self.redrive(pick, &mut batch),
                10 => self.purge(pick, &mut batch),
                11 => self.start(store, &mut batch),
                12 => self.journal(pick, &mut batch),
                13 => self.end(pick, &mut batch),
                14 => self.start_map(store, pick, &mut batch),
                16 => self.leave_behind(store, pick, &mut batch),
                17 => self.read_on(store, pick, &mut batch),
                _ => self.child(store, pick, &mut batch),
            }
        }
        batch
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock)
    }

    fn count(&mut self, subscription: ResourceId, change: impl FnOnce(&mut Totals)) {
        change(self.totals.entry(subscription).or_default());
    }

    fn event(&self, id: EventId) -> EventRow {
        EventRow {
            id,
            run: self.run,
            bus: ResourceId(1),
            cause: Cause::Outside,
            hops: 0,
            at: self.now(),
            envelope: Bytes::from(vec![b'e'; 300]),
        }
    }

    fn add_event(&mut self, store: &dyn Store, batch: &mut Batch) {
        let id = EventId(store.next_id());
        self.events.push(id);
        batch.append_event(self.event(id));
    }

    fn add_delivery(&mut self, store: &dyn Store, pick: u8, batch: &mut Batch) {
        let row = DeliveryRow {
            id: DeliveryId(store.next_id()),
            run: self.run,
            subscription: ResourceId(10 + u64::from(pick) % SUBSCRIPTIONS),
            version: 1,
            event: self.events[usize::from(pick) % self.events.len()],
            key: pick.is_multiple_of(2).then(|| format!("key-{pick}")),
            lane: pick.is_multiple_of(5).then(|| i64::from(pick) - 100),
            created: self.now(),
            revision: 0,
            attempts: 0,
            first_tried: None,
            due: None,
            failure: None,
        };
        self.open += 1;
        self.count(row.subscription, |totals| {
            totals.matched += 1;
            totals.pending += 1;
        });
        self.deliveries.insert(row.id, row.clone());
        batch.add_delivery(row);
    }

    /// An event is published whose match stays in the log.
    fn leave_behind(&mut self, store: &dyn Store, pick: u8, batch: &mut Batch) {
        // Of this run alone: a subscription has one cursor at a time.
        let subscription = ResourceId(1_000 * self.run.0 + u64::from(pick) % SUBSCRIPTIONS);
        let event = self.event(EventId(store.next_id()));
        self.events.push(event.id);
        let (cursor, behind) = self.cursors.entry(subscription).or_insert_with(|| {
            let row = CursorRow {
                subscription,
                opened: event.id,
                bus: event.bus,
                version: 1,
                position: event.id,
                until: None,
                counted: true,
                behind: 0,
            };
            batch.open_cursor(row.clone());
            (row, Vec::new())
        });
        cursor.behind += 1;
        behind.push(event.id);
        let name = (subscription, cursor.opened);
        batch.append_event(event.clone());
        batch.leave_behind(name, &event);
        self.open += 1;
        self.count(subscription, |totals| {
            totals.matched += 1;
            totals.pending += 1;
        });
    }

    /// The first match behind a cursor becomes a delivery; a cursor with none closes.
    fn read_on(&mut self, store: &dyn Store, pick: u8, batch: &mut Batch) {
        let now = self.now();
        let run = self.run;
        let Some((cursor, behind)) = nth_mut(&mut self.cursors, pick) else { return };
        let name = (cursor.subscription, cursor.opened);
        if behind.is_empty() {
            batch.close_cursor(name);
            self.cursors.remove(&name.0);
            return;
        }
        let event = behind.remove(0);
        let row = DeliveryRow {
            id: DeliveryId(store.next_id()),
            run,
            subscription: name.0,
            version: 1,
            event,
            key: None,
            lane: None,
            created: now,
            revision: 0,
            attempts: 0,
            first_tried: None,
            due: None,
            failure: None,
        };
        let mut filled = Batch::from_log(cursor, event);
        cursor.behind -= 1;
        cursor.position = EventId(event.0 + 1);
        filled.add_delivery(row.clone());
        filled.move_cursor(name, cursor.position);
        self.deliveries.insert(row.id, row);
        batch.append(filled);
    }

    fn retry(&mut self, pick: u8, batch: &mut Batch) {
        let now = self.now();
        let Some(row) = nth_mut(&mut self.deliveries, pick) else { return };
        row.attempts += 1;
        row.first_tried.get_or_insert(now);
        row.due = Some(Timestamp(now.0 + i64::from(pick)));
        row.failure = Some("x".repeat(usize::from(pick)));
        batch.retry_delivery(Retry {
            id: row.id,
            run: row.run,
            attempts: row.attempts,
            first_tried: row.first_tried.unwrap_or(now),
            due: row.due.unwrap_or(now),
            failure: row.failure.clone().unwrap_or_default(),
        });
    }

    fn take_delivery(&mut self, pick: u8, outcome: Outcome) -> Option<(DeliveryRow, Finish)> {
        let id = nth_mut(&mut self.deliveries, pick)?.id;
        let row = self.deliveries.remove(&id)?;
        let finish = Finish { outcome, at: self.now(), attempts: row.attempts + 1, note: None };
        self.open -= 1;
        self.count(row.subscription, |totals| {
            totals.pending -= 1;
            *totals.column(outcome) += 1;
        });
        let ledger = LedgerRow {
            id,
            run: row.run,
            subscription: row.subscription,
            version: row.version,
            event: row.event,
            key: row.key.clone(),
            outcome,
            revision: row.revision,
            attempts: finish.attempts,
            created: row.created,
            finished: finish.at,
            note: None,
        };
        self.ledger.insert(id, ledger);
        Some((row, finish))
    }

    fn finish(&mut self, pick: u8, batch: &mut Batch) {
        let outcomes = [Outcome::Delivered, Outcome::Unchanged, Outcome::Stale, Outcome::Discarded];
        let outcome = outcomes[usize::from(pick) % outcomes.len()];
        let Some((row, finish)) = self.take_delivery(pick, outcome) else { return };
        batch.finish_delivery(&row, finish);
    }

    fn dead_letter(&mut self, store: &dyn Store, pick: u8, batch: &mut Batch) {
        let Some((row, finish)) = self.take_delivery(pick, Outcome::DeadLettered) else { return };
        let letter = MessageRow {
            id: MessageId(store.next_id()),
            queue: QUEUE,
            run: self.run,
            sent: self.now(),
            body: Bytes::from(vec![pick; 40]),
            attributes: "{}".into(),
            error_code: (pick % 2 == 1).then(|| "CODE".to_owned()),
            delivery: Some(row.clone()),
            reception: Reception::default(),
        };
        self.letters.insert(letter.id, letter.clone());
        batch.dead_letter(letter, &row, finish);
    }

    fn take_letter(&mut self, pick: u8) -> Option<(MessageId, DeliveryRow)> {
        let id = nth_mut(&mut self.letters, pick)?.id;
        let row = self.letters.remove(&id)?.delivery?;
        self.count(row.subscription, |totals| totals.dead_lettered -= 1);
        Some((id, row))
    }

    fn redrive(&mut self, pick: u8, batch: &mut Batch) {
        let Some((message, row)) = self.take_letter(pick) else { return };
        let row = DeliveryRow { attempts: 0, first_tried: None, due: None, failure: None, ..row };
        self.open += 1;
        self.count(row.subscription, |totals| totals.pending += 1);
        self.ledger.remove(&row.id);
        self.deliveries.insert(row.id, row.clone());
        batch.redrive(message, row, self.now());
    }

    fn purge(&mut self, pick: u8, batch: &mut Batch) {
        let Some((message, row)) = self.take_letter(pick) else { return };
        self.count(row.subscription, |totals| totals.discarded += 1);
        let now = self.now();
        let Some(ledger) = self.ledger.get_mut(&row.id) else { return };
        batch.purge(message, ledger.clone(), now, "purged");
        ledger.outcome = Outcome::Discarded;
        ledger.finished = now;
        ledger.note = Some("purged".into());
    }

    fn execution(&self, store: &dyn Store, item: Option<(MapRunId, u64)>) -> ExecutionRow {
        let id = ExecutionId(store.next_id());
        ExecutionRow {
            id,
            run: self.run,
            workflow: WORKFLOW,
            definition: self.definition,
            kind: ExecutionKind::Standard,
            name: id.to_string(),
            cause: Cause::Event(self.events[0]),
            hops: 0,
            item,
            items: 1,
            redrives: 0,
            redriven: None,
            awaits_redrive: false,
            status: ExecutionStatus::Running,
            idle: false,
            wake: None,
            started: self.now(),
            ended: None,
            output: None,
            error: None,
            error_cause: None,
            recoveries: 0,
            semantics: 1,
        }
    }

    fn start(&mut self, store: &dyn Store, batch: &mut Batch) {
        let row = self.execution(store, None);
        self.open += 1;
        batch.start_execution(row.clone());
        self.append(row.id, 1, batch);
        self.executions.insert(row.id, row);
    }

    fn append(&mut self, execution: ExecutionId, count: u32, batch: &mut Batch) {
        let rows = self.journals.entry(execution).or_default();
        let first = rows.last().map_or(0, |row| row.first + u64::from(row.count));
        let entries = Bytes::from(vec![b'j'; 200]);
        let row = JournalRow { execution, first, count, entries };
        rows.push(row.clone());
        batch.append_journal(row);
    }

    /// A running execution that no running map run stands under.
    fn pick_running(&self, pick: u8) -> Option<ExecutionId> {
        let mut running = self.executions.values().filter(|row| {
            let parent = self.maps.values().any(|map| map.execution == row.id);
            row.status == ExecutionStatus::Running && !parent
        });
        let count = running.clone().count();
        running.nth(usize::from(pick) % count.max(1)).map(|row| row.id)
    }

    fn journal(&mut self, pick: u8, batch: &mut Batch) {
        let Some(id) = self.pick_running(pick) else { return };
        self.append(id, u32::from(pick % 3) + 1, batch);
        let Some(row) = self.executions.get_mut(&id) else { return };
        row.idle = pick.is_multiple_of(2);
        row.wake = row.idle.then_some(Timestamp(i64::from(pick)));
        if row.idle {
            batch.park_execution(id, row.wake);
        } else {
            batch.wake_execution(id);
        }
    }

    fn end(&mut self, pick: u8, batch: &mut Batch) {
        let Some(id) = self.pick_running(pick) else { return };
        let now = self.now();
        let Some(row) = self.executions.get_mut(&id) else { return };
        let statuses = &ExecutionStatus::ALL[1..];
        let end = ExecutionEnd {
            status: statuses[usize::from(pick) % statuses.len()],
            at: now,
            output: pick.is_multiple_of(2).then(|| Bytes::from(vec![b'o'; 100])),
            error: None,
            error_cause: None,
        };
        batch.end_execution(row, end.clone());
        *row = super::ground::after(row, &end);
        self.open -= 1;
        if let Some((map_run, _)) = row.item {
            let status = row.status;
            self.count_item(map_run, |counts| {
                counts.running -= 1;
                *counts.column(status) += 1;
            });
        }
    }

    fn count_item(&mut self, map_run: MapRunId, change: impl Fn(&mut ItemCounts)) {
        let Some(map) = self.maps.get_mut(&map_run) else { return };
        change(&mut map.counts.items);
        change(&mut map.counts.executions);
    }

    fn start_map(&mut self, store: &dyn Store, pick: u8, batch: &mut Batch) {
        let Some(execution) = self.pick_running(pick) else { return };
        if self.executions[&execution].item.is_some() {
            return;
        }
        let mut map = MapRunRow {
            id: MapRunId(store.next_id()),
            run: self.run,
            execution,
            visit: 1,
            status: MapRunStatus::Running,
            started: self.now(),
            ended: None,
            counts: MapCounts::default(),
            settings: MapSettings::default(),
            redrives: 0,
            redriven: None,
            only_marked: false,
            definition: None,
            from_state: None,
            spec: Bytes::from_static(b"{}"),
            source_version: None,
            error: None,
            error_cause: None,
        };
        batch.start_map_run(map.clone());
        map.counts.items.total = i64::from(pick);
        map.counts.executions.total = i64::from(pick);
        batch.add_map_page(MapPageRow {
            map_run: map.id,
            page: 0,
            first_index: 0,
            count: u32::from(pick),
            item_count: u32::from(pick),
            items: Bytes::from_static(b"[]"),
            next_token: None,
        });
        self.maps.insert(map.id, map);
    }

    /// Another item begins; or, when all have ended, the map run and its execution end.
    fn child(&mut self, store: &dyn Store, pick: u8, batch: &mut Batch) {
        let running: Vec<_> =
            self.maps.values().filter(|map| map.status == MapRunStatus::Running).collect();
        let Some(map) = running.get(usize::from(pick) % running.len().max(1)) else { return };
        let (id, total, ended) = (map.id, map.counts.items.total, map.counts.items.ended());
        let made = self.executions.values().filter(|row| row.item.is_some_and(|item| item.0 == id));
        let made = made.count() as u64;
        if made.cast_signed() < total {
            let mut row = self.execution(store, Some((id, made)));
            if pick.is_multiple_of(2) {
                row.status = ExecutionStatus::Succeeded;
                row.ended = Some(self.now());
            } else {
                self.open += 1;
            }
            let status = row.status;
            self.count_item(id, |counts| *counts.column(status) += 1);
            batch.start_execution(row.clone());
            self.executions.insert(row.id, row);
        } else if ended == total {
            self.end_map(id, batch);
        }
    }

    fn end_map(&mut self, id: MapRunId, batch: &mut Batch) {
        let now = self.now();
        let Some(map) = self.maps.get_mut(&id) else { return };
        map.status = MapRunStatus::Succeeded;
        map.ended = Some(now);
        let end = MapRunEnd { id, status: map.status, at: now, error: None, error_cause: None };
        batch.end_map_run(end);
        let Some(row) = self.executions.get_mut(&map.execution) else { return };
        let end = super::ground::ended(ExecutionStatus::Succeeded, now.0);
        batch.end_execution(row, end.clone());
        *row = super::ground::after(row, &end);
        self.open -= 1;
    }

    /// Compares the records with what they must be.
    ///
    /// # Errors
    /// What differs.
    pub async fn compare(&self, store: &dyn Store) -> Result<(), String> {
        self.read(store).await.map_err(|error| error.to_string())?
    }

    async fn read(&self, store: &dyn Store) -> Result<Result<(), String>, StoreError> {
        let Some(run) = store.run(self.run).await? else {
            return Ok(Err(format!("{} is not there", self.run)));
        };
        if run.open != self.open {
            return Ok(Err(format!("{} has {} open, not {}", self.run, run.open, self.open)));
        }
        let totals: BTreeMap<_, _> = store.run_totals(self.run).await?.into_iter().collect();
        if totals != self.totals {
            return Ok(Err(format!("totals are {totals:?}, not {:?}", self.totals)));
        }
        for &id in &self.events {
            if store.event(id).await?.is_none() {
                return Ok(Err(format!("{id} is not there")));
            }
        }
        for row in self.deliveries.values() {
            let found = store.delivery(row.id).await?;
            if found.as_ref() != Some(row) || store.ledger(row.id).await?.is_some() {
                return Ok(Err(format!("{row:?} is {found:?}")));
            }
        }
        for row in self.ledger.values() {
            let found = store.ledger(row.id).await?;
            if found.as_ref() != Some(row) || store.delivery(row.id).await?.is_some() {
                return Ok(Err(format!("{row:?} is {found:?}")));
            }
        }
        for row in self.letters.values() {
            let found = store.message(row.id).await?;
            if found.as_ref() != Some(row) {
                return Ok(Err(format!("{row:?} is {found:?}")));
            }
        }
        for row in self.executions.values() {
            let found = store.execution(row.id).await?;
            let journal = store.journal(row.id, 0).await?;
            let expected = self.journals.get(&row.id).cloned().unwrap_or_default();
            if found.as_ref() != Some(row) || journal != expected {
                return Ok(Err(format!("{row:?} is {found:?} with {} entries", journal.len())));
            }
        }
        for row in self.maps.values() {
            let found = store.map_run(row.id).await?;
            if found.as_ref() != Some(row) {
                return Ok(Err(format!("{row:?} is {found:?}")));
            }
        }
        let mut found = store.cursors().await?;
        found.retain(|cursor| cursor.subscription.0 / 1_000 == self.run.0);
        let cursors: Vec<_> = self.cursors.values().map(|(cursor, _)| cursor.clone()).collect();
        if found != cursors {
            return Ok(Err(format!("{cursors:?} are {found:?}")));
        }
        Ok(Ok(()))
    }
}

fn nth_mut<K: Ord, V>(map: &mut BTreeMap<K, V>, pick: u8) -> Option<&mut V> {
    let count = map.len();
    map.values_mut().nth(usize::from(pick) % count.max(1))
}
