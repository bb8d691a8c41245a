//! Something between the operator and the cloud that does things twice, as a bad load balancer might.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it does twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twice {
    /// Each answer is sent twice, one copy behind the other on one connection.
    Answers,
    /// Each order goes to the cloud twice; its first answer comes back.
    OrdersFirst,
    /// The same, and the second answer comes back.
    OrdersSecond,
}

/// Ends when dropped.
pub struct Proxy {
    url: String,
    task: JoinHandle<()>,
}

impl Proxy {
    /// In front of the simulator at this URL.
    pub async fn start(upstream: &str, twice: Twice) -> Proxy {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, upstream.clone(), twice));
            }
        });
        Proxy { url, task }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, upstream: String, twice: Twice) -> io::Result<()> {
    loop {
        let request = message(&mut client).await?;
        let head = String::from_utf8_lossy(&request);
        let is_order = head.contains("UpgradeRedis") || head.contains("UpgradeInstance");
        let answer = exchange(&upstream, &request).await?;
        match twice {
            Twice::Answers => client.write_all(&[&*answer, &*answer].concat()).await?,
            Twice::OrdersFirst | Twice::OrdersSecond if is_order => {
                let second = exchange(&upstream, &request).await?;
                client.write_all(if twice == Twice::OrdersFirst { &answer } else { &second }).await?;
            }
            Twice::OrdersFirst | Twice::OrdersSecond => client.write_all(&answer).await?,
        }
    }
}

/// One request, on a connection of its own.
async fn exchange(upstream: &str, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut cloud = TcpStream::connect(upstream).await?;
    cloud.write_all(request).await?;
    message(&mut cloud).await
}

/// A whole message: its head, and as much after it as that says.
async fn message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                return Ok(bytes);
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
