//! Resources, definitions, keys, claims, the audit log.

use rusqlite::{Connection, OptionalExtension, Statement, params};
use stepbus_model::{ResourceId, Timestamp};
use stepbus_store::{
    AuditRow, ClaimRow, DefinitionRow, KeyRow, OperationRow, PauseRow, ResourceRow, ScheduleRow,
    StoreError,
};

use super::{Fault, Written, insert_unique, int};
use crate::digest::{claim_digest, key_digest};

/// Expired claims cleared away whenever one is made, so that they never pile up.
const CLAIMS_SWEPT: i64 = 2;

#[derive(Debug)]
pub(super) struct Config<'c> {
    put_resource: Statement<'c>,
    put_definition: Statement<'c>,
    update_key: Statement<'c>,
    insert_key: Statement<'c>,
    find_claim: Statement<'c>,
    update_claim: Statement<'c>,
    insert_claim: Statement<'c>,
    sweep_claims: Statement<'c>,
    audit: Statement<'c>,
    put_pause: Statement<'c>,
    delete_pause: Statement<'c>,
    put_operation: Statement<'c>,
    put_schedule: Statement<'c>,
}

impl<'c> Config<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Config {
            put_resource: conn.prepare(
                "INSERT INTO resources (id, version, kind, name, body, at, retired)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (id, version) DO UPDATE SET kind = ?3, name = ?4, body = ?5, at = ?6,
                 retired = ?7",
            )?,
            put_definition: conn.prepare(
                "INSERT INTO definitions (id, hash, text) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET hash = ?2, text = ?3",
            )?,
            update_key: conn.prepare(
                "UPDATE keys SET hash = ?4, version = ?5, remote_id = ?6
                 WHERE digest = ?1 AND scope = ?2 AND key = ?3",
            )?,
            insert_key: conn.prepare(
                "INSERT INTO keys (digest, scope, key, hash, version, remote_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            find_claim: conn.prepare(
                "SELECT id, value, expires FROM claims
                 WHERE digest = ?1 AND scope = ?2 AND key = ?3",
            )?,
            update_claim: conn
                .prepare("UPDATE claims SET value = ?2, expires = ?3 WHERE id = ?1")?,
            insert_claim: conn.prepare(
                "INSERT INTO claims (digest, scope, key, value, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            sweep_claims: conn.prepare(
                "DELETE FROM claims WHERE id IN
                 (SELECT id FROM claims WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
            )?,
            audit: conn.prepare(
                "INSERT INTO audit (at, who, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            put_pause: conn.prepare(
                "INSERT OR REPLACE INTO pauses (resource, at, who, reason) VALUES (?1, ?2, ?3, ?4)",
            )?,
            delete_pause: conn.prepare("DELETE FROM pauses WHERE resource = ?1")?,
            put_schedule: conn.prepare(
                "INSERT OR REPLACE INTO schedules (schedule, times, anchor, next, due, attempts,
                 failure, last, last_run, fired, missed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?,
            put_operation: conn.prepare(
                "INSERT OR REPLACE INTO operations (id, kind, status, started, ended, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
        })
    }

    pub(super) fn put_resource(&mut self, row: &ResourceRow) -> Written {
        self.put_resource.execute(params![
            int(row.id.0),
            row.version,
            row.kind.code(),
            row.name,
            row.body,
            row.at.0,
            row.retired
        ])?;
        Ok(())
    }

    pub(super) fn put_definition(&mut self, row: &DefinitionRow) -> Written {
        insert_unique(&mut self.put_definition, params![int(row.id), row.hash, row.text], || {
            StoreError::Conflict {
                scope: "definition".into(),
                key: row.hash.clone(),
                value: "another id".into(),
            }
        })
    }

    pub(super) fn put_key(&mut self, row: &KeyRow) -> Written {
        let values = params![
            key_digest(row.scope, &row.key),
            int(row.scope.0),
            row.key,
            row.hash,
            row.version,
            row.remote_id
        ];
        if self.update_key.execute(values)? == 0 {
            self.insert_key.execute(values)?;
        }
        Ok(())
    }

    pub(super) fn claim(&mut self, claim: &ClaimRow, now: Timestamp) -> Written {
        let digest = claim_digest(&claim.scope, &claim.key);
        let found = self
            .find_claim
            .query_row(params![digest, claim.scope, claim.key], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
            })
            .optional()?;
        match found {
            Some((_, value, expires)) if expires > now.0 => {
                return Err(Fault::Batch(StoreError::Conflict {
                    scope: claim.scope.clone(),
                    key: claim.key.clone(),
                    value,
                }));
            }
            Some((id, ..)) => {
                self.update_claim.execute(params![id, claim.value, claim.expires.0])?;
            }
            None => {
                self.insert_claim.execute(params![
                    digest,
                    claim.scope,
                    claim.key,
                    claim.value,
                    claim.expires.0
                ])?;
            }
        }
        self.sweep_claims.execute(params![now.0, CLAIMS_SWEPT])?;
        Ok(())
    }

    pub(super) fn audit(&mut self, row: &AuditRow) -> Written {
        self.audit.execute(params![row.at.0, row.who, row.action, row.subject, row.detail])?;
        Ok(())
    }

    pub(super) fn put_pause(&mut self, row: &PauseRow) -> Written {
        self.put_pause.execute(params![int(row.resource.0), row.at.0, row.who, row.reason])?;
        Ok(())
    }

    pub(super) fn delete_pause(&mut self, resource: ResourceId) -> Written {
        self.delete_pause.execute(params![int(resource.0)])?;
        Ok(())
    }

    pub(super) fn put_operation(&mut self, row: &OperationRow) -> Written {
        self.put_operation.execute(params![
            int(row.id),
            row.kind,
            row.status.code(),
            row.started.0,
            row.ended.map(|at| at.0),
            row.body
        ])?;
        Ok(())
    }

    pub(super) fn put_schedule(&mut self, row: &ScheduleRow) -> Written {
        self.put_schedule.execute(params![
            int(row.schedule.0),
            row.times,
            row.anchor.0,
            row.next.map(|at| at.0),
            row.due.map(|at| at.0),
            row.attempts,
            row.failure,
            row.last.map(|at| at.0),
            row.last_run.map(|run| int(run.0)),
            int(row.fired),
            int(row.missed)
        ])?;
        Ok(())
    }
}
