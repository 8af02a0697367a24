//! The kubectl plugin, as the real kubectl runs it.

mod changes;
mod completion;
mod connecting;
mod krew;
mod leak;
mod orphans;
mod plan;
mod seeing;
mod values;

use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use crate::support::control_plane::ControlPlane;

/// `kubectl apitoken`, in a namespace.
pub struct Plugin<'a> {
    plane: &'a ControlPlane,
    namespace: String,
    tools: Option<PathBuf>,
}

/// What came of a command.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl<'a> Plugin<'a> {
    pub fn new(plane: &'a ControlPlane, namespace: &str) -> Self {
        Self {
            plane,
            namespace: namespace.to_owned(),
            tools: None,
        }
    }

    /// With more programs in the PATH.
    pub fn with_tools(self, tools: &Path) -> Self {
        Self {
            tools: Some(tools.to_owned()),
            ..self
        }
    }

    /// Runs a command in the namespace.
    pub async fn run(&self, arguments: &[&str]) -> Outcome {
        self.fed(arguments, "").await
    }

    /// The same, with that on standard input.
    pub async fn fed(&self, arguments: &[&str], input: &str) -> Outcome {
        let namespace = format!("--namespace={}", self.namespace);
        self.anywhere(&[arguments, &[&namespace]].concat(), input).await
    }

    /// Runs a command that names no namespace.
    pub async fn anywhere(&self, arguments: &[&str], input: &str) -> Outcome {
        self.kubectl(&[&["apitoken"], arguments].concat(), input).await
    }

    /// Runs kubectl itself. The operator of the test goes on meanwhile.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut command = self.plane.kubectl_command();
        command.args(arguments).env("PATH", self.path());
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let run = move || {
            let mut child = command.spawn().unwrap();
            // One that needs no input may have ended.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        };
        Outcome::of(tokio::task::spawn_blocking(run).await.unwrap())
    }

    /// Where the plugin, kubectl and little else is.
    fn path(&self) -> OsString {
        let plugin = Path::new(env!("CARGO_BIN_EXE_kubectl-apitoken")).parent().unwrap();
        let kubectl = self.plane.kubectl_command().get_program().to_owned();
        let kubectl = Path::new(&kubectl).parent().unwrap().to_owned();
        let paths = self
            .tools
            .iter()
            .cloned()
            .chain([plugin.to_owned(), kubectl, "/usr/bin".into(), "/bin".into()]);
        std::env::join_paths(paths).unwrap()
    }
}

impl Outcome {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended so; its standard output.
    pub fn ended(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.stdout
    }

    /// It ended so, and told people that.
    pub fn told(self, code: i32, what: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(what), "{what}: {self:?}");
    }
}
