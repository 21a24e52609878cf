//! An execution taken out of its house, to be replayed anywhere.

use stepbus_asl::Input;
use stepbus_asl::recording::{About, Recording};
use stepbus_model::ExecutionId;
use stepbus_store::{ExecutionKind, Store, StoreError};

use crate::engine::Engine;
use crate::workflow::{decode_journal, within_of};

/// Definition and journal of an execution; nothing when there is none of that id.
///
/// # Errors
/// When the store fails or the journal is damaged.
pub async fn export(store: &dyn Store, id: ExecutionId) -> Result<Option<Recording>, StoreError> {
    let Some(row) = store.execution(id).await? else { return Ok(None) };
    let gone = || StoreError::Gone(format!("the definition of {id}"));
    let definition = store.definition(row.definition).await?.ok_or_else(gone)?.text;
    let within = within_of(store, &row).await?;
    let journal = decode_journal(&store.journal(id, 0).await?, 0)?;
    let workflow = match journal.first() {
        Some((_, Input::Started(start))) => start.state_machine_name.to_string(),
        _ => {
            let what = format!("{id}: its journal does not begin with a start");
            return Err(StoreError::Failed(what));
        }
    };
    let workflow_type = match row.kind {
        ExecutionKind::Standard => stepbus_asl::WorkflowType::Standard,
        ExecutionKind::Express => stepbus_asl::WorkflowType::Express,
    };
    let about = About { id: id.to_string(), name: row.name, workflow, workflow_type };
    Ok(Some(Recording::new(about, row.semantics, definition, within, journal)))
}

impl Engine {
    /// Definition and journal of an execution.
    ///
    /// # Errors
    /// When the store fails or the journal is damaged.
    pub async fn export(&self, id: ExecutionId) -> Result<Option<Recording>, StoreError> {
        export(&*self.store, id).await
    }
}
