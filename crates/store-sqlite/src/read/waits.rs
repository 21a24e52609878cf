use rusqlite::{Connection, Result, Row, params};
use stepbus_model::{ExecutionId, ResourceId};
use stepbus_store::{SyncChildRow, SyncState, TaskRef, TaskTokenRow};

use super::{all, coded, id, maybe_bytes, one, rows};
use crate::write::int;

const TOKEN: &str =
    "SELECT id, token, execution, visit, attempt, activity, input, taken FROM task_tokens";

fn token_row(row: &Row<'_>) -> Result<TaskTokenRow> {
    let activity: Option<i64> = row.get(5)?;
    Ok(TaskTokenRow {
        id: id(row, 0)?,
        token: row.get(1)?,
        task: TaskRef {
            execution: ExecutionId(id(row, 2)?),
            visit: id(row, 3)?,
            attempt: row.get(4)?,
        },
        activity: activity.map(|id| ResourceId(id.cast_unsigned())),
        input: maybe_bytes(row, 6)?,
        taken: row.get(7)?,
    })
}

pub(crate) fn task_token(conn: &Connection, token: &str) -> Result<Option<TaskTokenRow>> {
    one(conn, &format!("{TOKEN} WHERE token = ?1"), [token], token_row)
}

pub(crate) fn waiting_tasks(
    conn: &Connection,
    activity: ResourceId,
    after: u64,
    limit: usize,
) -> Result<Vec<TaskTokenRow>> {
    let sql = format!(
        "{TOKEN} INDEXED BY task_tokens_waiting
         WHERE activity = ?1 AND taken = 0 AND id > ?2 ORDER BY id LIMIT ?3"
    );
    all(conn, &sql, params![int(activity.0), int(after), rows(limit)], token_row)
}

const CHILD: &str = "SELECT child, parent, visit, attempt, json, state FROM sync_children";

fn child_row(row: &Row<'_>) -> Result<SyncChildRow> {
    Ok(SyncChildRow {
        child: ExecutionId(id(row, 0)?),
        parent: TaskRef {
            execution: ExecutionId(id(row, 1)?),
            visit: id(row, 2)?,
            attempt: row.get(3)?,
        },
        json: row.get(4)?,
        state: coded(row, 5, SyncState::from_code)?,
    })
}

pub(crate) fn sync_child(conn: &Connection, child: ExecutionId) -> Result<Option<SyncChildRow>> {
    one(conn, &format!("{CHILD} WHERE child = ?1"), [int(child.0)], child_row)
}

pub(crate) fn sync_children(conn: &Connection, parent: ExecutionId) -> Result<Vec<SyncChildRow>> {
    let sql = format!("{CHILD} INDEXED BY sync_children_parent WHERE parent = ?1 ORDER BY child");
    all(conn, &sql, [int(parent.0)], child_row)
}

pub(crate) fn unsettled_children(
    conn: &Connection,
    after: ExecutionId,
    limit: usize,
) -> Result<Vec<SyncChildRow>> {
    let sql = format!(
        "{CHILD} INDEXED BY sync_children_unsettled WHERE state > 0 AND child > ?1
         ORDER BY child LIMIT ?2"
    );
    all(conn, &sql, params![int(after.0), rows(limit)], child_row)
}
