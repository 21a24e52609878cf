//! Runs, events, deliveries, the ledger, messages.

use rusqlite::{Connection, Statement, params};
use stepbus_model::{DeliveryId, MessageId, Outcome, ResourceId, Timestamp};
use stepbus_store::{
    DeliveryRow, EditRow, EventRow, LedgerRow, MessageRow, Receipt, Reception, Retry, RunRow,
};

use super::{Written, hit, int};
use crate::codes::{cause_code, outcome_code};

#[derive(Debug)]
pub(super) struct Bus<'c> {
    insert_run: Statement<'c>,
    insert_event: Statement<'c>,
    insert_delivery: Statement<'c>,
    retry_delivery: Statement<'c>,
    delete_delivery: Statement<'c>,
    put_ledger: Statement<'c>,
    delete_ledger: Statement<'c>,
    insert_message: Statement<'c>,
    insert_dead_letter: Statement<'c>,
    delete_message: Statement<'c>,
    hide_message: Statement<'c>,
    move_message: Statement<'c>,
    revise_message: Statement<'c>,
    insert_edit: Statement<'c>,
}

impl<'c> Bus<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Bus {
            insert_run: conn.prepare(
                "INSERT INTO runs (id, started, last, open, origin, label, priority, force)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            insert_event: conn.prepare(
                "INSERT INTO events (id, run, bus, cause_kind, cause, hops, at, envelope)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            insert_delivery: conn.prepare(
                "INSERT INTO deliveries (id, run, subscription, version, event, key, lane, created,
                 revision, attempts, first_tried, due, failure)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?,
            retry_delivery: conn.prepare(
                "UPDATE deliveries SET attempts = ?2, first_tried = ?3, due = ?4, failure = ?5
                 WHERE id = ?1",
            )?,
            delete_delivery: conn.prepare("DELETE FROM deliveries WHERE id = ?1")?,
            put_ledger: conn.prepare(
                "INSERT OR REPLACE INTO ledger (id, run, subscription, version, event, key,
                 outcome, revision, attempts, created, finished, note)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?,
            delete_ledger: conn.prepare("DELETE FROM ledger WHERE id = ?1 AND outcome = ?2")?,
            insert_message: conn.prepare(
                "INSERT INTO messages (id, queue, run, sent, error_code, attributes, body,
                 visible, received, first_received)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?,
            insert_dead_letter: conn.prepare(
                "INSERT INTO messages (id, queue, run, sent, error_code, attributes, body,
                 d_id, d_run, d_subscription, d_version, d_event, d_key, d_lane, d_created,
                 d_revision, d_attempts, d_first_tried, d_due, d_failure, visible, received,
                 first_received)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                 ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
            )?,
            delete_message: conn.prepare("DELETE FROM messages WHERE id = ?1")?,
            hide_message: conn.prepare(
                "UPDATE messages SET visible = ?3, received = ?4, first_received = ?5
                 WHERE id = ?1 AND received = ?2",
            )?,
            move_message: conn.prepare(
                "UPDATE messages SET queue = ?2, attributes = ?3, visible = ?4, received = 0,
                 first_received = NULL WHERE id = ?1",
            )?,
            revise_message: conn.prepare(
                "UPDATE messages SET d_revision = ?2 WHERE id = ?1 AND d_revision = ?2 - 1",
            )?,
            insert_edit: conn.prepare(
                "INSERT INTO edits (delivery, revision, at, who, payload, original)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
        })
    }

    pub(super) fn insert_run(&mut self, row: &RunRow) -> Written {
        self.insert_run.execute(params![
            int(row.id.0),
            row.started.0,
            row.last.0,
            row.open,
            row.origin,
            row.label,
            row.priority.code(),
            row.force
        ])?;
        Ok(())
    }

    pub(super) fn insert_event(&mut self, row: &EventRow) -> Written {
        let (cause_kind, cause) = cause_code(row.cause);
        self.insert_event.execute(params![
            int(row.id.0),
            int(row.run.0),
            int(row.bus.0),
            cause_kind,
            cause,
            row.hops,
            row.at.0,
            &row.envelope[..]
        ])?;
        Ok(())
    }

    pub(super) fn insert_delivery(&mut self, row: &DeliveryRow) -> Written {
        self.insert_delivery.execute(params![
            int(row.id.0),
            int(row.run.0),
            int(row.subscription.0),
            row.version,
            int(row.event.0),
            row.key,
            row.lane,
            row.created.0,
            row.revision,
            row.attempts,
            row.first_tried.map(|at| at.0),
            row.due.map(|at| at.0),
            row.failure
        ])?;
        Ok(())
    }

    pub(super) fn retry_delivery(&mut self, retry: &Retry) -> Written {
        let values = params![
            int(retry.id.0),
            retry.attempts,
            retry.first_tried.0,
            retry.due.0,
            retry.failure
        ];
        hit(&mut self.retry_delivery, values, retry.id)
    }

    pub(super) fn delete_delivery(&mut self, id: DeliveryId) -> Written {
        hit(&mut self.delete_delivery, params![int(id.0)], id)
    }

    pub(super) fn put_ledger(&mut self, row: &LedgerRow) -> Written {
        self.put_ledger.execute(params![
            int(row.id.0),
            int(row.run.0),
            int(row.subscription.0),
            row.version,
            int(row.event.0),
            row.key,
            outcome_code(row.outcome),
            row.revision,
            row.attempts,
            row.created.0,
            row.finished.0,
            row.note
        ])?;
        Ok(())
    }

    pub(super) fn delete_ledger(&mut self, id: DeliveryId) -> Written {
        let values = params![int(id.0), outcome_code(Outcome::DeadLettered)];
        hit(&mut self.delete_ledger, values, format_args!("the dead-lettered {id}"))
    }

    pub(super) fn insert_message(&mut self, row: &MessageRow) -> Written {
        let Some(delivery) = &row.delivery else {
            self.insert_message.execute(params![
                int(row.id.0),
                int(row.queue.0),
                int(row.run.0),
                row.sent.0,
                row.error_code,
                row.attributes,
                &row.body[..],
                row.reception.visible.0,
                row.reception.count,
                row.reception.first.map(|at| at.0)
            ])?;
            return Ok(());
        };
        self.insert_dead_letter.execute(params![
            int(row.id.0),
            int(row.queue.0),
            int(row.run.0),
            row.sent.0,
            row.error_code,
            row.attributes,
            &row.body[..],
            int(delivery.id.0),
            int(delivery.run.0),
            int(delivery.subscription.0),
            delivery.version,
            int(delivery.event.0),
            delivery.key,
            delivery.lane,
            delivery.created.0,
            delivery.revision,
            delivery.attempts,
            delivery.first_tried.map(|at| at.0),
            delivery.due.map(|at| at.0),
            delivery.failure,
            row.reception.visible.0,
            row.reception.count,
            row.reception.first.map(|at| at.0)
        ])?;
        Ok(())
    }

    pub(super) fn hide_message(&mut self, receipt: Receipt, reception: &Reception) -> Written {
        let values = params![
            int(receipt.message.0),
            receipt.count,
            reception.visible.0,
            reception.count,
            reception.first.map(|at| at.0)
        ];
        hit(&mut self.hide_message, values, receipt.message)
    }

    pub(super) fn move_message(
        &mut self,
        id: MessageId,
        queue: ResourceId,
        attributes: &str,
        visible: Timestamp,
    ) -> Written {
        hit(&mut self.move_message, params![int(id.0), int(queue.0), attributes, visible.0], id)
    }

    pub(super) fn delete_message(&mut self, id: MessageId) -> Written {
        hit(&mut self.delete_message, params![int(id.0)], id)
    }

    pub(super) fn revise_message(&mut self, id: MessageId, revision: u32) -> Written {
        let subject = format_args!("{id} before revision {revision}");
        hit(&mut self.revise_message, params![int(id.0), revision], subject)
    }

    pub(super) fn insert_edit(&mut self, row: &EditRow) -> Written {
        self.insert_edit.execute(params![
            int(row.delivery.0),
            row.revision,
            row.at.0,
            row.who,
            &row.payload[..],
            row.original.as_deref()
        ])?;
        Ok(())
    }
}
