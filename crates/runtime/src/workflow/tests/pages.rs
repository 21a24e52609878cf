//! How items become pages and batches, and where reading goes on.

use std::sync::Arc;

use serde_json::{Value, json};
use stepbus_asl::{ItemBatcher, ItemReader, MapRunSpec, MapScope, MapSource, Visit, WorkflowType};
use stepbus_model::{Limits, MapRunId, Timestamp};
use stepbus_store::MapPageRow;

use crate::workflow::items::{Members, SourcePage};
use crate::workflow::pages::{Cutter, units};

fn spec(batcher: Option<(u64, u64)>, most: u64) -> MapRunSpec {
    let null = Arc::new(Value::Null);
    MapRunSpec {
        visit: Visit(1),
        attempt: 0,
        state_path: "/States/Each".into(),
        state_name: "Each".into(),
        map_run_arn: String::new(),
        redrives: 0,
        label: "each".into(),
        source: MapSource::Reader(ItemReader {
            resource: "test".into(),
            arguments: Value::Null,
            config: json!({ "MaxItems": most }),
        }),
        scope: MapScope {
            input: null.clone(),
            variables: null.clone(),
            context: null,
            seed: 0,
            at: Timestamp(0),
        },
        max_concurrency: 0,
        tolerated_failure_count: None,
        tolerated_failure_percentage: None,
        execution_type: WorkflowType::Express,
        batcher: batcher.map(|(items, bytes)| ItemBatcher {
            max_items_per_batch: items,
            max_input_bytes_per_batch: bytes,
            batch_input: None,
        }),
        result_writer: None,
    }
}

/// All pages of a source of numbers, read anew after every page as after a restart when told so.
fn pages(count: u64, spec: &MapRunSpec, page_items: usize, restarts: bool) -> Vec<MapPageRow> {
    let limits = Limits { map_page_items: page_items, ..Limits::DEFAULT };
    let source = Members::of(Arc::new(json!((0..count).collect::<Vec<u64>>())));
    let new = || Cutter::new(MapRunId(1), spec, &limits);
    let mut cutter = new();
    let mut pages: Vec<MapPageRow> = Vec::new();
    while !cutter.is_done() {
        if let Some(token) = cutter.reads_at() {
            let read: SourcePage = source.read(token.as_deref(), cutter.room()).unwrap();
            cutter.take(read);
        }
        let page = cutter.cut();
        let made = page.is_some();
        pages.extend(page);
        if restarts && made {
            cutter = new();
            for page in &pages {
                cutter.pass(page).unwrap();
            }
        }
    }
    pages
}

/// The items of each child, and where each begins.
fn children(pages: &[MapPageRow]) -> Vec<(u64, u64, Vec<u64>)> {
    let units = pages.iter().flat_map(|page| units(page).unwrap());
    let numbers = |unit: &crate::workflow::pages::Unit| {
        unit.members.iter().map(|member| member.value.as_u64().unwrap()).collect()
    };
    units.map(|unit| (unit.index, unit.first, numbers(&unit))).collect()
}

#[test]
fn every_item_is_in_one_child_however_pages_and_batches_meet() {
    for batcher in [None, Some((3, 0)), Some((7, 0)), Some((0, 9)), Some((0, 0))] {
        for (page_items, count, most) in [(5, 23, 0), (4, 8, 0), (10, 3, 0), (5, 23, 12), (5, 0, 0)]
        {
            let spec = spec(batcher, most);
            let straight = pages(count, &spec, page_items, false);
            assert_eq!(children(&pages(count, &spec, page_items, true)), children(&straight));
            assert_eq!(straight.last().unwrap().next_token, None);
            let children = children(&straight);
            let expected = if most == 0 { count } else { count.min(most) };
            let items: Vec<u64> = children.iter().flat_map(|(_, _, items)| items.clone()).collect();
            assert_eq!(items, (0..expected).collect::<Vec<_>>());
            assert!(children.iter().all(|(_, first, items)| items[0] == *first));
            let totals = straight.iter().map(|page| u64::from(page.item_count)).sum::<u64>();
            assert_eq!(totals, expected);
            if let Some((most, 0)) = batcher.filter(|(most, _)| *most > 0) {
                let whole = &children[..children.len().saturating_sub(1)];
                assert!(whole.iter().all(|(_, _, items)| items.len() as u64 == most));
            }
        }
    }
}
