//! Each example is applied as a user applies it, and becomes Ready.

use std::fs;

use crate::support::{
    Bed,
    control_plane::{shared, source},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_becomes_ready() {
    let Bed { plane, team, operator } = Bed::new("examples").await;
    let folder = source().join("examples");
    // Those in examples/vendors need a vendor.
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    assert!(files.len() >= 3);
    for file in &files {
        plane.kubectl(&["apply", "-n", &team.namespace, "-f", file.to_str().unwrap()]);
    }
    plane.until_all_ready(&team.namespace, "60s");
    let again = plane.kubectl(&["apply", "-n", &team.namespace, "-f", folder.to_str().unwrap()]);
    assert!(again.lines().all(|line| line.ends_with("unchanged")), "{again}");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_for_a_vendor_is_accepted() {
    let plane = shared();
    let namespace = plane.namespace("vendor-examples").await;
    let folder = source().join("examples").join("vendors");
    assert!(fs::read_dir(&folder).unwrap().count() >= 1);
    let accepted = plane.kubectl(&["apply", "--dry-run=server", "-n", &namespace, "-f", folder.to_str().unwrap()]);
    assert!(
        accepted.lines().all(|line| line.ends_with("created (server dry run)")),
        "{accepted}"
    );
}
