//! The documents: each command in them that can run is run as it stands there, and each link within the project leads somewhere.
//!
//! A block that begins with "```sh" is run; "```sh skip: <why>" is not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::support::{
    control_plane::{ControlPlane, OPERATOR_NAMESPACE, VERIFIER_ACCOUNT, source},
    eventually,
    operator::Program,
};

/// It installs the operator for the others.
const TUTORIAL: &str = "docs/tutorial.md";
/// It has a control plane of its own, as it takes away what the others stand on.
const INSTALLATION: &str = "docs/install.md";
/// The others. The last one changes the default issuer.
const DOCUMENTS: [&str; 12] = [
    "README.md",
    "docs/high-availability.md",
    "docs/operations.md",
    "docs/runbooks.md",
    "docs/issuers/mailtrap.md",
    "docs/issuers/prefactor.md",
    "docs/issuers/softwareone.md",
    "docs/issuers/wavefront.md",
    "docs/lifecycle.md",
    "docs/verifier.md",
    "docs/disaster-recovery.md",
    "docs/multi-tenancy.md",
];

/// The commands of a document, each block after a line that says where it stands.
fn commands(document: &str) -> Vec<String> {
    let text = fs::read_to_string(source().join(document)).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let fence = line.trim_start();
        let Some(info) = fence.strip_prefix("```sh") else { continue };
        let indent = line.len() - fence.len();
        let block: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line.get(indent..).unwrap_or_default())
            .take_while(|line| !line.starts_with("```"))
            .collect();
        if info.is_empty() {
            let place = format!("{document}:{}", number + 1);
            blocks.push(format!("echo '== {place}' >&2\n{}\n", block.join("\n")));
        } else {
            assert!(
                info.starts_with(" skip: ") && info.len() > 10,
                "{document}:{}: say why it is skipped",
                number + 1
            );
        }
    }
    blocks
}

/// Runs commands in one shell, in a namespace, with the verifier at that address.
fn run(plane: &ControlPlane, namespace: &str, verifier: &str, commands: &[String]) {
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), commands.concat()).unwrap();
    let mut shell = plane.shell(namespace);
    shell
        .args(["-euo", "pipefail"])
        .arg(script.path())
        .env("verifier", format!("http://{verifier}"));
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The operator and the verifier, as the chart's ServiceAccounts; where the verifier answers.
async fn start_programs(plane: &ControlPlane) -> ([Program; 2], String) {
    let controller = Program::start(plane, &["--leader-elect"]).await;
    let account = plane.account_kubeconfig(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT, None).await;
    let verifier = Program::run(plane, &account, &["verifier", "--address=127.0.0.1:0"]);
    eventually("the verifier is ready", || async { verifier.is_ready().await.then_some(()) }).await;
    let address = verifier.address("answering over HTTP").unwrap();
    ([controller, verifier], address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_does_what_its_document_says() {
    let plane = ControlPlane::start("documents");
    let tutorial = commands(TUTORIAL);
    assert!(tutorial.len() >= 8 && tutorial[0].contains("helm install"));
    run(&plane, "default", "", &tutorial[..1]);
    plane.restart_garbage_collector();
    let (programs, verifier) = start_programs(&plane).await;
    run(&plane, "default", &verifier, &tutorial[1..]);

    for document in DOCUMENTS {
        let commands = commands(document);
        assert!(!commands.is_empty(), "{document} has no command that can run");
        // What the documents speak of.
        let namespace = plane.namespace("documents").await;
        let ci = source().join("examples/02-lifetime.yaml");
        plane.kubectl(&["apply", "-n", &namespace, "-f", ci.to_str().unwrap()]);
        plane.kubectl(&["wait", "--for=condition=Ready", "apitoken/ci", "-n", &namespace, "--timeout=60s"]);
        run(&plane, &namespace, &verifier, &commands);
    }
    drop(programs);
    plane.stop();
}

/// How many of the operator's CRDs there are.
fn kinds(plane: &ControlPlane) -> usize {
    let crds = plane.kubectl(&["get", "customresourcedefinitions", "--output=name"]);
    crds.lines().filter(|name| name.ends_with(".apitoken.dev")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_installed_upgraded_and_taken_back_is_removed_without_a_trace() {
    let plane = ControlPlane::start("installed");
    let commands = commands(INSTALLATION);
    let [install, upgrade, downgrade, uninstall, remove] = &commands[..] else {
        panic!("{INSTALLATION} has other commands: {commands:?}");
    };
    let run = |commands: &[&String]| run(&plane, "default", "", &commands.iter().copied().cloned().collect::<Vec<_>>());
    run(&[install, upgrade, downgrade, uninstall]);
    assert_eq!(kinds(&plane), 3, "the CRDs stay");

    run(&[install]);
    let controller = Program::start(&plane, &[]).await;
    for example in ["02-lifetime.yaml", "05-namespaced-issuer.yaml"] {
        let file = source().join("examples").join(example);
        plane.kubectl(&["apply", "--filename", file.to_str().unwrap()]);
    }
    plane.until_all_ready("default", "60s");
    run(&[remove]);
    assert_eq!(kinds(&plane), 0, "nothing stays");
    drop(controller);
    plane.stop();
}

fn markdown_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && name != ".git" {
            markdown_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// What a heading's link looks like: as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// A line without what stands between backticks, where brackets are no links.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

fn leads_somewhere(from: &Path, link: &str) -> bool {
    let (file, place) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() {
        from.to_owned()
    } else {
        from.parent().unwrap().join(file)
    };
    let Ok(text) = fs::read_to_string(&target) else {
        return place.is_empty() && target.is_dir();
    };
    place.is_empty() || text.lines().any(|line| line.starts_with('#') && anchor(line) == place)
}

#[test]
fn every_command_is_run_or_says_why_it_is_not() {
    let mut files = Vec::new();
    markdown_below(source(), &mut files);
    let listed = [&[TUTORIAL, INSTALLATION][..], &DOCUMENTS].concat();
    for file in files {
        let document = file.strip_prefix(source()).unwrap().to_str().unwrap();
        let is_listed = listed.contains(&document);
        assert_eq!(
            !commands(document).is_empty(),
            is_listed,
            "{document}: list it here, or say why it is skipped"
        );
    }
}

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let mut files = Vec::new();
    markdown_below(source(), &mut files);
    assert!(files.len() >= 20);
    let mut broken = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let text: String = text.lines().map(without_code).collect();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.contains("://")) {
            if !leads_somewhere(file, link) {
                broken.push(format!("{}: {link}", file.strip_prefix(source()).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
