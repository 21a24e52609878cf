//! What open tasks wait for: tokens, activities' workers, executions they started.

use rusqlite::{Connection, Statement, params};
use stepbus_model::ExecutionId;
use stepbus_store::{SyncChildRow, TaskRef, TaskTokenRow};

use super::{Written, hit, int};

#[derive(Debug)]
pub(super) struct Waits<'c> {
    put_token: Statement<'c>,
    take_token: Statement<'c>,
    delete_token: Statement<'c>,
    put_child: Statement<'c>,
    child_ended: Statement<'c>,
    forget_child: Statement<'c>,
    unwant_child: Statement<'c>,
    delete_child: Statement<'c>,
    delete_tokens: Statement<'c>,
    unwant_children: Statement<'c>,
    forget_children: Statement<'c>,
}

impl<'c> Waits<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Waits {
            put_token: conn.prepare(
                "INSERT INTO task_tokens (id, token, execution, visit, attempt, activity, input,
                 taken) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (execution, visit, attempt) DO NOTHING",
            )?,
            take_token: conn
                .prepare("UPDATE task_tokens SET taken = 1 WHERE id = ?1 AND taken = 0")?,
            delete_token: conn.prepare(
                "DELETE FROM task_tokens WHERE execution = ?1 AND visit = ?2 AND attempt = ?3",
            )?,
            put_child: conn.prepare(
                "INSERT INTO sync_children (child, parent, visit, attempt, json, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            child_ended: conn
                .prepare("UPDATE sync_children SET state = 1 WHERE child = ?1 AND state = 0")?,
            forget_child: conn
                .prepare("DELETE FROM sync_children WHERE child = ?1 AND state = 2")?,
            unwant_child: conn.prepare(
                "UPDATE sync_children SET state = 2
                 WHERE parent = ?1 AND visit = ?2 AND attempt = ?3 AND state = 0",
            )?,
            delete_child: conn.prepare(
                "DELETE FROM sync_children
                 WHERE parent = ?1 AND visit = ?2 AND attempt = ?3 AND state = 1",
            )?,
            delete_tokens: conn.prepare("DELETE FROM task_tokens WHERE execution = ?1")?,
            unwant_children: conn
                .prepare("UPDATE sync_children SET state = 2 WHERE parent = ?1 AND state = 0")?,
            forget_children: conn
                .prepare("DELETE FROM sync_children WHERE parent = ?1 AND state = 1")?,
        })
    }

    pub(super) fn put_token(&mut self, row: &TaskTokenRow) -> Written {
        self.put_token.execute(params![
            int(row.id),
            row.token,
            int(row.task.execution.0),
            int(row.task.visit),
            row.task.attempt,
            row.activity.map(|id| int(id.0)),
            row.input.as_deref(),
            row.taken
        ])?;
        Ok(())
    }

    pub(super) fn take_token(&mut self, id: u64) -> Written {
        hit(&mut self.take_token, params![int(id)], format_args!("the waiting task {id}"))
    }

    pub(super) fn put_child(&mut self, row: &SyncChildRow) -> Written {
        self.put_child.execute(params![
            int(row.child.0),
            int(row.parent.execution.0),
            int(row.parent.visit),
            row.parent.attempt,
            row.json,
            row.state.code()
        ])?;
        Ok(())
    }

    /// The parent is to be told, unless it does not want to know any more.
    pub(super) fn child_ended(&mut self, child: ExecutionId) -> Written {
        self.child_ended.execute([int(child.0)])?;
        self.forget_child.execute([int(child.0)])?;
        Ok(())
    }

    /// The task is over: its token is good no more, its child is told of or is to be stopped.
    pub(super) fn close(&mut self, task: TaskRef) -> Written {
        let values = params![int(task.execution.0), int(task.visit), task.attempt];
        self.delete_token.execute(values)?;
        self.unwant_child.execute(values)?;
        self.delete_child.execute(values)?;
        Ok(())
    }

    pub(super) fn close_all(&mut self, execution: ExecutionId) -> Written {
        let values = [int(execution.0)];
        self.delete_tokens.execute(values)?;
        self.unwant_children.execute(values)?;
        self.forget_children.execute(values)?;
        Ok(())
    }
}
