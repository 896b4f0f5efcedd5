//! Third parties: one that sends and takes what it is asked to, and one that speaks plain HTTP.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use egret_tests::{Lab, Service};

use crate::gateway::THIRD_PARTY;

/// A real ClientHello with the SNI api.partner.example: gateways look at it before they carry.
pub(crate) const CLIENT_HELLO: &[u8] = include_bytes!("client_hello.bin");

/// After the ClientHello a connection is a row of orders: take so many bytes, then send so many.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) take: u64,
    pub(crate) send: u64,
}

impl Order {
    pub(crate) const BYTES: usize = 16;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        (u128::from(self.take) << 64 | u128::from(self.send)).to_be_bytes()
    }

    fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { take: (both >> 64) as u64, send: both as u64 }
    }
}

/// Serves until the process ends.
pub(crate) fn start(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // An application that goes away is not the third party's affair.
            thread::Builder::new().stack_size(128 * 1024).spawn(move || serve(stream)).expect("a thread");
        }
    });
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut hello = [0; CLIENT_HELLO.len()];
    stream.read_exact(&mut hello)?;
    let mut buffer = Vec::new();
    loop {
        let mut order = [0; Order::BYTES];
        stream.read_exact(&mut order)?;
        let order = Order::from_bytes(order);
        take(&mut stream, order.take, &mut buffer)?;
        send(&mut stream, order.send)?;
    }
}

/// Reads and forgets.
pub(crate) fn take(stream: &mut TcpStream, mut bytes: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.resize(usize::try_from(bytes).unwrap_or(usize::MAX).min(1 << 20), 0);
    while bytes > 0 {
        let limit = usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len());
        match stream.read(&mut buffer[..limit])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes -= read as u64,
        }
    }
    Ok(())
}

/// Writes zeros.
pub(crate) fn send(stream: &mut TcpStream, mut bytes: u64) -> io::Result<()> {
    static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];
    while bytes > 0 {
        let limit = usize::try_from(bytes).unwrap_or(usize::MAX).min(ZEROS.len());
        bytes -= stream.write(&ZEROS[..limit])? as u64;
    }
    Ok(())
}

/// Starts nginx as the third party on these ports: responses of 1 KiB over plain HTTP, with the address of the caller.
pub(crate) fn plain(lab: &Lab, ports: &[u16]) -> Service {
    let directory = lab.directory().join("third-party");
    std::fs::create_dir(&directory).expect("a directory");
    let config = directory.join("nginx.conf");
    let listens: String = ports.iter().map(|port| format!("listen {THIRD_PARTY}:{port} backlog=4096;\n    ")).collect();
    let text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {directory}/nginx.pid;\nerror_log {directory}/error.log;\n\
         worker_rlimit_nofile 20000;\nevents {{ worker_connections 19000; }}\nhttp {{\n  access_log off;\n  keepalive_requests 100000000;\n  \
         keepalive_timeout 1h;\n  server {{\n    {listens}add_header X-Source $remote_addr;\n    location / {{ return 200 \"{body}\"; }}\n  }}\n}}\n",
        directory = directory.display(),
        body = "x".repeat(1024),
    );
    std::fs::write(&config, text).expect("a configuration");
    lab.service(ports[0], "nginx", &["-c", config.to_str().expect("a path in UTF-8")])
}
