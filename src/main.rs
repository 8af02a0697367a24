//! The program `apitoken-operator`.

mod arguments;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::anyhow;
use apitoken_operator::{
    api::crds,
    controller::{self, Foundations, Handles, clock::SystemClock},
    issuers::KnownIssuers,
    operations::{
        connection,
        metrics::Metrics,
        server::{self, Shown},
        telemetry::{self, LevelSwitch},
        traces::Traces,
    },
    verifier::{self, tls::Certificate},
};
use clap::{Parser, error::ErrorKind};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::arguments::{Arguments, Command, ControllerArguments, LogArguments, VerifierArguments};

/// How long running passes may go on after the signal to end.
const DRAIN: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes stand in our errors' own texts: the chain would say them twice.
            eprintln!("apitoken-operator: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Help and version are printed whole, a mistake in one line: all that stands before the first empty one.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let text = error.to_string();
    let said: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let said = said.join(" ");
    eprintln!(
        "apitoken-operator: {}; see apitoken-operator --help",
        said.trim_start_matches("error: ")
    );
    ExitCode::from(2)
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Controller(arguments) => block_on(arguments.log.clone(), |level| control(*arguments, level)),
        Command::Verifier(arguments) => block_on(arguments.log.clone(), |level| verify(*arguments, level)),
        Command::Crds => {
            print!("{}", crds::yaml()?);
            Ok(())
        }
        Command::Version => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

fn block_on<F>(log: LogArguments, program: impl FnOnce(LevelSwitch) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let traces = log.otlp_endpoint.as_ref().map(Traces::to).transpose()?;
    let level = telemetry::init(log.log_format, log.log_level, traces.as_ref());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow!("could not start: {error}"))?;
    let result = runtime.block_on(program(level));
    // What did not end by now is cut off: every step is safe to be cut at.
    runtime.shutdown_background();
    traces.inspect(Traces::end);
    result
}

async fn control(arguments: ControllerArguments, level: LevelSwitch) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let drained = end_on_signal(shutdown.clone())?;
    let handles = Handles {
        ready: watch::Sender::new(false),
        metrics: Arc::new(Metrics::default()),
    };
    let shown = Shown {
        program: Arc::new(handles.clone()),
        level,
    };
    show(arguments.admin_address, shown, shutdown.clone()).await?;

    let client = connection::connect().await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = arguments.namespace,
        "controller starts"
    );
    let foundations = Foundations {
        client,
        clock: Arc::new(SystemClock),
        issuers: Arc::new(KnownIssuers),
    };
    tokio::select! {
        result = controller::run(foundations, arguments.settings(), handles, shutdown) => result?,
        () = drained => warn!("passes did not end in time and are cut off"),
    }
    info!("controller ends");
    Ok(())
}

async fn verify(arguments: VerifierArguments, level: LevelSwitch) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let drained = end_on_signal(shutdown.clone())?;
    let settings = arguments.settings();
    let certificate = arguments.certificate().map(Certificate::read).transpose()?;
    let grpc = match arguments.grpc_address {
        Some(address) => Some(server::bind(address).await?),
        None => None,
    };
    let sockets = verifier::Sockets {
        http: server::bind(arguments.address).await?,
        grpc,
        certificate,
    };
    let verifier = verifier::verifier(&settings, Arc::new(SystemClock));
    let shown = Shown {
        program: verifier.clone(),
        level,
    };
    show(arguments.admin_address, shown, shutdown.clone()).await?;

    let client = connection::connect().await?;
    info!(version = env!("CARGO_PKG_VERSION"), "verifier starts");
    tokio::select! {
        result = verifier::run(verifier, client, settings, sockets, shutdown) => result?,
        () = drained => warn!("connections did not end in time and are cut off"),
    }
    info!("verifier ends");
    Ok(())
}

/// Serves probes and metrics from now on, before anything else can go wrong.
async fn show(address: SocketAddr, shown: Shown, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listener = server::bind(address).await?;
    info!(address = %listener.local_addr()?, "serving probes and metrics");
    tokio::spawn(server::serve(listener, shown, shutdown));
    Ok(())
}

/// The first SIGTERM or SIGINT drains; the future that is returned ends when draining took too long
/// or a second signal came.
fn end_on_signal(shutdown: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| anyhow!("could not listen for SIGTERM: {error}"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| anyhow!("could not listen for SIGINT: {error}"))?;
    Ok(async move {
        let mut asked = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        asked().await;
        info!("asked to end: running passes are finished");
        shutdown.cancel();
        let _ = timeout(DRAIN, asked()).await;
    })
}
