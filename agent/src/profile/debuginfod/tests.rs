use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use super::*;

/// A server on the loopback that answers each path as `answer` says, and notes which were asked for.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

fn server(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let path = path(&mut stream);
            noted.lock().expect("whole").push(path.clone());
            let bytes = answer(&path);
            if bytes.is_empty() {
                // Says nothing, and holds the connection.
                std::mem::forget(stream);
                continue;
            }
            let _ = stream.write_all(&bytes);
        }
    });
    Server { url, asked }
}

fn path(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    head.split(' ').nth(1).expect("a path").to_owned()
}

fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn not_found() -> Vec<u8> {
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()
}

fn client(servers: &[&Server], folder: &tempfile::TempDir, limits: Limits) -> Debuginfod {
    let servers: Vec<_> = servers.iter().map(|server| server.url.clone()).collect();
    Debuginfod::new(&servers, folder.path().to_owned(), limits).expect("URLs")
}

fn text(file: Result<Option<File>, Box<dyn Error + Send + Sync>>) -> String {
    let mut file = file.expect("told").expect("there");
    std::io::Seek::rewind(&mut file).expect("a file");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("text");
    text
}

#[test]
fn what_a_server_has_is_asked_for_once_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = server(|_| not_found());
    let full = server(|_| ok(b"debug information"));
    for _ in 0..2 {
        let client = client(&[&empty, &full], &folder, Limits::default());
        assert_eq!(text(client.debug_file(&[0xab, 0xcd])), "debug information");
    }
    let path = ["/buildid/abcd/debuginfo".to_owned()];
    assert_eq!(*empty.asked.lock().expect("whole"), path);
    assert_eq!(*full.asked.lock().expect("whole"), path);
}

#[test]
fn what_no_server_has_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = server(|_| not_found());
    let client = client(&[&empty], &folder, Limits::default());
    assert!(client.debug_file(&[1, 2]).expect("told").is_none());
}

#[test]
fn a_redirection_is_followed_and_a_circle_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = server(|_| ok(b"here"));
    let place = full.url.clone();
    let moved = move |place: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {place}/buildid/0102/debuginfo\r\nContent-Length: 0\r\n\r\n").into_bytes()
    };
    let redirecting = server(move |_| moved(&place));
    let client_of = |server: &Server| client(&[server], &folder, Limits::default());
    assert_eq!(text(client_of(&redirecting).debug_file(&[1, 2])), "here");

    let circle = server(|path| {
        let listener = path.to_owned();
        format!("HTTP/1.1 302 Found\r\nLocation: {listener}\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    });
    let error = client_of(&circle)
        .debug_file(&[3, 4])
        .expect_err("it leads nowhere");
    assert!(error.to_string().contains(&circle.url), "{error}");
}

#[test]
fn a_server_that_says_nothing_is_left_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let silent = server(|_| Vec::new());
    let limits = Limits {
        time: Duration::from_millis(200),
        ..Limits::default()
    };
    let error = client(&[&silent], &folder, limits)
        .debug_file(&[1, 2])
        .expect_err("no answer");
    assert_eq!(error.to_string(), "no answer within 200ms");
}

#[test]
fn too_much_is_an_error_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = server(|_| ok(&[b'x'; 5000]));
    // Without a length the bytes are counted as they come.
    let endless = server(|_| [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 5000]].concat());
    let cut = server(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this".to_vec());
    let limits = Limits {
        file: 4096,
        ..Limits::default()
    };
    for server in [&large, &endless, &cut] {
        let client = client(&[server], &folder, limits);
        let error = client
            .debug_file(&[1, 2])
            .expect_err("too much")
            .to_string();
        assert!(error.starts_with(&server.url), "{error}");
    }
    let left = std::fs::read_dir(folder.path().join("0102"));
    assert!(left.is_ok_and(|mut left| left.next().is_none()));
}

#[test]
fn what_was_not_used_the_longest_goes_from_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = server(|_| ok(&[b'x'; 1000]));
    let limits = Limits {
        disk: 2500,
        ..Limits::default()
    };
    let client = client(&[&full], &folder, limits);
    for build_id in [[1, 1], [2, 2], [1, 1], [3, 3]] {
        client.debug_file(&build_id).expect("told").expect("there");
        // The clock of a file system may be as coarse as a tick.
        thread::sleep(Duration::from_millis(20));
    }
    let kept = |name: &str| folder.path().join(name).join("debuginfo").exists();
    assert_eq!(
        [kept("0101"), kept("0202"), kept("0303")],
        [true, false, true]
    );
}

#[test]
fn a_url_of_another_kind_is_refused() {
    for url in ["", "debuginfod.example", "ftp://host", "http://"] {
        let made = Debuginfod::new(&[url.to_owned()], PathBuf::new(), Limits::default());
        assert!(made.is_err(), "{url}");
    }
}
