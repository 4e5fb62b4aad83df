//! One node: opens everything bottom up, wires it, and stops it top down.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use crate::broker::{self, Broker, Running};
use crate::config::{Resolved, ServeArgs, Setting};
use crate::model::EXPORTS_MAX;
use crate::replication::{self, Replication, ReplicationError};
use crate::storage::index::{self, Index, IndexError, IndexOptions};
use crate::storage::vfs::RealFs;
use crate::storage::{DataDir, Images, Log, LogOptions, NodeIdentity, Recovered, Secret, StorageError};
use crate::{api, dashboard, machine};

/// Why a node cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The address is open to others and nobody said that this is wanted.
    #[error(
        "{0} is reachable from other machines and there is no access control yet; listen on 127.0.0.1, or say --insecure if that is meant"
    )]
    Exposed(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}{}", way_out(error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        error: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The queue index cannot be used at all.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Agreement cannot start.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// The broker cannot start.
    #[error(transparent)]
    Broker(#[from] broker::StartError),
    /// No thread for the agreement.
    #[error("cannot start the agreement thread: {0}")]
    Thread(std::io::Error),
    /// A fault while running: nothing is acknowledged any more.
    #[error("stopping after a fault: {0}")]
    Fault(String),
}

/// What to do about an address that cannot be listened on.
fn way_out(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another program, perhaps another broker, listens there: stop it, or choose another port with --listen"
        }
        std::io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege, choose another with --listen"
        }
        _ => "",
    }
}

/// A running node.
pub struct Node {
    address: SocketAddr,
    running: Running,
    replication: Replication,
    stop: CancellationToken,
    server: JoinHandle<()>,
    /// Tries to make the configuration file true, when that failed at the start.
    setting: Option<JoinHandle<()>>,
    _agreement: AgreementThread,
}

