//! The image: made as a release makes it, but from the program under test, then unpacked and run from what is in it alone.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{
    control_plane::{shared, source},
    tokens::Team,
};

/// Makes the image in a folder; its digest.
fn make(program: &Path, folder: &Path) -> String {
    let made = Command::new(source().join("hack/image"))
        .args([program, folder])
        .env("REVISION", "of-the-test")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(made.status.success(), "hack/image failed");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// A blob of an OCI layout by its digest.
fn blob(layout: &Path, digest: &Value) -> PathBuf {
    layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/"))
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// Unpacks the layers as a container engine does.
fn unpack(layout: &Path, manifest: &Value, root: &Path) {
    fs::create_dir(root).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(blob(layout, &layer["digest"])).arg("-C").arg(root);
        assert!(tar.status().unwrap().success());
    }
}

/// Every file below a folder, by its path from there, with its mode.
fn files(root: &Path, folder: &Path, found: &mut Vec<(String, u32)>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::metadata(&path).unwrap().permissions().mode()));
        }
    }
}

/// Ends with its test.
struct Inside(Child);

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that sees nothing but what is in the image.
fn inside(root: &Path, entrypoint: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--root"]).arg(root).arg(entrypoint).env_clear();
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_from_its_own_files_finds_hosts_by_name_and_is_made_twice_alike() {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_apitoken-operator"));
    let layout = folder.path().join("layout");
    let digest = make(program, &layout);
    let elsewhere = folder.path().join("program");
    fs::copy(program, &elsewhere).unwrap();
    assert_eq!(make(&elsewhere, &folder.path().join("again")), digest, "two builds make two images");

    let manifest = read(&blob(&layout, &json!(digest)));
    let config = read(&blob(&layout, &manifest["config"]["digest"]))["config"].clone();
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/apitoken-operator"]));
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(config["Labels"]["org.opencontainers.image.revision"], "of-the-test");

    let root = folder.path().join("root");
    unpack(&layout, &manifest, &root);
    let mut found = Vec::new();
    files(&root, &root, &mut found);
    let programs = found.iter().filter(|(name, mode)| mode & 0o111 != 0 && !name.contains("ld-linux"));
    assert_eq!(
        programs.map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["usr/bin/apitoken-operator"]
    );
    for (name, mode) in &found {
        assert_eq!(mode & 0o7022, 0, "{name} has mode {mode:o}");
        assert_eq!(mode & 0o004, 0o004, "{name} can't be read by who isn't root");
    }
    let authorities = fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(authorities.matches("BEGIN CERTIFICATE").count() > 100);

    let entrypoint = config["Entrypoint"][0].as_str().unwrap();
    let version = inside(&root, entrypoint).arg("version").output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&version.stdout).trim(),
        env!("CARGO_PKG_VERSION"),
        "{version:?}"
    );
    works_inside(&root, entrypoint).await;
}

/// Issues a token, with the API server known by a name that stands in /etc/hosts, as a Pod has it.
async fn works_inside(root: &Path, entrypoint: &str) {
    let plane = shared();
    let team = Team::new(plane.admin().await, &plane.namespace("image").await);
    let port = plane.server().split(':').nth(1).unwrap().to_owned();
    let mut kubeconfig = plane.operator_kubeconfig(None).await;
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.server = Some(format!("https://kubernetes.default.svc:{port}"));
    }
    fs::write(root.join("tmp/kubeconfig"), serde_json::to_string(&kubeconfig).unwrap()).unwrap();
    fs::write(root.join("etc/hosts"), "127.0.0.1 kubernetes.default.svc\n").unwrap();
    let mut command = inside(root, entrypoint);
    command.args(["controller", "--admin-address=127.0.0.1:0", "--watch-namespace", &team.namespace]);
    let log = fs::File::create(root.join("tmp/log")).unwrap();
    let child = command.env("KUBECONFIG", "/tmp/kubeconfig").stderr(log).spawn().unwrap();
    let _ends_with_its_test = Inside(child);
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
}

#[test]
fn a_program_that_is_none_makes_no_image() {
    let folder = tempfile::tempdir().unwrap();
    let no_program = folder.path().join("text");
    fs::write(&no_program, "not a program").unwrap();
    fs::set_permissions(&no_program, fs::Permissions::from_mode(0o755)).unwrap();
    let image = folder.path().join("image");
    let made = Command::new(source().join("hack/image"))
        .args([&no_program, &image])
        .output()
        .unwrap();
    assert!(!made.status.success() && !image.exists());
}
