//! nginx as a server, with an access log in the form that all logs have here.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Certificate, Protocol,
    process::{self, Running},
    program::{Ground, Library, Server},
    slow,
};
use crate::{context::free_port, nginx::named_copy};

/// Starts one with two workers.
pub fn serve(ground: &Ground, protocol: Protocol, service: &str) -> Result<Server> {
    let dir = ground.dir.join(service);
    fs::create_dir(&dir)?;
    let root = dir.join("root");
    fs::create_dir(&root)?;
    for (name, size) in [("small", 100), ("medium", 5000), ("large", 100_000)] {
        fs::write(root.join(name), vec![b'x'; size])?;
    }
    let port = free_port()?;
    let certificate = match protocol.is_secure() {
        true => Some(ground.certificate.as_ref().context("no certificate")?),
        false => None,
    };
    let config = dir.join("nginx.conf");
    slow::serve(&dir.join("slow"))?;
    fs::write(&config, configuration(&dir, port, protocol, certificate))?;
    let program = named_copy("nginx", service, &dir)?;
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(&dir)
        .arg("-c")
        .arg(&config)
        .arg("-e")
        .arg(dir.join("error.log"))
        .stdin(Stdio::null())
        .stderr(File::create(dir.join("stderr"))?);
    let mut running = Running::start(command)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    // By its own word: who answers at that port could be another.
    loop {
        let said = fs::read_to_string(dir.join("error.log")).unwrap_or_default();
        if said.contains("start worker process") {
            break;
        }
        if running.ended()?.is_some() || Instant::now() >= deadline {
            bail!("it does not listen: {said}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    let (name, tls) = versions()?;
    Ok(Server {
        library: Library {
            name,
            tls: tls.filter(|_| certificate.is_some()),
        },
        service: service.to_owned(),
        port,
        log: dir.join("access.log"),
        running,
    })
}

/// nginx's version and that of its OpenSSL.
fn versions() -> Result<(String, Option<String>)> {
    let mut command = process::command("nginx")?;
    command.arg("-V");
    let (_, _, said) = process::finish(command)?;
    let after = |start: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(start))?;
        Some(line.split(' ').next()?.to_owned())
    };
    let version = after("nginx version: nginx/").context("no version in `nginx -V`")?;
    // Where the library is newer than the headers, `running with` says so at the end.
    let tls = after("built with OpenSSL ").map(|version| {
        let running = said
            .split_once("(running with OpenSSL ")
            .and_then(|(_, rest)| rest.split(' ').next());
        format!("OpenSSL {}", running.unwrap_or(&version))
    });
    Ok((format!("nginx {version}"), tls))
}

fn configuration(
    dir: &Path,
    port: u16,
    protocol: Protocol,
    certificate: Option<&Certificate>,
) -> String {
    let ssl = if certificate.is_some() { " ssl" } else { "" };
    let http2 = if protocol.is_http2() { " http2" } else { "" };
    let pair = certificate.map_or_else(String::new, |pair| {
        format!(
            "ssl_certificate {};\n        ssl_certificate_key {};",
            pair.certificate.display(),
            pair.key.display()
        )
    });
    let dir = dir.display();
    // nginx answers without having read the body. Over HTTP/2 it then resets the stream, which curl takes for an error now and then: there the
    // body is read for one more nginx, over a Unix socket.
    let (upload, inner) = if protocol.is_http2() {
        let inner = format!(
            "server {{ listen unix:{dir}/inner; access_log off; location / {{ return 201; }} }}"
        );
        (format!("proxy_pass http://unix:{dir}/inner;"), inner)
    } else {
        ("return 201;".to_owned(), String::new())
    };
    // $request_time has milliseconds: it is told where those are close enough.
    format!(
        "daemon off;
user root root;
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
events {{ worker_connections 512; }}
http {{
    log_format lines escape=json '{{\"side\":\"server\",\"method\":\"$request_method\",\"path\":\"$request_uri\",\"status\":$status}}';
    log_format timed escape=json '{{\"side\":\"server\",\"method\":\"$request_method\",\"path\":\"$request_uri\",\"status\":$status,\"seconds\":$request_time}}';
    access_log {dir}/access.log lines;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    client_max_body_size 1m;
    sendfile on;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port}{ssl}{http2};
        {pair}
        root {dir}/root;
        location = /empty {{ return 204; }}
        location = /upload {{ {upload} }}
        location /echo/ {{ {upload} }}
        location = /moved {{ return 301 /small; }}
        location = /error {{ return 500; }}
        location = /chunked {{ ssi on; ssi_types *; try_files /medium =404; }}
        location /users/ {{ return 200; }}
        location = /slow {{ access_log {dir}/access.log timed; proxy_pass http://unix:{dir}/slow; }}
    }}
    {inner}
}}
"
    )
}
