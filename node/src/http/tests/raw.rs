//! HTTP by hand, for what no client library sends.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Only so that a test that fails does not hang.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Raw {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        Raw {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: &str) -> Answer {
        self.send(request).await;
        self.answer(request.starts_with("HEAD")).await
    }

    async fn fill(&mut self) -> std::io::Result<usize> {
        tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer))
            .await
            .expect("the server says nothing")
    }

    /// Reads one answer; `head`: it has no body, whatever its headers say.
    pub async fn answer(&mut self, head: bool) -> Answer {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert_ne!(
                self.fill().await.unwrap(),
                0,
                "the connection ended: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        };
        let text = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if !head && status >= 200 && status != 204 && status != 304 {
            let length: usize = answer
                .header("content-length")
                .expect("a length")
                .parse()
                .unwrap();
            while self.buffer.len() < length {
                assert_ne!(
                    self.fill().await.unwrap(),
                    0,
                    "the connection ended in the body"
                );
            }
            answer.body = self.buffer.drain(..length).collect();
        }
        answer
    }

    /// Everything until the connection ends, and whether it ended well.
    pub async fn rest(&mut self) -> (Vec<u8>, bool) {
        loop {
            match self.fill().await {
                Ok(0) => return (std::mem::take(&mut self.buffer), true),
                Ok(_) => {}
                Err(_) => return (std::mem::take(&mut self.buffer), false),
            }
        }
    }
}
