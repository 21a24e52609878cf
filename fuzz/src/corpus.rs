//! The inputs kept for a target.

use std::path::Path;

/// Runs every one of them.
pub fn run(target: &str, run: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let corpus = Path::new("fuzz/corpus").join(target);
    let folder = root.map(|folder| folder.join(&corpus)).find(|folder| folder.is_dir());
    let folder = folder.unwrap_or_else(|| panic!("there is no {}", corpus.display()));
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("it can be listed") {
        let path = entry.expect("it can be listed").path();
        // Told when a test fails, so one sees at which input.
        println!("{}", path.display());
        run(&std::fs::read(path).expect("it can be read"));
        count += 1;
    }
    assert!(count > 10, "{count} inputs are no corpus");
}
