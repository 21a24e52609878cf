//! Cursors of the log.

use rusqlite::{Connection, Statement, params};
use stepbus_model::{EventId, ResourceId};
use stepbus_store::CursorRow;

use super::{Written, hit, int};

#[derive(Debug)]
pub(super) struct Log<'c> {
    open_cursor: Statement<'c>,
    end_cursor: Statement<'c>,
    move_cursor: Statement<'c>,
    close_cursor: Statement<'c>,
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
}
