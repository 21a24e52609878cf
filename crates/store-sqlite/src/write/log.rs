//! Cursors of the log, replays, deletion.

use rusqlite::{Connection, Statement, params};
use stepbus_model::{EventId, ResourceId};
use stepbus_store::{CursorRow, ReplayRow, ReplayState, StoreError};

use super::{Written, hit, insert_unique, int};

#[derive(Debug)]
pub(super) struct Log<'c> {
    open_cursor: Statement<'c>,
    end_cursor: Statement<'c>,
    move_cursor: Statement<'c>,
    close_cursor: Statement<'c>,
    delete_event: Statement<'c>,
    put_replay: Statement<'c>,
    set_replay_state: Statement<'c>,
}

impl<'c> Log<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Log {
            open_cursor: conn.prepare(
                "INSERT OR IGNORE INTO cursors (subscription, opened, bus, version, position,
                 until, counted, behind) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            end_cursor: conn
                .prepare("UPDATE cursors SET until = ?3 WHERE subscription = ?1 AND opened = ?2")?,
            move_cursor: conn.prepare(
                "UPDATE cursors SET position = ?3 WHERE subscription = ?1 AND opened = ?2",
            )?,
            close_cursor: conn
                .prepare("DELETE FROM cursors WHERE subscription = ?1 AND opened = ?2")?,
            delete_event: conn.prepare(
                "DELETE FROM events WHERE id = ?1 AND NOT EXISTS
                 (SELECT 1 FROM runs WHERE runs.id = events.run AND open > 0)",
            )?,
            put_replay: conn.prepare(
                "INSERT INTO replays (id, name, spec, bus, run, state, reason, position, replayed,
                 started, last_replayed, ended)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                 ON CONFLICT (id) DO UPDATE SET position = ?8, replayed = ?9, last_replayed = ?11,
                 ended = ?12, reason = ?7,
                 state = CASE WHEN state = 3 AND ?12 IS NULL THEN 3 ELSE ?6 END",
            )?,
            set_replay_state: conn
                .prepare("UPDATE replays SET state = ?2 WHERE id = ?1 AND ended IS NULL")?,
        })
    }

    pub(super) fn open_cursor(&mut self, row: &CursorRow) -> Written {
        self.open_cursor.execute(params![
            int(row.subscription.0),
            int(row.opened.0),
            int(row.bus.0),
            row.version,
            int(row.position.0),
            row.until.map(|until| int(until.0)),
            row.counted,
            row.behind
        ])?;
        Ok(())
    }

    pub(super) fn end_cursor(
        &mut self,
        subscription: ResourceId,
        opened: EventId,
        until: EventId,
    ) -> Written {
        self.end_cursor.execute([int(subscription.0), int(opened.0), int(until.0)])?;
        Ok(())
    }

    pub(super) fn move_cursor(
        &mut self,
        subscription: ResourceId,
        opened: EventId,
        position: EventId,
    ) -> Written {
        let values = [int(subscription.0), int(opened.0), int(position.0)];
        hit(&mut self.move_cursor, values, format_args!("the cursor of {subscription} at {opened}"))
    }

    pub(super) fn close_cursor(&mut self, subscription: ResourceId, opened: EventId) -> Written {
        self.close_cursor.execute([int(subscription.0), int(opened.0)])?;
        Ok(())
    }

    pub(super) fn delete_events(&mut self, events: &[EventId]) -> Written {
        for event in events {
            self.delete_event.execute([int(event.0)])?;
        }
        Ok(())
    }

    pub(super) fn put_replay(&mut self, row: &ReplayRow) -> Written {
        let values = params![
            int(row.id.0),
            row.name,
            row.spec,
            int(row.bus.0),
            int(row.run.0),
            row.state.code(),
            row.reason,
            int(row.position.0),
            int(row.replayed),
            row.started.0,
            row.last_replayed.map(|at| at.0),
            row.ended.map(|at| at.0)
        ];
        insert_unique(&mut self.put_replay, values, || StoreError::Conflict {
            scope: "replay".into(),
            key: row.name.clone(),
            value: "another replay".into(),
        })
    }

    pub(super) fn set_replay_state(&mut self, id: ResourceId, state: ReplayState) -> Written {
        let values = params![int(id.0), state.code()];
        hit(&mut self.set_replay_state, values, format_args!("the replay {id} that goes on"))
    }
}
