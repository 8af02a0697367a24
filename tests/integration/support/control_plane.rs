//! A control plane with the operator's chart installed.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use apitoken_operator::api::ClusterTokenIssuer;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Namespace, Secret, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use super::{audit::AuditLog, eventually};

/// The namespace that the chart is installed in.
pub const OPERATOR_NAMESPACE: &str = "apitoken-system";
/// The ServiceAccount that the chart makes for the controller.
pub const OPERATOR_ACCOUNT: &str = "apitoken-operator-controller";
/// The name under which the API server knows it.
pub const OPERATOR_USER: &str = "system:serviceaccount:apitoken-system:apitoken-operator-controller";

/// The ServiceAccount that the chart makes for the verifier.
pub const VERIFIER_ACCOUNT: &str = "apitoken-operator-verifier";

/// The top of the source tree.
pub fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A control plane that ends with this test program, or earlier with [`ControlPlane::stop`].
pub struct ControlPlane {
    dir: PathBuf,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    audit_log: PathBuf,
}

/// The control plane that all tests share which don't change what is cluster-wide.
pub fn shared() -> &'static ControlPlane {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    SHARED.get_or_init(|| {
        let plane = ControlPlane::start("shared");
        plane.install_chart();
        plane
    })
}

impl ControlPlane {
    /// Starts one with nothing in it.
    pub fn start(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let output = script().arg("up").arg(&dir).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "the control plane did not start");
        end_with_this_program(&dir);
        let exports = String::from_utf8(output.stdout).unwrap();
        Self {
            kubeconfig: exported(&exports, "KUBECONFIG"),
            kubectl: exported(&exports, "KUBECTL"),
            audit_log: exported(&exports, "APITOKEN_AUDIT_LOG"),
            dir,
        }
    }

    /// Starts one with the chart installed.
    pub fn with_chart(name: &str) -> Self {
        let plane = Self::start(name);
        plane.install_chart();
        plane
    }

    /// Ends it.
    pub fn stop(self) {
        assert!(script().arg("down").arg(&self.dir).status().unwrap().success());
        std::fs::remove_dir_all(&self.dir).unwrap();
    }

    /// Ends and starts the API server, with all state kept.
    pub fn restart_api_server(&self) {
        self.restart("kube-apiserver");
    }

    /// Has the garbage collector learn of new kinds, which it does every 30 s, and at its start.
    pub fn restart_garbage_collector(&self) {
        self.restart("kube-controller-manager");
    }

    /// Ends the API server.
    pub fn stop_api_server(&self) {
        self.manage("stop", "kube-apiserver");
    }

    /// Starts it again, with all state kept.
    pub fn start_api_server(&self) {
        self.manage("start", "kube-apiserver");
    }

    fn restart(&self, program: &str) {
        self.manage("restart", program);
    }

    fn manage(&self, command: &str, program: &str) {
        assert!(script().arg(command).arg(&self.dir).arg(program).status().unwrap().success());
    }

    /// Installs the chart as a user does.
    pub fn install_chart(&self) {
        self.install_chart_in(OPERATOR_NAMESPACE, &[]);
    }

    /// Installs the chart in that namespace, with these values.
    pub fn install_chart_in(&self, namespace: &str, values: &[String]) {
        let chart = source().join("charts/apitoken-operator");
        let chart = ["install", "apitoken-operator", chart.to_str().unwrap()];
        let mut arguments = [&chart[..], &["--namespace", namespace, "--create-namespace"]].concat();
        arguments.extend(values.iter().flat_map(|value| ["--set", value]));
        self.helm(&arguments);
        self.restart_garbage_collector();
    }

    /// Runs Helm; its standard output.
    pub fn helm(&self, arguments: &[&str]) -> String {
        let output = self.try_helm(arguments);
        assert!(
            output.status.success(),
            "helm {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs Helm, which may fail.
    pub fn try_helm(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(helm_program())
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .unwrap()
    }

    /// Runs kubectl as admin; its standard output.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments);
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until all ApiTokens of a namespace are Ready, for as long as kubectl is told, such as `60s`.
    pub fn until_all_ready(&self, namespace: &str, limit: &str) {
        let limit = format!("--timeout={limit}");
        self.kubectl(&["wait", "--for=condition=Ready", "apitokens", "--all", "-n", namespace, &limit]);
    }

    /// Runs kubectl as admin, which may fail.
    pub fn try_kubectl(&self, arguments: &[&str]) -> std::process::Output {
        self.kubectl_command().args(arguments).output().unwrap()
    }

    /// kubectl as admin.
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// A shell of the admin at the top of the source tree, with kubectl, its plugin, Helm and a kubeconfig of its own for that
    /// namespace. It ends after 5 minutes.
    pub fn shell(&self, namespace: &str) -> Command {
        let kubeconfig = self.dir.join(format!("shell-{namespace}.kubeconfig"));
        std::fs::copy(&self.kubeconfig, &kubeconfig).unwrap();
        let plugin = Path::new(env!("CARGO_BIN_EXE_kubectl-apitoken"));
        let programs = [&self.kubectl, helm_program(), plugin].map(|program| program.parent().unwrap().to_str().unwrap());
        let mut shell = Command::new("timeout");
        shell
            .args(["300s", "bash"])
            .current_dir(source())
            .env("KUBECONFIG", &kubeconfig)
            .env("PATH", format!("{}:{}", programs.join(":"), std::env::var("PATH").unwrap()));
        let mut kubectl = Command::new(&self.kubectl);
        kubectl.args(["config", "set-context", "--current", "--namespace", namespace]);
        assert!(
            kubectl
                .env("KUBECONFIG", &kubeconfig)
                .stdout(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
        shell
    }

    /// A client of the admin. Each test has its own: a client ends with the runtime that made it.
    pub async fn admin(&self) -> Client {
        Client::try_from(self.config(self.read_kubeconfig()).await).unwrap()
    }

    /// A client with the identity and the rights of the controller's ServiceAccount.
    pub async fn operator(&self) -> Client {
        self.operator_by(None).await
    }

    /// The same, by way of another server where one is given.
    pub async fn operator_by(&self, server: Option<&str>) -> Client {
        self.client_of(OPERATOR_ACCOUNT, server).await
    }

    /// A client with the identity and the rights of one of the chart's ServiceAccounts, by way of another server where one is given.
    pub async fn client_of(&self, account: &str, server: Option<&str>) -> Client {
        let kubeconfig = self.account_kubeconfig(OPERATOR_NAMESPACE, account, server).await;
        Client::try_from(self.config(kubeconfig).await).unwrap()
    }

    /// Where the API server listens: `127.0.0.1:<port>`.
    pub fn server(&self) -> String {
        let kubeconfig = self.read_kubeconfig();
        let server = kubeconfig.clusters[0].cluster.as_ref().unwrap().server.clone().unwrap();
        server.trim_start_matches("https://").to_owned()
    }

    /// A client with the identity and the rights of a ServiceAccount.
    pub async fn account(&self, namespace: &str, name: &str) -> Client {
        let kubeconfig = self.account_kubeconfig(namespace, name, None).await;
        Client::try_from(self.config(kubeconfig).await).unwrap()
    }

    /// A client of a user of that name, who has the rights that RBAC gives to it.
    pub async fn user(&self, name: &str) -> Client {
        let mut kubeconfig = self.read_kubeconfig();
        for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
            user.impersonate = Some(name.to_owned());
        }
        Client::try_from(self.config(kubeconfig).await).unwrap()
    }

    /// A client without any identity, for passing others' requests on.
    pub async fn anonymous(&self) -> Client {
        let mut kubeconfig = self.read_kubeconfig();
        kubeconfig
            .auth_infos
            .iter_mut()
            .for_each(|user| user.auth_info = Some(AuthInfo::default()));
        Client::try_from(self.config(kubeconfig).await).unwrap()
    }

    /// The kubeconfig of the controller's ServiceAccount, by way of another server where one is given.
    pub async fn operator_kubeconfig(&self, server: Option<&str>) -> Kubeconfig {
        self.account_kubeconfig(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, server).await
    }

    /// The kubeconfig of a ServiceAccount, by way of another server where one is given. One with https is taken for a mere
    /// line to the API server.
    pub async fn account_kubeconfig(&self, namespace: &str, name: &str, server: Option<&str>) -> Kubeconfig {
        let mut kubeconfig = self.read_kubeconfig();
        let token = self.account_token(namespace, name).await;
        for user in &mut kubeconfig.auth_infos {
            user.auth_info = Some(AuthInfo {
                token: Some(token.clone().into()),
                ..Default::default()
            });
        }
        for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
            if let Some(server) = server {
                cluster.server = Some(server.to_owned());
                cluster.certificate_authority_data.take_if(|_| !server.starts_with("https"));
            }
        }
        kubeconfig
    }

    async fn account_token(&self, namespace: &str, name: &str) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: Vec::new(),
                expiration_seconds: Some(3600),
                ..Default::default()
            },
            ..Default::default()
        };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
        answer.status.unwrap().token
    }

    /// A new namespace for one test.
    pub async fn namespace(&self, what: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{what}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..Default::default()
            },
            ..Default::default()
        };
        Api::all(self.admin().await)
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        name
    }

    /// Creates a Secret with a credential for ClusterTokenIssuers under the key `token`, where there is none.
    pub async fn credential(&self, name: &str) {
        self.credential_of(name, "vendor-credential").await;
    }

    /// The same with that value.
    pub async fn credential_of(&self, name: &str, value: &str) {
        let secrets: Api<Secret> = Api::namespaced(self.admin().await, OPERATOR_NAMESPACE);
        let object = json!({ "metadata": { "name": name }, "stringData": { "token": value } });
        match secrets
            .create(&PostParams::default(), &serde_json::from_value(object).unwrap())
            .await
        {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            created => drop(created.unwrap()),
        }
    }

    /// Creates a ClusterTokenIssuer.
    pub async fn cluster_issuer(&self, name: &str, spec: Value) {
        let object =
            json!({ "apiVersion": "apitoken.dev/v1alpha1", "kind": "ClusterTokenIssuer", "metadata": { "name": name }, "spec": spec });
        let api: Api<ClusterTokenIssuer> = Api::all(self.admin().await);
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap())
            .await
            .unwrap();
    }

    /// Changes a ClusterTokenIssuer by a merge patch.
    pub async fn change_cluster_issuer(&self, name: &str, patch: Value) {
        let api: Api<ClusterTokenIssuer> = Api::all(self.admin().await);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Has the API server refuse to create the Secret of that name, as an admission policy may.
    pub async fn deny_secrets(&self, namespace: &str, secret: &str) {
        let policy = format!("deny-{namespace}");
        let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
            { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": { "name": policy }, "spec": {
                "matchConstraints": {
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                    "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"] }],
                },
                "validations": [{ "expression": format!("object.metadata.name != '{secret}'"), "message": "denied by a policy of the test" }],
            }},
            { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": policy },
              "spec": { "policyName": policy, "validationActions": ["Deny"] } },
        ]});
        let file = self.dir.join(format!("{policy}.json"));
        std::fs::write(&file, objects.to_string()).unwrap();
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]);
        let attempt = ["create", "secret", "generic", secret, "-n", namespace, "--dry-run=server"];
        eventually("the policy is in force", || async {
            (!self.try_kubectl(&attempt).status.success()).then_some(())
        })
        .await;
    }

    /// Takes that back.
    pub fn allow_secrets(&self, namespace: &str) {
        let policy = format!("deny-{namespace}");
        self.kubectl(&["delete", "validatingadmissionpolicies,validatingadmissionpolicybindings", &policy]);
    }

    /// What was written, by whom.
    pub fn audit(&self) -> AuditLog {
        AuditLog::new(&self.audit_log)
    }

    /// Where the control plane keeps what it has.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn read_kubeconfig(&self) -> Kubeconfig {
        Kubeconfig::read_from(&self.kubeconfig).unwrap()
    }

    async fn config(&self, kubeconfig: Kubeconfig) -> Config {
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.unwrap();
        // A proxy of the environment leads to no loopback address.
        config.proxy_url = None;
        config
    }
}

fn helm_program() -> &'static Path {
    static HELM: OnceLock<PathBuf> = OnceLock::new();
    HELM.get_or_init(|| {
        let built = Command::new(source().join("hack/helm/build"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "Helm was not built");
        PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
    })
}

fn script() -> Command {
    Command::new(source().join("hack/controlplane/controlplane"))
}

fn exported(exports: &str, name: &str) -> PathBuf {
    let line = exports.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
    PathBuf::from(line.unwrap_or_else(|| panic!("{name} is not exported")).trim_matches('\''))
}

/// A shell that waits on a pipe of ours: it wakes up when this program ends, however it ends.
fn end_with_this_program(dir: &Path) {
    let mut waiter = Command::new("setsid");
    waiter.args(["sh", "-c", r#"cat >/dev/null; "$0" down "$1"; rm -rf "$1""#]);
    waiter.arg(source().join("hack/controlplane/controlplane")).arg(dir);
    let child = waiter
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::mem::forget(child);
}
