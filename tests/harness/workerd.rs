//! workerd alone, with a constant answer: what the gateway is measured against.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::ports::free_address;

const CONFIGURATION: &str = r#"
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .constant) ],
  sockets = [ (name = "http", address = "ADDRESS", http = (), service = "main") ],
);
const constant :Workerd.Worker = (
  modules = [ (name = "main.mjs", esModule = "export default { fetch() { return new Response('{\"status\":\"ok\",\"gateway\":\"organized-gateway\"}', { headers: { 'content-type': 'application/json' } }) } }") ],
  compatibilityDate = "2026-05-01",
);
"#;

/// A workerd that answers everything with the text of `/health`; dropping it ends it.
pub struct Workerd {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Workerd {
    /// Starts it and waits until it takes connections.
    ///
    /// # Panics
    /// When it doesn't.
    pub async fn start() -> Self {
        let address = free_address();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("constant.capnp");
        std::fs::write(&file, CONFIGURATION.replace("ADDRESS", &address.to_string())).unwrap();
        let process = Command::new(crate::node_tool("workerd"))
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("workerd starts");
        let workerd = Self { process, address, _folder: folder };
        for _ in 0..500 {
            if TcpStream::connect(address).await.is_ok() {
                return workerd;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("workerd takes no connections at {address}");
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Workerd {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