impl Node {
    /// Opens the data directory, recovers, and begins to listen. Returns once the node leads and serves.
    ///
    /// # Errors
    /// See [`NodeError`]; nothing is left running.
    pub async fn start(settings: impl Into<Resolved>) -> Result<Node, NodeError> {
        let Resolved { args, settings, alerting } = settings.into();
        if !args.listen.ip().is_loopback() && !args.insecure {
            return Err(NodeError::Exposed(args.listen));
        }
        let listen_error = |error| NodeError::Listen { address: args.listen, error };
        let listener = TcpListener::bind(args.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;

        let agreement = AgreementThread::start()?;
        let opened = agreement.handle.spawn(open(args.clone())).await;
        let Opened { replication, applying, identity, secret } =
            opened.map_err(|error| NodeError::Fault(error.to_string()))??;
        let options = broker::Options {
            auto_create_topics: args.auto_create_topics,
            idempotency_keys_max: args.idempotency_keys_max,
            request_timeout: args.request_timeout,
            node_id: identity.node_id,
            cluster_id: identity.cluster_id,
            alerting: alerting_options(&args, address),
        };
        let running = match Running::start(options, replication.clone(), &applying, &agreement.handle) {
            Ok(running) => running,
            Err(error) => {
                let _ = replication.shutdown().await;
                return Err(error.into());
            }
        };
        let broker = running.broker().clone();

        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let api_options = Arc::new(api_options(&args, &settings));
        let about = dashboard::About::starting(reached_at(address), args.data.display().to_string())
            .with_settings(settings.iter().map(shown_setting));
        let routes = api::routes(broker.clone(), api_options.clone()).merge(dashboard::router(
            broker.clone(),
            about,
            secret,
        ));
        let server = tokio::spawn(async move {
            let drained = api::serve(listener, routes, api_options, stopping.cancelled_owned()).await;
            if drained.cut > 0 {
                tracing::warn!(connections = drained.cut, "cut connections that were not done in time");
            }
        });
        let mut node =
            Node { address, running, replication, stop, server, setting: None, _agreement: agreement };
        // A disk that fails now would otherwise be waited for for ever.
        let fault = tokio::select! {
            setting = begin(&broker, alerting) => {
                node.setting = setting;
                return Ok(node);
            }
            fault = node.fault() => fault,
        };
        node.stop().await;
        Err(fault)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where this machine reaches it, `host:port`: an address that stands for all of them is `localhost`.
    #[must_use]
    pub fn reached_at(&self) -> String {
        reached_at(self.address)
    }

    /// The broker behind it.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        self.running.broker()
    }

    /// Returns when the node can no longer keep its promises.
    pub async fn fault(&self) -> NodeError {
        let mut faults = self.replication.faults();
        match faults.wait_for(Option::is_some).await {
            Ok(fault) => NodeError::Fault(fault.as_ref().map_or_else(String::new, ToString::to_string)),
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops in order: no new connections, waiting receives answer, open requests finish (at most the drain timeout),
    /// then the broker, then an image and the log.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.server.await;
        self.running.stop().await;
        if let Some(setting) = self.setting {
            let _ = setting.await;
        }
        if let Err(error) = self.replication.shutdown().await {
            tracing::error!(%error, "the last image could not be written; everything acknowledged is in the log");
        }
    }
}

/// The thread on which a batch travels: proposer, openraft, state machine. A batch changes tasks five times on its way;
/// among hundreds of request handlers each change would wait for its turn (docs/adr/0012).
struct AgreementThread {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl AgreementThread {
    fn start() -> Result<AgreementThread, NodeError> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("agreement").enable_all().build();
        let runtime = runtime.map_err(NodeError::Thread)?;
        Ok(AgreementThread { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for AgreementThread {
    fn drop(&mut self) {
        // What stops in order has been waited for before; after a fault nobody waits for a disk that hangs.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The pages that the interface shows are drawn by the dashboard.
fn pages() -> api::Pages {
    fn page_of(row: &api::ProblemRow) -> dashboard::ProblemPage {
        let api::ProblemRow { name, status, retryable, title, meaning, remedy } = *row;
        dashboard::ProblemPage { name, status, title, meaning, remedy, retryable }
    }
    api::Pages {
        problem: |row| page_of(row).respond(),
        docs: || {
            let problems: Vec<_> = api::problem_rows().map(|row| page_of(&row)).collect();
            dashboard::docs_page(&problems)
        },
    }
}

/// See [`Node::reached_at`].
fn reached_at(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        return format!("localhost:{}", address.port());
    }
    address.to_string()
}

fn alerting_options(args: &ServeArgs, address: SocketAddr) -> broker::AlertingOptions {
    let given = Some(args.external_url.clone()).filter(|url| !url.is_empty());
    broker::AlertingOptions {
        every: args.alert_interval,
        allowed: args.webhook_allow.clone().into(),
        external_url: given.unwrap_or_else(|| format!("http://{}", reached_at(address))),
    }
}

/// Waits until the node leads, and makes true what the configuration file says of alerting. That it cannot is no reason
/// not to serve, messages come before alerts: then something goes on trying.
async fn begin(broker: &Broker, alerting: Option<machine::AlertingFromFile>) -> Option<JoinHandle<()>> {
    broker.wait_until_serving().await;
    let file = Arc::new(alerting?);
    let error = broker.set_alerting_from_file(Arc::clone(&file)).await.err()?;
    Some(tokio::spawn(broker.clone().set_alerting_from_file_again(file, error)))
}

fn shown_setting(setting: &Setting) -> dashboard::SettingShown {
    let value = match setting.value() {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    dashboard::SettingShown { key: setting.key.clone(), value, origin: setting.origin.to_string() }
}

fn api_options(args: &ServeArgs, settings: &[Setting]) -> api::Options {
    api::Options {
        auto_create_topics: args.auto_create_topics,
        idempotency_keys_max: args.idempotency_keys_max,
        max_wait: args.max_wait,
        drain_timeout: args.drain_timeout,
        max_connections: args.max_connections,
        header_timeout: args.header_timeout,
        idle_timeout: args.idle_timeout,
        transfer_timeout: args.transfer_timeout,
        stall_timeout: args.stall_timeout,
        max_sockets: args.max_sockets,
        sockets: Arc::new(Semaphore::new(args.max_sockets)),
        exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        allowed_origins: args.allowed_origins.clone(),
        loopback: args.listen.ip().is_loopback(),
        pages: pages(),
        settings: settings.iter().map(Setting::to_json).collect(),
        ..api::Options::default()
    }
}

/// The opened disk.
struct Disk {
    data: DataDir,
    log: Log,
    recovered: Recovered,
    images: Images,
    index: Index,
    opened: index::Opened,
    secret: Secret,
}

/// The opened disk with agreement on top of it.
struct Opened {
    replication: Replication,
    applying: broker::Applying,
    identity: NodeIdentity,
    secret: Secret,
}

/// Opens the disk and agreement. Recovery reads a lot, so it runs off the async threads.
async fn open(args: ServeArgs) -> Result<Opened, NodeError> {
    let (image_bytes, image_facts) = (args.image_bytes, args.image_facts);
    let opened = tokio::task::spawn_blocking(move || open_disk(&args)).await;
    let disk = opened.map_err(|error| NodeError::Fault(error.to_string()))??;
    let (identity, secret) = (disk.data.identity().clone(), disk.secret);
    if let Some(origin) = &identity.restored_from {
        tracing::info!(origin, "this directory is a restored copy");
    }
    let applying = broker::Applying::new(disk.index, &disk.opened, disk.log.clone());
    let options = replication::Options {
        node_id: identity.node_id,
        cluster: identity.cluster_id.clone(),
        image_bytes,
        image_facts,
    };
    let stores =
        replication::Stores { log: disk.log, committed: disk.recovered.committed, images: disk.images };
    let told = applying.clone();
    let opened = Replication::open(stores, options, Arc::new(move |entry| told.applied(entry))).await?;
    let recovery = &opened.recovery;
    for damaged in &recovery.damaged {
        tracing::warn!("an image is damaged and was not used: {damaged}");
    }
    tracing::info!(
        image = recovery.image.unwrap_or(0),
        entries = recovery.entries,
        bytes = recovery.bytes,
        "recovered"
    );
    Ok(Opened { replication: opened.replication, applying, identity, secret })
}

fn open_disk(args: &ServeArgs) -> Result<Disk, NodeError> {
    let data = DataDir::open(Arc::new(RealFs), &args.data)?;
    let options = LogOptions { segment_bytes: args.segment_bytes, ..LogOptions::default() };
    let (log, recovered) = Log::open(&data, options)?;
    for note in &recovered.notes {
        tracing::warn!("{note}");
    }
    if let Some(torn) = &recovered.torn {
        tracing::warn!(?torn, "cut a torn tail; nothing in it was ever acknowledged");
    }
    let images = Images::open(&data)?;
    let index_options = IndexOptions {
        log: xxh3_64(data.identity().cluster_id.as_bytes()),
        log_last: recovered.last.map_or(0, |last| last.index),
        ..IndexOptions::default()
    };
    let (index, opened) = Index::open(&data.path().join("index"), index_options)?;
    // A new log has nothing to index, and saying so would only frighten.
    if opened.rebuild && recovered.last.is_some() {
        tracing::info!(why = opened.why, "the queue index is made again from the log");
    }
    let secret = forms_secret(&data);
    Ok(Disk { data, log, recovered, images, index, opened, secret })
}

/// What forms are sealed with. That it cannot be kept, on a full disk say, costs the forms that are open at the next
/// restart, and nothing else.
fn forms_secret(data: &DataDir) -> Secret {
    data.secret().unwrap_or_else(|error| {
        tracing::warn!(%error, "forms that are open in a browser will be refused after a restart");
        rand::random()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_reached_at_this_machine() {
        let text = |address: &str| reached_at(address.parse().unwrap());
        assert_eq!(
            (text("0.0.0.0:80"), text("[::]:80")),
            ("localhost:80".to_owned(), "localhost:80".to_owned())
        );
        assert_eq!(text("[::1]:80"), "[::1]:80");
    }
}
