use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::unix::AsyncFd;

/// Shows what the hooks log, if they were built to (feature `log` of the kernel half).
pub(super) fn show(object: &mut Ebpf) {
    let Ok(logger) = EbpfLogger::init(object) else { return };
    // SAFETY: the logger owns its ring's descriptor, one and the same as long as it lives.
    let Ok(mut logger) = (unsafe { AsyncFd::register(logger) }) else { return };
    tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
}
