use tokio::signal::unix::{SignalKind, signal};

/// Returns when the process is asked to stop: SIGINT (ctrl-c) or SIGTERM. Every call waits for the next one.
pub async fn asked_to_stop() {
    tokio::select! {
        () = received(SignalKind::interrupt()) => {}
        () = received(SignalKind::terminate()) => {}
    }
}

/// Where no handler can be installed, the signal simply ends the process.
async fn received(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
