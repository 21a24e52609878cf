//! The conformance suite that every implementation of [`crate::Store`] must pass.
//!
//! A driver names itself by [`Driver`] and calls [`conformance!`](crate::conformance) in its tests.
//! [`script::Script`] makes random but legal batches and knows what must be found afterwards.

mod bus;
mod commit;
mod config;
mod ground;
mod letters;
mod log;
mod maps;
pub mod script;
mod waits;
mod work;

use std::sync::Arc;

use crate::Store;

pub use bus::*;
pub use commit::*;
pub use config::*;
pub use letters::*;
pub use log::*;
pub use maps::*;
pub use waits::*;
pub use work::*;

/// One body of records under test.
pub trait Driver: Send + Sync {
    /// Opens it; made when it is not there yet. The suite drops what it was given before it opens
    /// again.
    fn open(&self) -> impl Future<Output = Arc<dyn Store>> + Send;
}

/// Makes a test of each case of the suite. `$driver` makes a [`Driver`] with empty records.
#[macro_export]
macro_rules! conformance {
    ($driver:expr) => {
        $crate::conformance! { @cases $driver;
            resources_show_their_newest_version
            definitions_are_found_by_id_and_hash
            keys_are_replaced
            claims_hold_until_they_expire
            audit_rows_come_newest_first
            pauses_stand_until_they_are_lifted
            operations_are_replaced
            schedules_are_replaced
            events_are_listed_by_bus
            deliveries_are_listed_by_what_they_wait_for
            lanes_show_their_first_delivery
            deliveries_meet_their_fate
            dead_letters_come_back_or_are_given_up
            messages_are_filtered
            messages_are_received_hidden_and_moved
            dead_letters_are_grouped
            dead_letters_are_edited
            executions_are_kept_whole
            executions_are_listed_newest_first
            executions_are_parked_and_woken
            standard_names_are_taken_once
            journals_are_read_from_anywhere
            many_executions_begin_in_one_batch
            snapshots_are_replaced
            task_tokens_are_good_until_their_task_is_closed
            children_are_awaited_told_of_and_stopped
            map_runs_count_their_items
            map_children_are_found_by_index
            a_batch_counts_as_its_items
            children_await_a_redrive
            what_failed_runs_again
            an_execution_begins_anew
            a_running_map_run_takes_other_settings
            the_log_is_read_up_to_the_horizon
            matches_stand_behind_a_cursor
            a_past_start_counts_as_it_reads
            events_go_when_their_run_is_over
            replays_are_kept_and_cancelled
            runs_are_open_while_something_is
            a_batch_stands_or_falls_whole
            what_is_gone_is_told
            a_failed_batch_takes_no_other_with_it
            appended_batches_keep_their_books
            an_empty_batch_is_a_barrier
            ids_never_come_twice
            records_outlive_a_restart
        }
    };
    (@cases $driver:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let driver = $driver;
                $crate::suite::$case(&driver).await;
            }
        )*
    };
}

/// Fails with the problems that [`Store::check`] finds.
pub async fn assert_sound(store: &dyn Store) {
    let problems = store.check().await.expect("check answers");
    assert!(problems.is_empty(), "{problems:#?}");
}
