//! A stretch of network between the gateway and its upstream: each byte arrives later.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A TCP proxy that holds everything back for a while, in both directions, in its order.
pub struct Distance {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Distance {
    /// Puts `delay`, and up to `jitter` more, before each piece on its way to and from `target`.
    pub async fn before(target: SocketAddr, delay: Duration, jitter: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    near.set_nodelay(true).ok();
                    far.set_nodelay(true).ok();
                    let (near_reader, near_writer) = near.into_split();
                    let (far_reader, far_writer) = far.into_split();
                    tokio::join!(
                        carry(near_reader, far_writer, delay, jitter),
                        carry(far_reader, near_writer, delay, jitter),
                    );
                });
            }
        });
        Self { address, task }
    }

    /// The base URL of this end, without `/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Distance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    delay: Duration,
    jitter: Duration,
) {
    let (sender, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut arrival = Instant::now();
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length) = reader.read(&mut piece).await {
            let late = jitter.mul_f64(fastrand::f64());
            arrival = arrival.max(Instant::now() + delay + late);
            let sent = sender.send((arrival, piece[..length].to_vec()));
            if length == 0 || sent.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((arrival, piece)) = under_way.recv().await {
            tokio::time::sleep_until(arrival).await;
            if piece.is_empty() || writer.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
